//! The stacks of one incident: those of equal calls are counted, and better names take the place of quick ones.

use crate::watch::stack_symbolizer::Named;
use loopscope_report::incident::{Incident, StackCount};

/// Different stacks kept of one incident, and ages of each.
const STACKS_MAX: usize = 16;
const AGES_MAX: usize = 16;

/// Adds a stack to an incident, better names for one, or the whole in place of one that lacked the frames of another runtime.
pub(crate) fn add(incident: &mut Incident, named: &Named) {
    if named.frames.is_empty() {
        incident.notes.extend(named.note.clone());
        return;
    }
    if let Some(replaced) = &named.replaces {
        take_one(&mut incident.stacks, replaced, named.age_ns);
    }
    // What was told of the same capture while its native frames had no names.
    take_one(&mut incident.stacks, "", named.age_ns);
    let stacks = &mut incident.stacks;
    let at = stacks.iter().position(|stack| stack.fingerprint == named.fingerprint).unwrap_or_else(|| {
        let fingerprint = named.fingerprint.clone();
        stacks.push(StackCount { fingerprint, ..StackCount::default() });
        stacks.len() - 1
    });
    let stack = &mut stacks[at];
    if stack.ages_ns.last() != Some(&named.age_ns) {
        stack.count += 1;
        if stack.ages_ns.len() < AGES_MAX {
            stack.ages_ns.push(named.age_ns);
        }
    }
    if named.is_final || stack.frames.is_empty() {
        (stack.frames, stack.guilty) = (named.frames.clone(), named.guilty);
    }
    stack.note = named.note.clone();
    // The most frequent first; of equals the first that was found.
    stacks.sort_by_key(|stack| std::cmp::Reverse(stack.count));
    stacks.truncate(STACKS_MAX);
}

/// Takes the capture at this age out of a stack; the stack goes with its last one.
fn take_one(stacks: &mut Vec<StackCount>, fingerprint: &str, age_ns: u64) {
    let Some(at) = stacks.iter().position(|stack| stack.fingerprint == fingerprint) else { return };
    let stack = &mut stacks[at];
    stack.count = stack.count.saturating_sub(1);
    stack.ages_ns.retain(|age| *age != age_ns);
    if stack.count == 0 {
        stacks.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::incident::Frame;

    fn named(fingerprint: &str, age_ns: u64, functions: &[&str]) -> Named {
        let frame = |function: &&str| Frame { function: (*function).to_owned(), ..Frame::default() };
        Named {
            number: 1,
            age_ns,
            fingerprint: fingerprint.to_owned(),
            frames: functions.iter().map(frame).collect(),
            is_final: true,
            ..Named::default()
        }
    }

    fn told(incident: &Incident) -> Vec<(&str, u64, &[u64], usize)> {
        let told = |stack: &'_ StackCount| stack.frames.len();
        incident
            .stacks
            .iter()
            .map(|stack| (stack.fingerprint.as_str(), stack.count, &*stack.ages_ns, told(stack)))
            .collect()
    }

    #[test]
    fn late_frames_join_the_capture_that_they_were_asked_for() {
        let mut incident = Incident::default();
        for age_ns in [100, 200] {
            add(&mut incident, &named("native", age_ns, &["read"]));
        }
        let late = Named { replaces: Some("native".to_owned()), ..named("whole", 200, &["js", "read"]) };
        add(&mut incident, &late);
        assert_eq!(told(&incident), [("native", 1, &[100][..], 1), ("whole", 1, &[200][..], 2)]);
        add(&mut incident, &Named { age_ns: 100, ..late });
        assert_eq!(told(&incident), [("whole", 2, &[200, 100][..], 2)]);
    }

    #[test]
    fn the_whole_stack_takes_the_place_of_its_frames_that_were_told_early() {
        let mut incident = Incident::default();
        add(&mut incident, &Named { is_final: false, ..named("", 100, &["js"]) });
        assert_eq!(told(&incident), [("", 1, &[100][..], 1)]);
        for is_final in [false, true] {
            add(&mut incident, &Named { is_final, ..named("whole", 100, &["js", "read"]) });
            assert_eq!(told(&incident), [("whole", 1, &[100][..], 2)]);
        }
    }

    #[test]
    fn late_frames_of_a_stack_that_is_no_longer_kept_are_added() {
        let mut incident = Incident::default();
        let late = Named { replaces: Some("gone".to_owned()), ..named("whole", 5, &["js"]) };
        add(&mut incident, &late);
        assert_eq!(told(&incident), [("whole", 1, &[5][..], 1)]);
    }
}
