//! How the agent's thread waits: for a time, or, while every loop is idle, until the first of them is not.

use crate::eventfd::{self, EventFd, RequestBell};
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::bell::Bell;
use loopscope_probe::raw::registry;
use loopscope_probe::{Clock, Ticks};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Who waits.
pub(crate) trait Waiting {
    /// Tells whether every loop is in its poll.
    fn is_idle(&self) -> bool;
    /// Answers everybody who asks. Returns false where waiting is over, because the agent is to end.
    fn answer(&mut self) -> bool;
}

/// The agent's place at the bell.
#[derive(Debug)]
pub(crate) struct Sleeper {
    loops: EventFd,
    requests: Arc<RequestBell>,
    clock: Clock,
    bell: &'static Bell,
    barrier: Barrier,
}

impl Sleeper {
    /// Prepares for sleeping, on the agent's thread.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new(requests: Arc<RequestBell>) -> io::Result<Sleeper> {
        // A second agent finds the ring set by the first, which is the same one.
        registry::set_ring(eventfd::ring);
        eventfd::be_punctual();
        let (bell, barrier) = registry::bell();
        Ok(Sleeper { loops: EventFd::of_process()?, requests, clock: Clock::monotonic(), bell, barrier })
    }

    /// Returns what loops ring, for whom else is to.
    pub(crate) fn loops(&self) -> EventFd {
        self.loops
    }

    /// Waits until `due`, a moment on the monotonic clock, or until a loop that is asleep by its observer's word goes on; others do
    /// not ring. Lets `agent` answer whenever somebody asks.
    pub(crate) fn wait_until(&self, due: Ticks, agent: &mut impl Waiting) {
        while let Some(left) = left(due, self.clock.now()) {
            let rung = eventfd::wait(self.loops, &self.requests, left);
            if rung.by_request && !agent.answer() || rung.by_loop {
                return;
            }
        }
    }

    /// Sleeps until a loop rings, but not beyond `due`, and not at all where not every loop is idle once the bell is armed.
    /// Lets `agent` answer as [`Sleeper::wait_until`] does.
    pub(crate) fn sleep_until(&self, due: Ticks, agent: &mut impl Waiting) {
        self.bell.about_to_sleep(self.barrier);
        if agent.is_idle() {
            while let Some(left) = left(due, self.clock.now()) {
                // A ring from before the bell was armed ends this at once, which is one tick too many.
                let rung = eventfd::wait(self.loops, &self.requests, left);
                if rung.by_request && !agent.answer() || rung.by_loop {
                    break;
                }
            }
        }
        self.bell.stay_awake();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.bell.stay_awake();
    }
}

/// Returns how long it is from `now` to `due`; `None` where that is over.
fn left(due: Ticks, now: Ticks) -> Option<Duration> {
    due.0.checked_sub(now.0).filter(|ns| *ns > 0).map(Duration::from_nanos)
}
