//! Drains that have ended and are not in the tallies yet.
//!
//! A drain touches six lines of the cache in the tallies, which the program's own work drives out of the nearest one again and
//! again, and a busy loop has a drain after each of its many callbacks. So they are written down in a row, as callbacks are in
//! the recorder, and added up when callbacks are: before each poll, and where there is no more room.

use crate::kind::Queue;
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::tallies::TallyWords;

/// Drains and completions that wait: half a KiB, of which a turn with few callbacks uses the first lines only.
const WAITING: usize = 32;

/// In place of a queue and its jobs: a callback was completed.
const COMPLETED: u64 = u64::MAX;

/// What waits to be added up.
// In this order: each poll asks whether there is something, and no more where there is nothing.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct DrainBatch {
    length: usize,
    /// How long each took in nanoseconds, and its jobs with the queue in the lowest bit, or [`COMPLETED`].
    waiting: [(u64, u64); WAITING],
}

impl DrainBatch {
    pub(crate) fn new() -> DrainBatch {
        DrainBatch { length: 0, waiting: [(0, 0); WAITING] }
    }

    /// Tells whether nothing waits.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Notes a drain of so many jobs. Returns whether there is no more room: then it is to be [added up](DrainBatch::add_up).
    #[inline(always)]
    #[must_use]
    pub(crate) fn drained(&mut self, queue: Queue, ns: u64, jobs: u64) -> bool {
        self.push(ns, jobs.min(u64::MAX >> 2) << 1 | queue as u64)
    }

    /// Notes that a callback was completed so long after its end. Returns the same.
    #[inline(always)]
    #[must_use]
    pub(crate) fn completed(&mut self, ns: u64) -> bool {
        self.push(ns, COMPLETED)
    }

    #[inline(always)]
    fn push(&mut self, ns: u64, what: u64) -> bool {
        // There is always room for one.
        self.waiting[self.length % WAITING] = (ns, what);
        self.length += 1;
        self.length == WAITING
    }

    /// Adds all to the tallies.
    pub(crate) fn add_up(&mut self, pen: &WriteToken<LoopOwned>, tallies: &TallyWords) {
        for (ns, what) in &self.waiting[..self.length.min(WAITING)] {
            if *what == COMPLETED {
                tallies.completed.record(pen, *ns);
                continue;
            }
            let queue = (*what & 1) as usize;
            tallies.drain[queue].record(pen, *ns);
            tallies.drain_jobs[queue].record(pen, *what >> 1);
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_noted_is_added_up_once() {
        let (tallies, pen) = (Box::<TallyWords>::default(), WriteToken::mint());
        let mut batch = DrainBatch::new();
        for round in 0..3 {
            for number in 1..WAITING as u64 / 2 {
                assert!(!batch.drained(Queue::Microtask, 1_000, number) && !batch.completed(2_000));
            }
            assert!(!batch.drained(Queue::NextTick, 5, u64::MAX) && batch.completed(7), "it is full");
            batch.add_up(&pen, &tallies);
            batch.add_up(&pen, &tallies);
            let rounds = round + 1;
            let drains = tallies.drain[Queue::Microtask.index()].read();
            assert_eq!((drains.count(), drains.sum_ns), (rounds * 15, rounds * 15_000));
            let completed = tallies.completed.read();
            assert_eq!((completed.count(), completed.sum_ns), (rounds * 16, rounds * (30_000 + 7)));
            assert_eq!(tallies.drain_jobs[Queue::Microtask.index()].read().sum, rounds * 120);
            assert_eq!(tallies.drain[Queue::NextTick.index()].read().sum_ns, rounds * 5);
            assert!(batch.is_empty());
        }
    }
}
