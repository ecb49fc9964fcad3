//! The blocking pool: how long jobs wait in it, told by a job that is sent to find out, and exactly by jobs that go through us.

use loopscope_probe::{ObservedPool, PoolWriter, Ticks, WorkKind};
use std::collections::BTreeSet;

/// What is known of the pool of one runtime.
#[derive(Debug)]
pub(crate) struct Pool {
    writer: PoolWriter,
    /// When our jobs that wait were submitted, in ticks, each with a number.
    waiting: BTreeSet<(u64, u64)>,
    submitted: u64,
    /// When the job that is to find out was sent; [`Ticks::NONE`] while none is on its way.
    pub(crate) canary_since: Ticks,
}

impl Pool {
    pub(crate) fn new(writer: PoolWriter) -> Pool {
        Pool { writer, waiting: BTreeSet::new(), submitted: 0, canary_since: Ticks::NONE }
    }

    /// A job of ours was submitted.
    pub(crate) fn submit(&mut self) -> (u64, u64) {
        let now = self.writer.clock().now();
        self.submitted += 1;
        let job = (now.0, self.submitted);
        self.waiting.insert(job);
        job
    }

    /// It runs from now on; returns since when.
    pub(crate) fn start(&mut self, job: (u64, u64)) -> Ticks {
        let now = self.writer.clock().now();
        self.waiting.remove(&job);
        self.writer.waited(WorkKind::User, self.writer.clock().ns_between(Ticks(job.0), now));
        now
    }

    /// It has ended, where it `started`, or was never run.
    pub(crate) fn end(&mut self, job: (u64, u64), started: Ticks, is_ok: bool) {
        self.waiting.remove(&job);
        if started != Ticks::NONE {
            let clock = self.writer.clock();
            let ns = clock.ns_between(started, clock.now());
            self.writer.ran(WorkKind::User, ns, is_ok);
        }
    }

    /// Writes what is known at `now` to the page; `told` is what the runtime's metrics tell.
    pub(crate) fn publish(&mut self, now: Ticks, told: ObservedPool) {
        let own = self.waiting.first().map(|(since, _)| Ticks(*since));
        let canary = Some(self.canary_since).filter(|since| *since != Ticks::NONE);
        let oldest = own.into_iter().chain(canary).min_by_key(|since| since.0);
        self.writer.observe(ObservedPool { oldest: Some(oldest.unwrap_or(Ticks::NONE)), ..told }, now);
    }

    /// The job that was sent to find out `has_run`, or never will.
    pub(crate) fn canary_ended(&mut self, has_run: bool) {
        let clock = self.writer.clock();
        let ns = clock.ns_between(self.canary_since, clock.now());
        if has_run {
            self.writer.waited(WorkKind::Other, ns);
        }
        self.canary_since = Ticks::NONE;
    }
}
