//! How the agent sleeps while every loop is idle, and is woken by the first that is not.

use crate::eventfd::{self, EventFd};
use loopscope_probe::barrier::Barrier;
use loopscope_probe::bell::Bell;
use loopscope_probe::registry;
use std::io;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// The agent's place at the bell.
#[derive(Debug)]
pub(crate) struct Sleeper {
    eventfd: AsyncFd<EventFd>,
    bell: &'static Bell,
    barrier: Barrier,
}

impl Sleeper {
    /// Prepares for sleeping; within a runtime.
    pub(crate) fn new() -> io::Result<Sleeper> {
        // A second agent finds the ring set by the first, which is the same one.
        registry::set_ring(eventfd::ring);
        let (bell, barrier) = registry::bell();
        let eventfd = EventFd::of_process()?.watch()?;
        Ok(Sleeper { eventfd, bell, barrier })
    }

    /// Sleeps until a loop rings, but `at_most` so long, and not at all where `is_idle` is false once the bell is
    /// armed. Returns whether it slept.
    pub(crate) async fn sleep(&self, is_idle: impl FnOnce() -> bool, at_most: Duration) -> bool {
        self.bell.about_to_sleep(self.barrier);
        let must_sleep = is_idle();
        if must_sleep {
            // A ring from before the bell was armed makes this return at once, which is one look too many.
            if let Ok(Ok(mut ready)) = tokio::time::timeout(at_most, self.eventfd.readable()).await {
                ready.clear_ready();
            }
            self.eventfd.get_ref().drain();
        }
        self.bell.stay_awake();
        must_sleep
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.bell.stay_awake();
    }
}
