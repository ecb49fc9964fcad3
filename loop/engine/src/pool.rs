//! The thread pool, from the loop's side: jobs go in, completions come back in the poll phase.
//!
//! One queue, first in, first out; no priorities, but a slow lane for name resolution. Completions are delivered in the order in which the jobs ended, all
//! that have ended in one go, each followed by a drain. A job can be cancelled only while it is queued; its completion
//! then comes like any other, in the order of the cancelling.
//!
//! # Source
//! `src/threadpool.c` of libuv 1.46.

use crate::bell::News;
use crate::callback::Site;
use crate::core::What;
use crate::cx::Cx;
use crate::error::WorkError;
use crate::key::Key;
use loopscope_probe::{Kind, Life, SiteId, Ticks, WorkKind};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::Location;

/// The result of a job whose type is forgotten until its completion runs.
pub(crate) type Outcome = Result<Box<dyn Any + Send>, WorkError>;

/// A job without its type.
pub(crate) type Run = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// A completion callback.
pub(crate) type WorkDone<S> = Box<dyn FnOnce(&mut Cx<'_, S>, Outcome)>;

/// A job on its way to a thread.
pub(crate) struct Job {
    /// The loop it came from, among those that share the pool; given by the pool.
    pub(crate) client: Key,
    pub(crate) key: Key,
    pub(crate) kind: WorkKind,
    pub(crate) site: SiteId,
    pub(crate) run: Run,
}

/// A job on its way back.
pub(crate) struct Finished {
    pub(crate) key: Key,
    pub(crate) outcome: Outcome,
    pub(crate) submitted: Ticks,
    /// When it ended, or was cancelled.
    pub(crate) finished: Ticks,
}

/// Something that runs jobs beside the loop: threads, or a simulation of them.
pub(crate) trait Pool {
    /// Queues a job.
    fn submit(&mut self, job: Job);
    /// Turns a queued job into a cancelled completion; `false` where it is not queued any more.
    fn cancel(&mut self, key: Key) -> bool;
    /// Moves the completions to `into`, in the order the jobs ended.
    fn take_finished(&mut self, into: &mut VecDeque<Finished>);
}

/// Where the number of threads comes from when the builder does not say.
const SIZE_VARIABLE: &str = "UV_THREADPOOL_SIZE";
const SIZE_DEFAULT: usize = 4;
const SIZE_MAX: usize = 1024;

/// Returns how many threads a pool has: `wanted`, else by [`SIZE_VARIABLE`], else four.
pub(crate) fn size(wanted: Option<usize>) -> usize {
    let from_environment = || std::env::var_os(SIZE_VARIABLE).map(|text| parse_size(&text.to_string_lossy()));
    wanted.or_else(from_environment).unwrap_or(SIZE_DEFAULT).clamp(1, SIZE_MAX)
}

/// Reads a number as C's `atoi` does: the digits at the start, 0 where there are none.
fn parse_size(text: &str) -> usize {
    let text = text.trim_start();
    let digits = text.find(|digit: char| !digit.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits
        .bytes()
        .fold(0, |size: usize, digit| size.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
}

impl<S: 'static> Cx<'_, S> {
    /// Runs `job` on a pool thread and then `done` on the loop, with its result. A job keeps the loop alive until its
    /// completion ran. The threads are started by the first job.
    #[track_caller]
    pub fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, Result<T, WorkError>) + 'static,
    ) -> Key {
        let site = self.core.site(Location::caller(), Kind::WorkDone);
        self.submit(site, WorkKind::User, job, done)
    }

    /// Like [`Cx::work`], booked as this kind of work in the pool's histograms.
    #[track_caller]
    pub fn work_kind<T: Send + 'static>(
        &mut self,
        kind: WorkKind,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, Result<T, WorkError>) + 'static,
    ) -> Key {
        let site = self.core.site(Location::caller(), Kind::WorkDone);
        self.submit(site, kind, job, done)
    }

    pub(crate) fn submit<T: Send + 'static>(
        &mut self,
        site: Site,
        kind: WorkKind,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, Result<T, WorkError>) + 'static,
    ) -> Key {
        let done: WorkDone<S> = Box::new(move |cx, outcome| {
            let result =
                outcome.map(|value| *value.downcast::<T>().expect("the value came out of this very job"));
            done(cx, result);
        });
        let key = self.core.insert(site, What::Work(done));
        self.core.requests += 1;
        self.core.pool.submit(Job {
            client: Key::NOBODY,
            key,
            kind,
            site: site.id,
            run: Box::new(move || Box::new(job())),
        });
        key
    }

    /// Cancels a pool job that is still queued: its callback runs with [`WorkError::Cancelled`] in a later poll.
    /// Returns `false` for a job that runs or has ended, and for a key that is not a job's.
    pub fn cancel(&mut self, key: Key) -> bool {
        let is_work = self.core.slots.get(key).is_some_and(|entry| matches!(entry.what, What::Work(_)));
        let is_cancelled = is_work && self.core.pool.cancel(key);
        if is_cancelled && let Some(probe) = &mut self.core.probe {
            probe.cancelled(Kind::WorkDone);
        }
        is_cancelled
    }

    /// Runs the callbacks of all jobs that have ended until now.
    #[inline]
    pub(crate) fn run_finished(&mut self) {
        let core = &mut *self.core;
        if core.bell.has(News::Finished) {
            core.pool.take_finished(&mut core.finished);
        }
        if !core.finished.is_empty() {
            self.run_completions();
        }
    }

    #[inline(never)]
    fn run_completions(&mut self) {
        while self.goes_on()
            && let Some(finished) = self.core.finished.pop_front()
        {
            self.deliver(finished);
            self.drain();
        }
    }

    fn deliver(&mut self, finished: Finished) {
        let Some(entry) = self.core.remove(finished.key) else { return };
        let What::Work(done) = entry.what else { return };
        self.core.requests -= 1;
        if let Some(probe) = &mut self.core.probe {
            probe.delivered(finished.finished);
        }
        let life = Life { submitted: finished.submitted, ready: finished.finished };
        self.enter(Kind::WorkDone, entry.site, life, |cx| done(cx, finished.outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_libuv_reads_them() {
        let read = |text| size(Some(parse_size(text)));
        let cases = [("8", 8), ("0", 1), ("", 1), ("many", 1), ("-3", 1), ("4096", 1024), (" 6x", 6)];
        assert!(cases.iter().all(|(text, threads)| read(text) == *threads));
        assert_eq!(read("99999999999999999999999"), 1024);
    }
}
