//! Drains that have ended and are not in the tallies yet.
//!
//! A drain touches six lines of the cache in the tallies, which the program's own work drives out of the nearest one again and
//! again, and a busy loop has a drain after each of its many callbacks. So they are written down in a row, as callbacks are in
//! the recorder, and added up when callbacks are: before each poll, and where there is no more room.

use crate::clock::Scale;
use crate::histogram::slot;
use crate::kind::Queue;
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::tallies::TallyWords;

/// Drains and completions that wait: half a KiB, of which a turn with few callbacks uses the first lines only.
const WAITING: usize = 32;

/// In place of a queue and its jobs: a callback was completed.
const COMPLETED: u64 = u64::MAX;
/// Beside the queue of a drain: with it a callback was completed, after as long a time.
const COMPLETES: u64 = 2;
/// Bits below the number of jobs.
const JOBS_SHIFT: u32 = 2;

/// What waits to be added up.
// In this order: each poll asks whether there is something, and no more where there is nothing.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct DrainBatch {
    length: usize,
    /// How long each took in ticks, and its jobs with the queue in the lowest bit, or [`COMPLETED`].
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
    pub(crate) fn drained(&mut self, queue: Queue, ticks: u64, jobs: u64) -> bool {
        self.push(ticks, jobs.min(u64::MAX >> (JOBS_SHIFT + 1)) << JOBS_SHIFT | queue as u64)
    }

    /// Notes that a callback was completed so long after its end. Returns the same.
    #[inline(always)]
    #[must_use]
    pub(crate) fn completed(&mut self, ticks: u64) -> bool {
        // Most have one drain, which began at their end: it is the same time.
        if let Some((same, what)) = self.waiting.get_mut(self.length.wrapping_sub(1))
            && *same == ticks
            && *what & COMPLETES == 0
        {
            *what |= COMPLETES;
            return false;
        }
        self.push(ticks, COMPLETED)
    }

    #[inline(always)]
    fn push(&mut self, ticks: u64, what: u64) -> bool {
        // There is always room for one.
        self.waiting[self.length % WAITING] = (ticks, what);
        self.length += 1;
        self.length == WAITING
    }

    /// Adds all to the tallies.
    pub(crate) fn add_up(&mut self, pen: &WriteToken<LoopOwned>, tallies: &TallyWords, scale: Scale) {
        for (ticks, what) in &self.waiting[..self.length.min(WAITING)] {
            let ns = scale.ns(*ticks);
            let slot = slot(ns);
            // Of one that is nothing but completed this bit is set, too.
            if *what & COMPLETES != 0 {
                tallies.completed.count_in(pen, slot, ns);
            }
            if *what != COMPLETED {
                let queue = (*what & 1) as usize;
                tallies.drain[queue].count_in(pen, slot, ns);
                tallies.drain_jobs[queue].record(pen, *what >> JOBS_SHIFT);
            }
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
            batch.add_up(&pen, &tallies, Scale::NANOSECONDS);
            batch.add_up(&pen, &tallies, Scale::NANOSECONDS);
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

    #[test]
    fn a_callback_that_is_completed_with_its_only_drain_needs_no_room_of_its_own() {
        let (tallies, pen) = (Box::<TallyWords>::default(), WriteToken::mint());
        let mut batch = DrainBatch::new();
        assert!(!batch.drained(Queue::NextTick, 1_000, 3) && !batch.completed(1_000));
        assert_eq!(batch.length, 1);
        // A further callback of the same time is one by itself, and so is one of another time than its last drain.
        assert!(!batch.completed(1_000));
        assert!(!batch.drained(Queue::NextTick, 1_000, 4) && !batch.drained(Queue::Microtask, 500, 0));
        assert!(!batch.completed(1_500));
        assert_eq!(batch.length, 5);
        batch.add_up(&pen, &tallies, Scale::from_ratio(1, 2).unwrap());
        let completed = tallies.completed.read();
        assert_eq!((completed.count(), completed.sum_ns), (3, 7_000));
        let ticks = tallies.drain[Queue::NextTick.index()].read();
        assert_eq!((ticks.count(), ticks.sum_ns), (2, 4_000));
        assert_eq!(tallies.drain_jobs[Queue::NextTick.index()].read().sum, 7);
        assert_eq!(tallies.drain[Queue::Microtask.index()].read().sum_ns, 1_000);
    }
}
