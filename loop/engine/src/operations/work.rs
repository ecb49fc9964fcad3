//! The thread pool, from the loop's side: jobs go in, completions come back in the poll phase.
//!
//! One queue, first in, first out; no priorities, but a slow lane for name resolution. Completions are delivered in the
//! order in which the jobs ended, all that have ended in one go, each followed by a drain. A job can be cancelled only
//! while it is queued; its completion then comes like any other, in the order of the cancelling.
//!
//! # Source
//! `src/threadpool.c` of libuv 1.46.

use crate::callback::{Origin, Site};
use crate::core::What;
use crate::cx::Cx;
use crate::error::WorkError;
use crate::key::Key;
use crate::loop_waker::News;
use crate::pool::{Finished, Job, WorkDone};
use loopscope_probe::{Kind, TaskTimes, WorkKind};

impl<S: 'static> Cx<'_, S> {
    /// Runs `job` on a pool thread and then `done` on the loop, with its result. A job keeps the loop alive until its
    /// completion ran. The threads are started by the first job.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(0).build()?;
    /// event_loop.main(|cx| cx.work(|| (1..=100).sum::<u32>(), |cx, sum| *cx.state = sum.unwrap_or(0)));
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 5_050);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, Result<T, WorkError>) + 'static,
    ) -> Key {
        let site = self.core.site(Origin::of(&done), Kind::WorkDone);
        self.submit(site, WorkKind::User, job, done)
    }

    /// Like [`Cx::work`], counted as this kind of work in the pool's histograms.
    #[track_caller]
    pub fn work_kind<T: Send + 'static>(
        &mut self,
        kind: WorkKind,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, Result<T, WorkError>) + 'static,
    ) -> Key {
        let site = self.core.site(Origin::of(&done), Kind::WorkDone);
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
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, WorkError};
    ///
    /// // One thread, which is busy with the first job.
    /// let mut event_loop = Loop::builder(None).virtual_time().pool_threads(1).build()?;
    /// event_loop.main(|cx| {
    ///     cx.work(|| (), |_, _| {});
    ///     let second = cx.work(|| 7, |cx, result| *cx.state = Some(result));
    ///     cx.cancel(second);
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), Some(Err(WorkError::Cancelled)));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel(&mut self, key: Key) -> bool {
        let is_work = self.core.slots.get(key).is_some_and(|entry| matches!(entry.what, What::Work(_)));
        // The pool counts it. The loop does not: of operations that it counts as cancelled, no callback runs.
        is_work && self.core.pool.cancel(key)
    }

    /// Runs the callbacks of all jobs that have ended until now.
    #[inline]
    pub(crate) fn run_finished(&mut self) {
        let core = &mut *self.core;
        if core.waker.has(News::Finished) {
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
        // One that was cancelled, or that no thread could take, never ended on one.
        let has_run = !matches!(finished.outcome, Err(WorkError::Cancelled | WorkError::NoThread));
        if has_run && let Some(probe) = &mut self.core.probe {
            probe.delivered(finished.finished);
        }
        let life = TaskTimes { submitted: finished.submitted, ready: finished.finished };
        self.enter(Kind::WorkDone, entry.site, life, |cx| done(cx, finished.outcome));
    }
}
