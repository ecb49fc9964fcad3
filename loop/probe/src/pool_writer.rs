//! Writing the thread pool's part of the page, under the pool's own mutex, so that it stays true while the loop blocks.
//!
//! The pool keeps its [`PoolWriter`] inside the mutex that guards its queue: workers book a job's wait when they take
//! it and its run time when they finish it. The loop books only the last step, from finished to its callback. Stamps of
//! submitting and ending are taken outside the mutex, so that it is held for shorter.

use crate::clock::{Clock, Ticks};
use crate::jobs::JobRecord;
use crate::kind::WorkKind;
use crate::memory::Memory;
use crate::pool::PoolWords;
use crate::word::{Pen, PoolOwned};
use std::sync::Arc;

/// The one writer of a pool's words. Lives inside the pool's mutex.
#[derive(Debug)]
pub struct PoolWriter {
    memory: Arc<Memory>,
    pen: Pen<PoolOwned>,
    clock: Clock,
}

impl PoolWriter {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock) -> Self {
        PoolWriter { memory, pen: Pen::mint(), clock }
    }

    fn words(&self) -> &PoolWords {
        &self.memory.page().pool
    }

    /// Returns a clock for stamping jobs outside the mutex.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Says how many worker threads there are.
    pub fn threads(&mut self, count: usize) {
        self.words().threads.set(&self.pen, count as u64);
    }

    /// A job that was submitted at `now` was put at the end of the queue.
    pub fn submitted(&mut self, kind: WorkKind, now: Ticks) {
        let (words, pen) = (self.words(), &self.pen);
        words.submitted[kind.index()].add(pen, 1);
        words.queued.add(pen, 1);
        words.queued_max.raise(pen, words.queued.get());
        if words.oldest.get() == 0 {
            words.oldest.set(pen, now.0);
        }
        self.saturation(now);
    }

    /// A worker took the job that was submitted at `submitted`; `oldest` is the submit stamp of the new head of the
    /// queue, `None` where it is empty. Returns the start stamp.
    pub fn started(&mut self, kind: WorkKind, submitted: Ticks, oldest: Option<Ticks>) -> Ticks {
        let (words, pen, now) = (self.words(), &self.pen, self.clock.now());
        words.wait[kind.index()].record(pen, self.clock.ns_between(submitted, now));
        self.settle_busy(now);
        words.running.add(pen, 1);
        self.leave_queue(oldest, now);
        now
    }

    /// A queued job was cancelled; `oldest` as in [`PoolWriter::started`].
    pub fn cancelled(&mut self, kind: WorkKind, oldest: Option<Ticks>) {
        self.words().cancelled[kind.index()].add(&self.pen, 1);
        let now = self.clock.now();
        self.leave_queue(oldest, now);
    }

    /// A worker finished at `now` the job that it started at `started`; `is_ok` is false where the job panicked.
    pub fn finished(&mut self, kind: WorkKind, started: Ticks, now: Ticks, is_ok: bool) {
        let (words, pen) = (self.words(), &self.pen);
        let outcome = if is_ok { &words.completed } else { &words.failed };
        outcome[kind.index()].add(pen, 1);
        words.run[kind.index()].record(pen, self.clock.ns_between(started, now));
        self.settle_busy(now);
        words.running.set(pen, words.running.get().saturating_sub(1));
        self.saturation(now);
    }

    /// Records a job that has ended. After [`PoolWriter::finished`].
    pub fn record(&mut self, job: &JobRecord) {
        self.memory.page().jobs.ring().push(&self.pen, job.encode());
    }

    fn leave_queue(&self, oldest: Option<Ticks>, now: Ticks) {
        let (words, pen) = (self.words(), &self.pen);
        words.queued.set(pen, words.queued.get().saturating_sub(1));
        words.oldest.set(pen, oldest.map_or(0, |ticks| ticks.0));
        self.saturation(now);
    }

    fn settle_busy(&self, now: Ticks) {
        let (words, pen) = (self.words(), &self.pen);
        let ticks = now.since(Ticks(words.busy_as_of.get()));
        words.busy_ticks.add(pen, ticks.wrapping_mul(words.running.get()));
        // Stamps of ends are taken before the mutex is: they may come in another order.
        words.busy_as_of.raise(pen, now.0);
    }

    /// Saturation begins when all threads are busy and a job waits, and ends when no job waits: a thread that finishes
    /// a job takes the next one at once, and the moment between the two is no relief.
    fn saturation(&self, now: Ticks) {
        let (words, pen) = (self.words(), &self.pen);
        let (waits, is_full) = (words.queued.get() > 0, words.running.get() >= words.threads.get());
        match words.saturated_since.get() {
            0 if waits && is_full => words.saturated_since.set(pen, now.0.max(1)),
            since if since != 0 && !waits => {
                words.saturated_ticks.add(pen, now.since(Ticks(since)));
                words.saturated_since.set(pen, 0);
            }
            _ => {}
        }
    }
}
