//! The profile: time and counts by stack, of whatever kind, from which every format is written.
//!
//! Stacks have one layout, the root first: `loop;phase;callback site;[drained job];spans;frames`. All formats tell the
//! loop, the phase and the site of a stack by that.

use crate::profiles::frame::{FrameTable, ProfileFrame};
use crate::profiles::kind::Of;
use loopscope_probe::Phase;
use loopscope_probe::description::Description;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// Moments kept for the formats that show them: five minutes at 997 Hz.
const MOMENTS: usize = 300_000;

/// Own time by stack, over a period.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// What the time is.
    pub of: Of,
    /// The program, as titles and files name it; empty where not known.
    pub process: String,
    /// Its pid; 0 where not known.
    pub pid: u32,
    /// When the period began, nanoseconds since 1970; 0 where not known.
    pub begin_unix_ns: u64,
    /// How long the period was, in nanoseconds; 0 where not known.
    pub lasted_ns: u64,
    /// Nanoseconds between two samples; 0 where nothing was sampled.
    pub interval_ns: u64,
    /// What a reader should know: how many samples were lost, what was left out.
    pub notes: Vec<String>,
    pub(crate) frames: FrameTable,
    stacks: Vec<Stack>,
    numbers: HashMap<Arc<[u32]>, u32>,
    moments: Vec<ProfileSample>,
    /// What the runtimes call their phases.
    phases: Vec<(Phase, String)>,
}

/// One stack and what it came to.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Numbers of frames, the root first.
    pub frames: Arc<[u32]>,
    pub ns: u64,
    /// Samples, or calls.
    pub count: u64,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileSample {
    /// Nanoseconds since the period began.
    pub at_ns: u64,
    /// Number of its stack, as [`Profile::add`] gave it.
    pub stack: u32,
    /// What it stands for, in nanoseconds.
    pub ns: u64,
}

impl Profile {
    /// Returns a profile with nothing in it yet.
    pub fn new(of: Of) -> Profile {
        Profile { of, ..Profile::default() }
    }

    /// Adds time and a count (samples or calls) to a stack, whose root comes first. Returns the stack's number.
    pub fn add(&mut self, frames: impl IntoIterator<Item = ProfileFrame>, ns: u64, count: u64) -> u32 {
        let frames: Arc<[u32]> = frames.into_iter().map(|frame| self.frames.number(frame)).collect();
        let number = match self.numbers.get(&frames) {
            Some(number) => *number,
            None => {
                let number = self.stacks.len() as u32;
                self.stacks.push(Stack { frames: frames.clone(), ns: 0, count: 0 });
                self.numbers.insert(frames, number);
                number
            }
        };
        self.add_to(number, ns, count);
        number
    }

    /// Adds time and a count to a stack by its number.
    pub(crate) fn add_to(&mut self, number: u32, ns: u64, count: u64) {
        let stack = &mut self.stacks[number as usize];
        stack.ns = stack.ns.saturating_add(ns);
        stack.count = stack.count.saturating_add(count);
    }

    /// Notes when a sample was taken, for the formats that show it. What is beyond 300,000 samples is in the sums only.
    pub fn note_moment(&mut self, moment: ProfileSample) {
        if self.moments.len() < MOMENTS {
            self.moments.push(moment);
        }
    }

    /// Tells whether no stack has half a microsecond or more: there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.stacks.iter().all(|stack| stack.ns < 500)
    }

    /// Returns the time of all stacks together, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        self.stacks.iter().fold(0, |sum, stack| sum.saturating_add(stack.ns))
    }

    /// Returns the counts of all stacks together.
    #[cfg(test)]
    pub(crate) fn total_count(&self) -> u64 {
        self.stacks.iter().fold(0, |sum, stack| sum.saturating_add(stack.count))
    }

    /// Returns the stacks that have any time, in the order of their texts.
    pub(crate) fn sorted(&self) -> Vec<&Stack> {
        let mut stacks: Vec<&Stack> = self.stacks.iter().filter(|stack| stack.ns > 0).collect();
        stacks.sort_by(|a, b| self.compare(&a.frames, &b.frames));
        stacks
    }

    /// Returns the same with the number of each stack.
    pub(crate) fn numbered(&self) -> Vec<(&Stack, u32)> {
        let number = |stack: &Stack| self.numbers[&stack.frames];
        self.sorted().into_iter().map(|stack| (stack, number(stack))).collect()
    }

    fn compare(&self, a: &[u32], b: &[u32]) -> Ordering {
        let text = |frame: &u32| &*self.frames.get(*frame).text;
        a.iter().map(text).cmp(b.iter().map(text)).then_with(|| a.cmp(b))
    }

    /// Returns the stack with a number that [`Profile::add`] gave.
    pub(crate) fn stack(&self, number: u32) -> &Stack {
        &self.stacks[number as usize]
    }

    /// Returns the samples one by one, in the order of their time; none where times are sums.
    pub fn moments(&self) -> &[ProfileSample] {
        &self.moments
    }

    /// Returns the frames of a stack, the root first.
    pub(crate) fn frames_of<'a>(
        &'a self,
        stack: &'a Stack,
    ) -> impl DoubleEndedIterator<Item = &'a ProfileFrame> + Clone {
        stack.frames.iter().map(|frame| self.frames.get(*frame))
    }

    /// Returns the phase that a stack is in, by its second frame.
    pub(crate) fn phase_of(&self, stack: &Stack) -> Option<Phase> {
        let text = &*self.frames.get(*stack.frames.get(1)?).text;
        let named = self.phases.iter().find(|(_, label)| label == text).map(|(phase, _)| *phase);
        named.or_else(|| Phase::STANDARD.into_iter().find(|phase| phase.name() == text))
    }

    /// Learns what a runtime calls its phases.
    pub fn know_phases(&mut self, description: &Description) {
        for (phase, label) in description.phases() {
            if !self.phases.iter().any(|(_, known)| known == label) {
                self.phases.push((phase, label.to_owned()));
            }
        }
    }

    /// Returns what a phase is called here.
    pub(crate) fn phase_label(&self, phase: Phase) -> &str {
        let named = self.phases.iter().find(|(known, _)| *known == phase);
        named.map_or(phase.name(), |(_, label)| label)
    }

    /// Returns how many of a stack's frames, from its root, belong to the layout: all that are not code.
    pub(crate) fn layout_depth(&self, stack: &Stack) -> usize {
        self.frames_of(stack).take_while(|frame| frame.code.is_none()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(stack: &str) -> Vec<ProfileFrame> {
        stack.split(';').map(ProfileFrame::plain).collect()
    }

    #[test]
    fn equal_stacks_are_added_up() {
        let mut profile = Profile::new(Of::Cpu);
        assert!(profile.is_empty());
        assert_eq!(profile.add(plain("b;poll;x"), 400, 1), 0);
        assert!(profile.is_empty(), "less than half a microsecond");
        assert_eq!(profile.add(plain("a;timers;y"), 5_000, 2), 1);
        assert_eq!(profile.add(plain("b;poll;x"), 700, 1), 0);
        assert_eq!((profile.total_ns(), profile.total_count()), (6_100, 4));
        let order: Vec<u64> = profile.sorted().iter().map(|stack| stack.ns).collect();
        assert_eq!(order, [5_000, 1_100]);
        assert_eq!(profile.phase_of(profile.stack(0)), Some(Phase::POLL));
        assert!(!profile.is_empty());
    }
}
