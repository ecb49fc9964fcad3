//! Writing the thread pool's part of the page, under the pool's own mutex, so that it stays true while the loop blocks.
//!
//! The pool keeps its [`PoolWriter`] inside the mutex that guards its queue: workers record a job's wait when they take
//! it and its run time when they finish it. The loop records only the last step, from finished to its callback. Stamps of
//! submitting and ending are taken outside the mutex, so that it is held for shorter.

use crate::clock::{Clock, Ticks};
use crate::kind::WorkKind;
use crate::limits::{COUNT_MAX, count};
use crate::memory::Memory;
use crate::pool::{PoolWords, UNKNOWN};
use crate::record::JobRecord;
use crate::shared_u64::{PoolOwned, WriteToken};
use crate::site::SiteId;
use crate::sync::{Ordering, fence};
use std::sync::Arc;

/// What can be seen of a pool from outside; `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObservedPool {
    /// Worker threads.
    pub threads: Option<u64>,
    /// Jobs that run.
    pub running: Option<u64>,
    /// Jobs that wait.
    pub queued: Option<u64>,
    /// When the job that waits longest was submitted; [`Ticks::NONE`] where none waits.
    pub oldest: Option<Ticks>,
    /// Jobs wait though threads rest: of a sort that may take only some of them, and has taken these.
    pub is_share_full: bool,
}

/// The one writer of a pool's words. Lives inside the pool's mutex.
///
/// ```
/// use loopscope_probe::{SiteId, WorkKind, Writer};
///
/// let mut writer = Writer::builder("web").build();
/// let mut pool = writer.take_pool().expect("it is the first");
/// pool.threads(1);
/// // A job is queued, taken by thread 0, and finished; nothing else waits.
/// let submitted = pool.clock().now();
/// pool.submitted(WorkKind::Fs, submitted);
/// let started = pool.started(WorkKind::Fs, submitted, None);
/// pool.runs(0, WorkKind::Fs, SiteId::NONE, started);
/// let ended = pool.clock().now();
/// pool.finished(WorkKind::Fs, started, ended, true);
/// pool.rests(0);
/// ```
#[derive(Debug)]
pub struct PoolWriter {
    memory: Arc<Memory>,
    pen: WriteToken<PoolOwned>,
    clock: Clock,
}

impl PoolWriter {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock) -> Self {
        PoolWriter { memory, pen: WriteToken::mint(), clock }
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
    ///
    /// ```
    /// # use loopscope_probe::{WorkKind, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// # let mut pool = writer.take_pool().unwrap();
    /// let submitted = pool.clock().now();
    /// pool.submitted(WorkKind::Fs, submitted);
    /// pool.cancelled(WorkKind::Fs, None); // no other job waits
    /// ```
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

    /// A worker runs a job since `since`, that was submitted at `site`. Until it runs another, or [`PoolWriter::rests`].
    pub fn runs(&mut self, worker: u32, kind: WorkKind, site: SiteId, since: Ticks) {
        self.runs_on(worker, 0, kind, site, since);
    }

    /// [`PoolWriter::runs`] on the thread with the kernel's number `tid`
    /// ([`current_tid`](crate::thread::current_tid)), so that others can say what a job that does not end is waiting
    /// in; 0 where that is not known.
    pub fn runs_on(&mut self, worker: u32, tid: u32, kind: WorkKind, site: SiteId, since: Ticks) {
        if let Some([what, begun]) = self.words().jobs_now.get(worker as usize) {
            // Whoever reads the new start sees that the job before is over: `PoolWords::jobs_now` is the other side.
            what.set(&self.pen, 0);
            fence(Ordering::Release);
            begun.set(&self.pen, since.0);
            what.publish(&self.pen, (kind as u64 + 1) | u64::from(site.0) << 16 | u64::from(tid) << 32);
        }
    }

    /// A worker runs no job.
    pub fn rests(&mut self, worker: u32) {
        if let Some([what, _]) = self.words().jobs_now.get(worker as usize) {
            what.set(&self.pen, 0);
        }
    }

    /// What was seen of a pool that does not write its page. Full and with jobs waiting, it is saturated; where it is
    /// not known how many run, waiting jobs mean that.
    ///
    /// ```
    /// # use loopscope_probe::{ObservedPool, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// # let mut pool = writer.take_pool().unwrap();
    /// let now = pool.clock().now();
    /// // Four threads, all busy, and nine jobs wait: saturated since now.
    /// let seen = ObservedPool { threads: Some(4), running: Some(4), queued: Some(9), ..ObservedPool::default() };
    /// pool.observe(seen, now);
    /// ```
    pub fn observe(&mut self, seen: ObservedPool, now: Ticks) {
        let (words, pen) = (self.words(), &self.pen);
        self.settle_busy(now);
        words.threads.set(pen, seen.threads.map_or(UNKNOWN, |threads| threads.clamp(1, COUNT_MAX)));
        words.running.set(pen, seen.running.map_or(UNKNOWN, count));
        words.queued.set(pen, seen.queued.map_or(UNKNOWN, count));
        words.queued_max.raise(pen, seen.queued.map_or(0, count));
        words.oldest.set(pen, seen.oldest.map_or(UNKNOWN, |since| since.0));
        let waits = seen
            .queued
            .map_or_else(|| seen.oldest.is_some_and(|since| since != Ticks::NONE), |queued| queued > 0);
        let is_full = seen.running.zip(seen.threads).is_none_or(|(running, threads)| running >= threads);
        self.saturate(now, waits, is_full || seen.is_share_full);
    }

    /// A job that was seen to wait for so long.
    pub fn waited(&mut self, kind: WorkKind, ns: u64) {
        self.words().wait[kind.index()].record(&self.pen, ns);
    }

    /// A job that was sent to find out waited for `ns` nanoseconds. One is sent every `every_ns`, but not while one is on its way: those
    /// that were not sent are recorded, too, with what they would have waited.
    ///
    /// ```
    /// # use loopscope_probe::{WorkKind, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// # let mut pool = writer.take_pool().unwrap();
    /// let submitted = pool.clock().now();
    /// // A job that does nothing is handed to the pool, and takes the time when it runs:
    /// let started = pool.clock().now();
    /// let ns = pool.clock().ns_between(submitted, started);
    /// pool.probe_waited(WorkKind::Other, ns, 250_000_000);
    /// ```
    pub fn probe_waited(&mut self, kind: WorkKind, ns: u64, every_ns: u64) {
        self.words().wait[kind.index()].record_probe(&self.pen, ns, every_ns);
    }

    /// A job that was seen to run for so long and end; `is_ok` is false where it panicked.
    pub fn ran(&mut self, kind: WorkKind, ns: u64, is_ok: bool) {
        let (words, pen) = (self.words(), &self.pen);
        let outcome = if is_ok { &words.completed } else { &words.failed };
        outcome[kind.index()].add(pen, 1);
        words.run[kind.index()].record(pen, ns);
    }

    /// Records a job that has ended. After [`PoolWriter::finished`].
    ///
    /// ```
    /// # use loopscope_probe::{JobRecord, WorkKind, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// # let mut pool = writer.take_pool().unwrap();
    /// let (submitted, started, ended) = (pool.clock().now(), pool.clock().now(), pool.clock().now());
    /// pool.record(&JobRecord { kind: WorkKind::Dns, submitted, started, ended, ..JobRecord::default() });
    /// ```
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
        let running = Some(words.running.get()).filter(|running| *running != UNKNOWN).unwrap_or(0);
        words.busy_ticks.add(pen, ticks.wrapping_mul(running));
        // Stamps of ends are taken before the mutex is: they may come in another order.
        words.busy_as_of.raise(pen, now.0);
    }

    /// Saturation begins when all threads are busy and a job waits, and ends when no job waits: a thread that finishes
    /// a job takes the next one at once, and the moment between the two is no relief.
    fn saturation(&self, now: Ticks) {
        let words = self.words();
        self.saturate(now, words.queued.get() > 0, words.running.get() >= words.threads.get());
    }

    fn saturate(&self, now: Ticks, waits: bool, is_full: bool) {
        let (words, pen) = (self.words(), &self.pen);
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
