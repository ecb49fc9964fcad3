//! Time-outs of streams on which nothing moves, and the queue of their deadlines.
//!
//! The queue is a heap with one entry for a stream. Entries of streams that were closed are dropped when they come to
//! the top, or all at once when they are more than half.

use crate::callback::{Site, State};
use crate::key::Key;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Fewer dead entries than this are left alone.
const DEAD_KEPT: usize = 64;

/// Not in the queue.
pub(crate) const NEVER: u64 = u64::MAX;

/// A callback for a stream on which nothing moves.
pub(crate) type OnIdle<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>, Key)>;

/// The time-out of one stream.
pub(crate) struct Idle<S: State> {
    pub(crate) after_ns: u64,
    /// The deadline of its valid entry in the queue.
    pub(crate) queued_ns: u64,
    pub(crate) site: Site,
    /// Missing while it runs.
    pub(crate) run: Option<OnIdle<S>>,
}

/// Deadlines in their order.
#[derive(Debug, Default)]
pub(crate) struct IdleQueue {
    pub(crate) heap: BinaryHeap<Deadline>,
    pub(crate) dead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at_ns: u64,
    pub(crate) key: Key,
}

impl Ord for Deadline {
    /// The earliest is the greatest, as a heap's top; of two at one moment one is chosen by its key, the same in every
    /// run.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.key.token()).cmp(&(self.at_ns, self.key.token()))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl IdleQueue {
    /// Shortens a wait to the first deadline.
    #[inline]
    pub(crate) fn limit(&self, timeout: Option<Duration>, now_ns: u64) -> Option<Duration> {
        let Some(first) = self.heap.peek() else { return timeout };
        let left = Duration::from_nanos(first.at_ns.saturating_sub(now_ns));
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.heap.peek().is_some_and(|first| first.at_ns <= now_ns)
    }

    /// Notes that an entry is valid no more; `true` where it is time to sweep.
    pub(crate) fn bury(&mut self) -> bool {
        self.dead += 1;
        self.dead > DEAD_KEPT && self.dead > self.heap.len() / 2
    }
}

#[cfg(test)]
#[path = "idle_timeout_tests.rs"]
mod tests;
