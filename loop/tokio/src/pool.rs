//! The blocking pool: how long jobs wait in it, told by a job that is sent to find out, and exactly by jobs that go through us.

use crate::runtime::{self, WatchedRuntime};
use crate::unstable;
use loopscope_probe::{ObservedPool, PoolWriter, Ticks, WorkKind};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

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

    fn submit(&mut self, now: Ticks) -> (u64, u64) {
        self.submitted += 1;
        let job = (now.0, self.submitted);
        self.waiting.insert(job);
        job
    }

    fn start(&mut self, job: (u64, u64)) -> Ticks {
        let now = self.writer.clock().now();
        self.waiting.remove(&job);
        self.writer.waited(WorkKind::User, self.writer.clock().ns_between(Ticks(job.0), now));
        now
    }

    /// Writes what is known at `now` to the page.
    pub(crate) fn publish(&mut self, now: Ticks, handle: &Handle) {
        let own = self.waiting.first().map(|(since, _)| Ticks(*since));
        let canary = Some(self.canary_since).filter(|since| *since != Ticks::NONE);
        let oldest = own.into_iter().chain(canary).min_by_key(|since| since.0);
        let told = unstable::pool(handle).unwrap_or_default();
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

impl WatchedRuntime {
    /// Calls `act` with what is known of the pool, while the runtime is watched.
    pub(crate) fn with_pool<R>(&self, act: impl FnOnce(&mut Pool) -> R) -> Option<R> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
    }
}

/// A job of ours that waits or runs; ends also where it panics, or is never run.
struct Job {
    runtime: Arc<WatchedRuntime>,
    job: (u64, u64),
    started: Ticks,
    is_ok: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.runtime.with_pool(|pool| {
            pool.waiting.remove(&self.job);
            if self.started != Ticks::NONE {
                let clock = pool.writer.clock();
                let ns = clock.ns_between(self.started, clock.now());
                pool.writer.ran(WorkKind::User, ns, self.is_ok);
            }
        });
    }
}

/// `tokio::task::spawn_blocking`, with the job's waiting and running told exactly, where the runtime is watched.
///
/// # Panics
/// Outside a runtime, as `tokio::task::spawn_blocking`.
#[track_caller]
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let job = runtime::current().and_then(|runtime| {
        let job = runtime.with_pool(|pool| pool.submit(pool.writer.clock().now()))?;
        Some(Job { runtime, job, started: Ticks::NONE, is_ok: false })
    });
    tokio::task::spawn_blocking(move || {
        let mut job = job;
        if let Some(job) = &mut job {
            let id = job.job;
            job.started = job.runtime.with_pool(|pool| pool.start(id)).unwrap_or(Ticks::NONE);
        }
        let result = work();
        if let Some(job) = &mut job {
            job.is_ok = true;
        }
        result
    })
}
