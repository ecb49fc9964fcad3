//! The samples of a session while it runs: every different stack once, by its addresses, with its time and count.
//!
//! Names come at the end only, so a sample costs a look-up. Memory is bounded: when there is no room for another stack,
//! the sample is counted on its loop, phase and site alone.

use loopscope_probe::{Kind, Phase, SiteId};
use loopscope_report::profiles::ProfileSample;
use std::collections::HashMap;
use std::sync::Arc;

/// Different stacks that are kept, and words of all of them together: 16 MB.
const STACKS: usize = 30_000;
const WORDS: usize = 2_000_000;

/// Samples whose moment is kept: as many as a profile keeps.
const MOMENTS: usize = 300_000;

/// What was found at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// Index of the loop within the session.
    pub loop_index: usize,
    pub phase: Phase,
    /// What ran; `None` between callbacks.
    pub kind: Option<Kind>,
    pub site: SiteId,
    /// For a drained job, the callback after which it ran.
    pub parent: SiteId,
    /// Spans open inside the callback, outermost first.
    pub spans: Vec<SiteId>,
    /// Leaf first. Empty where there was no room for it.
    pub addresses: Vec<u64>,
    /// What the process's sampler found, where the loop's runtime can tell what it means. Empty where there was no room for it.
    pub foreign: Vec<u64>,
    /// What the thread waited in; `None` where it ran.
    pub wait: Option<Arc<str>>,
}

impl Found {
    fn words(&self) -> usize {
        self.addresses.len() + self.foreign.len()
    }
}

/// Every different stack, and what it came to.
#[derive(Debug, Default)]
pub(crate) struct Store {
    numbers: HashMap<Arc<Found>, u32>,
    stacks: Vec<Stacked>,
    words: usize,
    moments: Vec<ProfileSample>,
}

/// A stack and its sums.
#[derive(Debug)]
pub(crate) struct Stacked {
    pub found: Arc<Found>,
    pub ns: u64,
    pub count: u64,
}

impl Store {
    /// Adds a sample that stands for `ns` nanoseconds. Returns its stack's number, and whether the whole stack is kept.
    pub(crate) fn add(&mut self, mut found: Found, at_ns: u64, ns: u64) -> (u32, bool) {
        if let Some(number) = self.numbers.get(&found).copied() {
            self.again(number, at_ns, ns);
            return (number, true);
        }
        let has_room = self.stacks.len() < STACKS && self.words + found.words() <= WORDS;
        if !has_room {
            (found.addresses, found.foreign) = (Vec::new(), Vec::new());
            found.spans = Vec::new();
        }
        let number = self.numbers.get(&found).copied().unwrap_or_else(|| self.insert(found));
        self.again(number, at_ns, ns);
        (number, has_room)
    }

    /// Counts another sample of a stack.
    pub(crate) fn again(&mut self, number: u32, at_ns: u64, ns: u64) {
        let stack = &mut self.stacks[number as usize];
        (stack.ns, stack.count) = (stack.ns.saturating_add(ns), stack.count + 1);
        if self.moments.len() < MOMENTS {
            self.moments.push(ProfileSample { at_ns, stack: number, ns });
        }
    }

    fn insert(&mut self, found: Found) -> u32 {
        let (number, found) = (self.stacks.len() as u32, Arc::new(found));
        self.words += found.words();
        self.stacks.push(Stacked { found: found.clone(), ns: 0, count: 0 });
        self.numbers.insert(found, number);
        number
    }

    /// Returns the stacks in the order of their numbers, and the samples one by one.
    pub(crate) fn into_parts(self) -> (Vec<Stacked>, Vec<ProfileSample>) {
        (self.stacks, self.moments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn found(address: u64) -> Found {
        let (parent, spans) = (SiteId::NONE, vec![SiteId::from(4)]);
        let (kind, site) = (Some(Kind::Timer), SiteId::from(3));
        Found {
            loop_index: 0,
            phase: Phase::TIMERS,
            kind,
            site,
            parent,
            spans,
            addresses: vec![address],
            foreign: Vec::new(),
            wait: None,
        }
    }

    #[test]
    fn equal_stacks_are_one() {
        let mut store = Store::default();
        let (first, _) = store.add(found(1), 10, 100);
        assert_ne!(store.add(found(2), 20, 100).0, first);
        assert_eq!(store.add(found(1), 30, 50), (first, true));
        store.again(first, 40, 1);
        let (stacks, moments) = store.into_parts();
        assert_eq!((stacks[first as usize].ns, stacks[first as usize].count, stacks.len()), (151, 3, 2));
        assert_eq!(moments.last(), Some(&ProfileSample { at_ns: 40, stack: first, ns: 1 }));
    }

    #[test]
    fn without_room_the_time_is_counted_on_the_site() {
        let mut store = Store::default();
        for address in 0..STACKS as u64 {
            assert!(store.add(found(address), 0, 1).1);
        }
        let (rest, is_whole) = store.add(found(u64::MAX), 0, 7);
        assert!(!is_whole);
        assert_eq!(store.add(found(u64::MAX - 1), 0, 7), (rest, false));
        assert_eq!(store.add(found(5), 0, 1), (5, true));
        let (stacks, _) = store.into_parts();
        assert_eq!((stacks.len(), stacks[rest as usize].ns), (STACKS + 1, 14));
        assert!(stacks[rest as usize].found.addresses.is_empty());
    }

    #[test]
    fn what_an_interpreter_was_in_makes_stacks_different() {
        let mut store = Store::default();
        let interpreted = |word| Found { foreign: vec![word], ..found(1) };
        let (first, _) = store.add(interpreted(1), 0, 1);
        assert_ne!(store.add(interpreted(2), 0, 1).0, first);
        assert_eq!(store.add(interpreted(1), 0, 1).0, first);
        assert_eq!(store.words, 4);
    }
}
