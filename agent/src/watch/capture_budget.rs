//! The budget of stacks: always one for a new culprit, then so many a second and loop. It is not that of log lines: a line
//! that would repeat what was said tells nothing, and a stack of a stall that was not said may tell all.

use loopscope_report::incident::Incident;
use std::collections::VecDeque;

/// Captures of one loop a second, on average, where the program does not say; a capture takes some 100 µs of the loop's thread.
pub(crate) const PER_SECOND: u32 = 2;

/// Seconds whose captures may come at once, after a while without any: those at the doublings of a long stall.
const SECONDS_AT_ONCE: u64 = 2;

/// First captures of culprits within a second: a program may give each callback a name of its own.
const NEW_PER_SECOND: u32 = 8;

/// Culprits that are remembered.
const CULPRITS_MAX: usize = 256;

const SECOND_NS: u64 = 1_000_000_000;

/// The budget of one loop.
#[derive(Debug)]
pub(crate) struct CaptureBudget {
    per_second: u64,
    /// What was used up, in nanoseconds until it is there again.
    used_ns: u64,
    as_of_ns: u64,
    /// Begin of the second in which new culprits are counted, and how many there were.
    new: (u64, u32),
    /// Oldest first.
    known: VecDeque<KnownCulprit>,
}

/// A culprit that a stack was wanted of.
#[derive(Debug)]
struct KnownCulprit {
    kind: String,
    label: String,
    /// Number of the last incident that has one; 0 where none has.
    last_number: u64,
}

impl CaptureBudget {
    /// A budget of so many captures a second; of none, only the first of a culprit is granted.
    pub(crate) fn new(per_second: u32) -> CaptureBudget {
        let per_second = u64::from(per_second);
        CaptureBudget { per_second, used_ns: 0, as_of_ns: 0, new: (0, 0), known: VecDeque::new() }
    }

    /// Asks for one capture of an incident's culprit at `now_ns`.
    pub(crate) fn ask(&mut self, incident: &Incident, now_ns: u64) -> bool {
        let is_new = self.known_mut(incident).is_none();
        let cost_ns = SECOND_NS.checked_div(self.per_second).unwrap_or(u64::MAX / 2);
        let most_ns = SECONDS_AT_ONCE * SECOND_NS;
        self.used_ns = self.used_ns.saturating_sub(now_ns.saturating_sub(self.as_of_ns));
        self.as_of_ns = now_ns;
        let has_room = self.used_ns + cost_ns <= most_ns;
        let is_granted = has_room || (is_new && self.has_room_for_new(now_ns));
        if !is_granted {
            return false;
        }
        self.used_ns = (self.used_ns + cost_ns).min(most_ns);
        if is_new {
            self.know(incident, 0);
        }
        true
    }

    /// Says that this incident has a stack.
    pub(crate) fn captured(&mut self, incident: &Incident) {
        match self.known_mut(incident) {
            Some(known) => known.last_number = incident.number(),
            None => self.know(incident, incident.number()),
        }
    }

    /// Returns the number of the last incident of the same culprit that has a stack.
    pub(crate) fn last_of(&mut self, incident: &Incident) -> Option<u64> {
        self.known_mut(incident).map(|known| known.last_number).filter(|number| *number > 0)
    }

    fn has_room_for_new(&mut self, now_ns: u64) -> bool {
        let (since_ns, count) = self.new;
        let count = if now_ns.saturating_sub(since_ns) < SECOND_NS { count } else { 0 };
        self.new = (if count == 0 { now_ns } else { since_ns }, count.saturating_add(1));
        count < NEW_PER_SECOND
    }

    fn known_mut(&mut self, incident: &Incident) -> Option<&mut KnownCulprit> {
        let culprit = &incident.culprit;
        self.known.iter_mut().find(|known| known.kind == culprit.kind && known.label == culprit.label)
    }

    fn know(&mut self, incident: &Incident, last_number: u64) {
        if self.known.len() >= CULPRITS_MAX {
            self.known.pop_front();
        }
        let (kind, label) = (incident.culprit.kind.clone(), incident.culprit.label.clone());
        self.known.push_back(KnownCulprit { kind, label, last_number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::incident::Culprit;

    const MS: u64 = 1_000_000;

    fn of(label: &str, number: u64) -> Incident {
        let culprit = Culprit { kind: "timer".into(), label: label.into(), ..Culprit::default() };
        Incident { id: format!("7-{number}").parse().unwrap(), culprit, ..Incident::default() }
    }

    #[test]
    fn a_culprit_gets_two_stacks_a_second_and_a_new_one_its_first_always() {
        let mut budget = CaptureBudget::new(PER_SECOND);
        let granted = (0..600).filter(|at| budget.ask(&of("a", 1), 1_000 * MS + at * 100 * MS)).count();
        assert_eq!(granted, 4 + 2 * 60 - 1, "a minute of stalls, ten a second");
        let now_ns = 1_000 * MS + 600 * 100 * MS;
        let new = (0..20).filter(|at| budget.ask(&of(&format!("new {at}"), 1), now_ns)).count();
        assert!((8..=9).contains(&new), "{new}: names that never come again are bounded, too");
        assert!(!budget.ask(&of("new 0", 1), now_ns), "it has had its first");
        let later_ns = now_ns + 1_000 * MS;
        assert!(budget.ask(&of("newer", 1), later_ns) && budget.ask(&of("newest", 1), later_ns));
    }

    #[test]
    fn the_last_incident_with_a_stack_of_a_culprit_is_known() {
        let mut budget = CaptureBudget::new(PER_SECOND);
        assert_eq!(budget.last_of(&of("a", 1)), None);
        assert!(budget.ask(&of("a", 1), 0));
        assert_eq!(budget.last_of(&of("a", 2)), None, "asked for, and not there");
        budget.captured(&of("a", 1));
        budget.captured(&of("b", 5));
        assert_eq!((budget.last_of(&of("a", 2)), budget.last_of(&of("b", 6))), (Some(1), Some(5)));
        budget.captured(&of("a", 7));
        assert_eq!(budget.last_of(&of("a", 8)), Some(7), "the last one");
        for number in 0..CULPRITS_MAX as u64 {
            budget.captured(&of(&format!("other {number}"), 9));
        }
        assert_eq!(budget.last_of(&of("a", 2)), None, "long ago");
    }
}
