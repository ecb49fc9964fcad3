//! One lasting condition: when to report that it began, that it still lasts, and that it ended.
//!
//! A report at the threshold, then a little after twice, four and eight times it and so on: a stall of a minute makes ten
//! lines, not six hundred, and each line says something that the one before could not. A little after, because programs
//! sleep, block and time out for round times: at the very doubling a stall would be met just as it ends.

/// What a look at the condition found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The episode that was under way is over; the age at which it was last seen, in nanoseconds.
    pub ended_ns: Option<u64>,
    /// The condition has just become an episode.
    pub has_begun: bool,
    /// It is an episode already, and has reached another doubling of the threshold: how many times the threshold.
    pub lasts: Option<u64>,
}

/// Follows one condition from look to look.
#[derive(Clone, Debug, Default)]
pub struct Episode {
    /// Identity and last age of the episode under way.
    current: Option<(u64, u64)>,
    next_ns: u64,
}

impl Episode {
    /// Tells whether an episode is under way.
    pub(crate) fn is_active(&self) -> bool {
        self.current.is_some()
    }

    /// Returns the age at which the episode under way is told again, in nanoseconds; `None` outside one.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.current.map(|_| after(self.next_ns))
    }

    /// Takes one look. `identity` tells one occurrence of the condition from the next; `age_ns` is how long it has
    /// lasted, 0 where it does not hold. It is an episode once older than `threshold_ns`.
    pub fn look(&mut self, identity: u64, age_ns: u64, threshold_ns: u64) -> Step {
        let mut step = Step::default();
        if let Some((current, seen_ns)) = self.current
            && (age_ns == 0 || current != identity)
        {
            step.ended_ns = Some(seen_ns);
            self.current = None;
        }
        if age_ns > threshold_ns {
            step.has_begun = self.current.is_none();
            self.current = Some((identity, age_ns));
            if step.has_begun {
                self.next_ns = threshold_ns.max(1).saturating_mul(2);
            } else if age_ns >= after(self.next_ns) {
                step.lasts = Some(age_ns / threshold_ns.max(1));
            }
            while after(self.next_ns) <= age_ns {
                let Some(doubled) = self.next_ns.checked_mul(2) else { break };
                self.next_ns = doubled;
            }
        }
        step
    }
}

/// Returns the age at which a doubling is told: a thirty-second of it later.
fn after(doubling_ns: u64) -> u64 {
    doubling_ns.saturating_add(doubling_ns / 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Step = Step { ended_ns: None, has_begun: false, lasts: None };

    #[test]
    fn an_episode_is_told_right_after_its_doublings_and_once_at_its_end() {
        let mut episode = Episode::default();
        let reports: Vec<u64> = (1..=1_000)
            .filter(|age| {
                let step = episode.look(7, *age, 100);
                assert_eq!(step.has_begun, *age == 101);
                step.has_begun || step.lasts.is_some()
            })
            .collect();
        assert_eq!(reports, [101, 206, 412, 825]);
        assert_eq!(episode.look(0, 0, 100), Step { ended_ns: Some(1_000), ..NONE });
        assert_eq!(episode.look(0, 0, 100), NONE);
    }

    #[test]
    fn what_stays_below_the_threshold_is_never_told() {
        let mut episode = Episode::default();
        for identity in 0..50 {
            assert_eq!(episode.look(identity, 100, 100), NONE);
        }
        assert!(!episode.is_active());
    }

    #[test]
    fn one_episode_right_after_another_is_two() {
        let mut episode = Episode::default();
        assert!(episode.look(1, 500, 100).has_begun);
        let step = episode.look(2, 150, 100);
        assert_eq!(step, Step { ended_ns: Some(500), has_begun: true, lasts: None });
        assert!(episode.is_active());
    }

    #[test]
    fn a_threshold_of_nothing_does_not_hang() {
        let mut episode = Episode::default();
        assert!(episode.look(1, u64::MAX, 0).has_begun);
        assert_eq!(
            episode.look(1, u64::MAX, 0).lasts,
            Some(u64::MAX),
            "at the end of time every look is told"
        );
    }
}
