//! Short tasks of ours that a busy worker runs between two polls of the program's: one that ran one was not stuck until then.
//!
//! Tokio counts a worker's polls of its driver only every 61 polls of tasks (`hidden_polls.rs`), so tasks that yield and whose polls
//! take milliseconds look like one that does not. A task that is sent from outside goes into the queue that all workers share, and a
//! worker looks there after each poll or two where polls are long. But where a worker is parked, that one is woken for it and takes
//! it: this would cost the program a wake-up and tell nothing. So tasks are sent only while no worker is parked.
//!
//! The worker that comes first takes all that there are. So they stay with it, where another worker that runs out of tasks finds them,
//! and go on to be polled with the worker's own tasks, as long as these take long: one for good, others for a while.

use crate::own_tasks::run_here;
use crate::runtime::{OwnTask, WatchedRuntime};
use crate::worker::Worker;
use loopscope_probe::Clock;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// A worker that has not moved for so long is asked, in nanoseconds: one whose polls are short has.
pub(crate) const STILL_NS: u64 = 10_000_000;
/// A task that comes to its next poll sooner is on a worker whose polls are short, or that has nothing else to do; in nanoseconds.
const LONG_NS: u64 = 1_000_000;
/// So many polls another one waits to be taken by another worker where one stays already.
const SPARE_POLLS: u32 = 16;

/// The tasks that one runtime was sent.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// How many there are.
    alive: Arc<AtomicUsize>,
}

/// One of them, until it has ended or was dropped.
struct Ask {
    task: OwnTask,
    alive: Arc<AtomicUsize>,
    /// The worker with which it stays.
    worker: Option<Arc<Worker>>,
    /// How often it was polled where another one stays.
    spare_polls: u32,
}

impl Asks {
    /// Tells whether there are any.
    pub(crate) fn are_out(&self) -> bool {
        self.alive.load(Ordering::Relaxed) > 0
    }

    /// Sends one to the only worker, or two for each of several, less those that are there.
    pub(crate) fn send(&self, runtime: &Arc<WatchedRuntime>) {
        let workers = runtime.worker_count();
        let wanted = if workers == 1 { 1 } else { 2 * workers };
        for _ in self.alive.load(Ordering::Relaxed)..wanted {
            self.alive.fetch_add(1, Ordering::Relaxed);
            let ask =
                Ask { task: runtime.begin_task(), alive: self.alive.clone(), worker: None, spare_polls: 0 };
            runtime.handle.spawn(ask.stay());
        }
    }
}

impl Ask {
    /// It is polled again and again, behind the worker's other tasks, while these take long.
    async fn stay(mut self) {
        let clock = Clock::real();
        let mut is_queued = true;
        while self.is_here() {
            let polled = clock.now();
            match is_queued {
                true => go_to_the_end_of_the_queue().await,
                // Tasks that yield are not in the queue before the worker has polled its driver.
                false => tokio::task::yield_now().await,
            }
            is_queued = match (clock.ns_between(polled, clock.now()) >= LONG_NS, is_queued) {
                (false, false) => return,
                (is_long, _) => is_long,
            };
        }
    }

    /// Notes that the worker which polls it now is not stuck. Returns whether it stays there.
    fn is_here(&mut self) -> bool {
        let runtime = self.task.begin();
        let worker = run_here(runtime);
        if let (Some(before), Some(now)) = (&self.worker, &worker)
            && Arc::ptr_eq(before, now)
        {
            return !runtime.is_ended();
        }
        self.leave();
        let Some(worker) = worker else { return false };
        match worker.is_asked_by_one_more() {
            true => self.worker = Some(worker),
            false => self.spare_polls += 1,
        }
        self.spare_polls < SPARE_POLLS
    }

    fn leave(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.is_asked_no_more();
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.leave();
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets the worker run what waits in its queue.
async fn go_to_the_end_of_the_queue() {
    let mut has_gone = false;
    poll_fn(|context| match std::mem::replace(&mut has_gone, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
