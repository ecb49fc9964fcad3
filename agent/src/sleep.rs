//! How the agent's thread waits: for a time, or, while every loop is idle, until the first of them is not.

use crate::eventfd::{self, EventFd, RequestWaker};
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::registry;
use loopscope_probe::raw::sleep_flag::SleepFlag;
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

/// How the agent's thread sleeps and is woken.
#[derive(Debug)]
pub(crate) struct Sleeper {
    loops: EventFd,
    requests: Arc<RequestWaker>,
    clock: Clock,
    sleep_flag: &'static SleepFlag,
    barrier: Barrier,
}

impl Sleeper {
    /// Prepares for sleeping, on the agent's thread.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new(requests: Arc<RequestWaker>) -> io::Result<Sleeper> {
        // A second agent finds the waker that the first one set, which is the same.
        registry::set_waker(eventfd::wake_agent);
        eventfd::be_punctual();
        let (sleep_flag, barrier) = registry::sleep_flag();
        Ok(Sleeper {
            loops: EventFd::of_process()?,
            requests,
            clock: Clock::monotonic(),
            sleep_flag,
            barrier,
        })
    }

    /// Returns the eventfd that loops write to, for others that have to wake the agent.
    pub(crate) fn loops(&self) -> EventFd {
        self.loops
    }

    /// Waits until `due`, a moment on the monotonic clock, or until a loop goes on that its observer
    /// has seen asleep; other loops do not wake the agent meanwhile. Lets `agent` answer requests.
    pub(crate) fn wait_until(&self, due: Ticks, agent: &mut impl Waiting) {
        while let Some(left) = left(due, self.clock.now()) {
            let woken = eventfd::wait(self.loops, &self.requests, left);
            if woken.by_request && !agent.answer() || woken.by_loop {
                return;
            }
        }
    }

    /// Sleeps until a loop becomes busy, or until `due`. Does not sleep if a loop is busy once the flag is raised.
    /// Lets `agent` answer as [`Sleeper::wait_until`] does.
    pub(crate) fn sleep_until(&self, due: Ticks, agent: &mut impl Waiting) {
        self.sleep_flag.about_to_sleep(self.barrier);
        if agent.is_idle() {
            while let Some(left) = left(due, self.clock.now()) {
                // A wake from before the flag was raised ends this at once, which costs one needless tick.
                let woken = eventfd::wait(self.loops, &self.requests, left);
                if woken.by_request && !agent.answer() || woken.by_loop {
                    break;
                }
            }
        }
        self.sleep_flag.stay_awake();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.sleep_flag.stay_awake();
    }
}

/// Returns how long it is from `now` to `due`; `None` where that is over.
fn left(due: Ticks, now: Ticks) -> Option<Duration> {
    due.0.checked_sub(now.0).filter(|ns| *ns > 0).map(Duration::from_nanos)
}
