//! The thread pool's part of the page, written under the pool's own mutex, so that it stays true while the loop blocks.
//!
//! The pool keeps its [`PoolWriter`] inside the mutex that guards its queue: workers book a job's wait when they take
//! it and its run time when they finish it. The loop books only the last step, from finished to its callback. Stamps of
//! submitting and ending are taken outside the mutex, so that it is held for shorter.

use crate::clock::{Clock, Scale, Ticks};
use crate::histogram::{Histogram, HistogramValues};
use crate::kind::WorkKind;
use crate::limits::count;
use crate::memory::Memory;
use crate::word::{Pen, PoolOwned, Word};
use std::sync::Arc;

/// The pool's words.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct PoolWords {
    /// Worker threads; 0 where this page has no pool.
    threads: Word<PoolOwned>,
    running: Word<PoolOwned>,
    queued: Word<PoolOwned>,
    queued_max: Word<PoolOwned>,
    /// When the job at the head of the queue was submitted, in ticks; 0 while the queue is empty.
    oldest: Word<PoolOwned>,
    /// When all threads became busy with jobs still queued, in ticks; 0 while that is not so.
    saturated_since: Word<PoolOwned>,
    saturated_ticks: Word<PoolOwned>,
    /// Busy time of all threads until `busy_as_of`, in ticks; since then `running` threads are busy.
    busy_ticks: Word<PoolOwned>,
    busy_as_of: Word<PoolOwned>,
    submitted: [Word<PoolOwned>; WorkKind::COUNT],
    completed: [Word<PoolOwned>; WorkKind::COUNT],
    failed: [Word<PoolOwned>; WorkKind::COUNT],
    cancelled: [Word<PoolOwned>; WorkKind::COUNT],
    wait: [Histogram<PoolOwned>; WorkKind::COUNT],
    run: [Histogram<PoolOwned>; WorkKind::COUNT],
}

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

    pub(crate) fn page_and_pen(&self) -> (&crate::page::Page, &Pen<PoolOwned>) {
        (self.memory.page(), &self.pen)
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

/// A copy of a pool's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolValues {
    /// Worker threads; at least 1.
    pub threads: u64,
    /// Jobs that run now.
    pub running: u64,
    /// Jobs that wait now.
    pub queued: u64,
    /// Most jobs that ever waited at once.
    pub queued_max: u64,
    /// How long the job at the head of the queue has waited, in nanoseconds; 0 with an empty queue.
    pub oldest_wait_ns: u64,
    /// How long all threads have been busy with jobs still queued, in nanoseconds; 0 while not so.
    pub saturated_for_ns: u64,
    /// Time with all threads busy and jobs queued, in nanoseconds, the present such period included.
    pub saturated_ns: u64,
    /// Busy time of all threads, in nanoseconds, running jobs included.
    pub busy_ns: u64,
    /// Jobs submitted, by kind.
    pub submitted: [u64; WorkKind::COUNT],
    /// Jobs finished without a panic, by kind.
    pub completed: [u64; WorkKind::COUNT],
    /// Jobs that panicked, by kind.
    pub failed: [u64; WorkKind::COUNT],
    /// Jobs cancelled while queued, by kind.
    pub cancelled: [u64; WorkKind::COUNT],
    /// Submit to start, by kind.
    pub wait: [HistogramValues; WorkKind::COUNT],
    /// Start to end, by kind.
    pub run: [HistogramValues; WorkKind::COUNT],
}

/// The pool's present state, without counters and histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolNow {
    /// Worker threads; at least 1.
    pub threads: u64,
    /// Jobs that run now.
    pub running: u64,
    /// Jobs that wait now.
    pub queued: u64,
    /// How long the job at the head of the queue has waited, in nanoseconds; 0 with an empty queue.
    pub oldest_wait_ns: u64,
    /// Since when all threads have been busy with jobs still queued; [`Ticks::NONE`] while not so.
    pub saturated_since: Ticks,
    /// How long that is, in nanoseconds.
    pub saturated_for_ns: u64,
}

impl PoolWords {
    /// How many bytes at the front are numbers; histograms come after them.
    #[cfg(target_os = "linux")]
    pub(crate) const NUMBERS_BYTES: usize = std::mem::offset_of!(PoolWords, wait);

    /// Reads the present state as of `now`, or `None` where the page has no pool.
    pub(crate) fn now(&self, now: Ticks, ns: impl Fn(u64) -> u64) -> Option<PoolNow> {
        let age = |since: u64| if since == 0 { 0 } else { ns(now.since(Ticks(since))) };
        let (threads, saturated_since) = (count(self.threads.get()), self.saturated_since.get());
        (threads > 0).then(|| PoolNow {
            threads,
            running: count(self.running.get()),
            queued: count(self.queued.get()),
            oldest_wait_ns: age(self.oldest.get()),
            saturated_since: Ticks(saturated_since),
            saturated_for_ns: age(saturated_since),
        })
    }

    /// Copies the words as of `now`, or `None` where the page has no pool. Ages are 0 without `now`.
    pub(crate) fn read(&self, now: Option<Ticks>, scale: Scale) -> Option<PoolValues> {
        let ns = |ticks: u64| scale.duration_ns(ticks);
        let threads = count(self.threads.get());
        if threads == 0 {
            return None;
        }
        let age = |since: u64| now.filter(|_| since != 0).map_or(0, |now| now.since(Ticks(since)));
        let (running, busy_as_of) = (count(self.running.get()), self.busy_as_of.get());
        let saturated_for = age(self.saturated_since.get());
        let counters =
            |words: &[Word<PoolOwned>; WorkKind::COUNT]| std::array::from_fn(|kind| count(words[kind].get()));
        Some(PoolValues {
            threads,
            running,
            queued: count(self.queued.get()),
            queued_max: count(self.queued_max.get()),
            oldest_wait_ns: ns(age(self.oldest.get())),
            saturated_for_ns: ns(saturated_for),
            saturated_ns: ns(self.saturated_ticks.get().saturating_add(saturated_for)),
            // Of all threads together, which is longer than the loop has lived.
            busy_ns: scale.sum_ns(
                self.busy_ticks.get().saturating_add(age(busy_as_of).saturating_mul(running.min(threads))),
            ),
            submitted: counters(&self.submitted),
            completed: counters(&self.completed),
            failed: counters(&self.failed),
            cancelled: counters(&self.cancelled),
            wait: std::array::from_fn(|kind| self.wait[kind].read()),
            run: std::array::from_fn(|kind| self.run[kind].read()),
        })
    }
}
