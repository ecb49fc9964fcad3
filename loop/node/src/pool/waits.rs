//! How long jobs of the pool wait, where its variables cannot be read: by a job of ours that does nothing, sent now and then
//! while the program uses the pool.
//!
//! It does no harm to a full pool: one is on its way at most, it takes no time of the thread that it comes to, and none is sent
//! before the program has sent jobs of its own, so that no threads are begun for it. It keeps the loop alive until it has run.

use super::PoolObserver;
use crate::log;
use crate::sys::{ProbeJob, UvLoop};
use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::Scale;
use std::sync::Arc;

/// The next job is sent no sooner after the one before, in nanoseconds.
pub(super) const EVERY_NS: u64 = 250_000_000;

/// Sends the job, on the loop's thread.
#[derive(Debug)]
pub(crate) struct PoolWaits {
    job: ProbeJob,
    observer: Arc<PoolObserver>,
    every: u64,
    due: Ticks,
    /// Jobs that the program had made when the last one was sent.
    made: u64,
}

impl PoolWaits {
    /// Begins; `None` with a line that says why where libuv is another one.
    pub(crate) fn begin(observer: Arc<PoolObserver>, scale: Scale) -> Option<PoolWaits> {
        let ran = {
            let observer = observer.clone();
            Arc::new(move || observer.probe_ran())
        };
        match ProbeJob::new(ran) {
            Ok(job) => {
                Some(PoolWaits { job, observer, every: scale.ticks(EVERY_NS), due: Ticks::NONE, made: 0 })
            }
            Err(why) => {
                log::off("how long jobs of the thread pool wait", &why.to_string());
                None
            }
        }
    }

    /// Sends the job where it is due. `made` is how many jobs the program has made so far, and `requests` how many of whatever
    /// kind are under way: with none nothing waits, and the loop may be about to end.
    #[inline]
    pub(crate) fn look(&mut self, now: Ticks, made: u64, requests: u64, uv_loop: &UvLoop) {
        if made != self.made && requests > 0 && now >= self.due {
            self.send(now, made, uv_loop);
        }
    }

    #[cold]
    fn send(&mut self, now: Ticks, made: u64, uv_loop: &UvLoop) {
        if self.observer.probe_sent(|| self.job.send(uv_loop)) {
            (self.due, self.made) = (Ticks(now.0.saturating_add(self.every)), made);
        }
    }
}
