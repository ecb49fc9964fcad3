//! What times the agent's ticks: a timerfd of its own, set anew before each wait.
//!
//! The runtime's timers would cost twice as much: starting one that is due before all others writes to the runtime's
//! own wake-up descriptor, so each tick takes two more system calls. They are also rounded to milliseconds.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A one-shot timer of the calling thread's runtime.
#[derive(Debug)]
pub(crate) struct Ticker {
    timer: AsyncFd<OwnedFd>,
}

impl Ticker {
    /// Makes the timer; within a runtime.
    pub(crate) fn new() -> io::Result<Ticker> {
        // SAFETY: timerfd_create takes two numbers and touches no memory of ours.
        let descriptor =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned a new descriptor, which nothing else owns.
        let timer = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: an `OwnedFd` returns the same descriptor always, and closes it only when dropped, which is after it
        // was deregistered.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Ticker { timer })
    }

    /// Waits so long; at least a nanosecond, because zero would disarm the timer.
    pub(crate) async fn wait(&self, delay: Duration) {
        let delay = delay.max(Duration::from_nanos(1));
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: delay.as_secs() as libc::time_t,
                tv_nsec: libc::c_long::from(delay.subsec_nanos() as i32),
            },
        };
        // SAFETY: `spec` is a live itimerspec with a valid time; no old value is asked for.
        let failed =
            unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()) } != 0;
        if failed {
            // Cannot happen with a valid time and descriptor; a late tick is better than none.
            tokio::time::sleep(delay).await;
            return;
        }
        // The descriptor is registered for edges: each expiry is one, whether or not the last was read.
        if let Ok(mut ready) = self.timer.readable().await {
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Clock;

    #[test]
    fn waits_last_as_long_as_they_should_again_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ticker, clock) = (Ticker::new().unwrap(), Clock::monotonic());
            for delay_us in [1, 300, 2_000, 700] {
                let start = clock.now();
                ticker.wait(Duration::from_micros(delay_us)).await;
                assert!(clock.now().since(start) >= delay_us * 1_000, "{delay_us} us");
            }
        });
    }
}
