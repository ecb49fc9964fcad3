//! `spawn_blocking` with the job's waiting and running told exactly.

use crate::runtime::{self, WatchedRuntime};
use loopscope_probe::Ticks;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A job of ours that waits or runs; ends also where it panics, or is never run.
struct Job {
    runtime: Arc<WatchedRuntime>,
    job: (u64, u64),
    started: Ticks,
    is_ok: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.runtime.with_pool(|pool| pool.end(self.job, self.started, self.is_ok));
    }
}

/// `tokio::task::spawn_blocking`, with the job's waiting and running told exactly, where the runtime is watched.
///
/// # Panics
/// Outside a runtime, as `tokio::task::spawn_blocking`.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
/// let sum = runtime.block_on(async { loopscope_tokio::spawn_blocking(|| (1..=100).sum::<u32>()).await });
/// assert_eq!(sum.unwrap(), 5_050);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let job = runtime::current().and_then(|runtime| {
        let job = runtime.with_pool(crate::pool::Pool::submit)?;
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
