//! The two queues that are drained after every callback: all ticks, then all microtasks, again while ticks are left.
//!
//! Jobs that are queued meanwhile are drained too, without a bound, as in Node: a job that always queues another keeps
//! the loop from its poll. The probe shows it while it lasts. Local futures are microtasks: each poll is one job.
//!
//! # Source
//! `processTicksAndRejections` in `lib/internal/process/task_queues.js` of Node v20.

use crate::callback::Origin;
use crate::cx::Cx;
use crate::queues::microtasks::Microtask;
use loopscope_probe::{Kind, Queue, TaskTimes};

/// How many drained jobs lie between two looks at the queue's depth.
const DEPTH_STRIDE: u64 = 1024;

impl<S: 'static> Cx<'_, S> {
    /// Queues a job that runs right after the present callback, before any microtask. Node's `process.nextTick`.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.microtask(|cx| cx.state.push("microtask"));
    ///     cx.next_tick(|cx| cx.state.push("tick"));
    ///     cx.state.push("main");
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), ["main", "tick", "microtask"]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn next_tick(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        let site = self.core.site(Origin::of(&run), Kind::Tick);
        self.core.queues.ticks.push_back((site, Box::new(run)));
    }

    /// Queues a job that runs after the present callback and all ticks. Node's `queueMicrotask`.
    #[track_caller]
    #[inline]
    pub fn microtask(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        let site = self.core.site(Origin::of(&run), Kind::Microtask);
        self.core.queues.push_microtask(site, Box::new(run));
    }

    /// Empties both queues. After every callback.
    #[inline(always)]
    pub(crate) fn drain(&mut self) {
        if !self.core.queues.is_empty() {
            self.drain_queues();
        }
        if let Some(probe) = &mut self.core.probe {
            probe.drained();
        }
    }

    #[inline(never)]
    fn drain_queues(&mut self) {
        loop {
            if !self.core.queues.ticks.is_empty() {
                self.drain_queue(Queue::NextTick, |cx| {
                    let Some((site, run)) = cx.core.queues.ticks.pop_front() else { return false };
                    cx.enter(Kind::Tick, site, TaskTimes::UNKNOWN, run);
                    true
                });
            }
            if self.core.queues.has_microtasks() {
                self.drain_queue(Queue::Microtask, Self::run_microtask);
            }
            if self.core.queues.is_empty() || !self.goes_on() {
                break;
            }
        }
    }

    /// Drains one queue: `run_next` runs its first job, or returns `false` where there is none.
    fn drain_queue(&mut self, queue: Queue, mut run_next: impl FnMut(&mut Self) -> bool) {
        let depth = self.core.queues.depth(queue);
        if let Some(probe) = &mut self.core.probe {
            probe.drain_begin(queue, depth);
        }
        let mut jobs = 0;
        while self.goes_on() && run_next(self) {
            jobs += 1;
            if jobs % DEPTH_STRIDE == 0
                && let Some(probe) = &mut self.core.probe
            {
                probe.queue_depth(queue, self.core.queues.depth(queue));
            }
        }
        if let Some(probe) = &mut self.core.probe {
            probe.drain_end(queue, jobs);
        }
    }

    fn run_microtask(&mut self) -> bool {
        match self.core.queues.pop_microtask() {
            Some(Microtask::Run(site, run)) => {
                self.enter(Kind::Microtask, site, TaskTimes::UNKNOWN, run);
                true
            }
            Some(Microtask::Poll(key)) => {
                self.poll_task(key);
                true
            }
            None => false,
        }
    }
}
