//! A timer of the kernel whose descriptor others wait for, and which its owner puts off again and again: they are woken when that ceases.

use std::io;
use std::time::Duration;

/// Its descriptor becomes readable when it comes. For any thread.
#[derive(Debug)]
pub struct AlarmTimer {
    #[cfg(target_os = "linux")]
    descriptor: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl AlarmTimer {
    /// Makes one that does not come before it is set.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<AlarmTimer> {
        use std::os::fd::FromRawFd;
        // SAFETY: the call takes a number and flags, and touches no memory of ours.
        let descriptor =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nothing else owns it.
        Ok(AlarmTimer { descriptor: unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Has it come after this time, and not before, whatever was set; never where the time is 0. One system call, which does not wait.
    pub fn set(&self, after: Duration) {
        use std::os::fd::AsRawFd;
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            // As wide as the C library has it; 68 years are long enough.
            tv_sec: i32::try_from(after.as_secs()).unwrap_or(i32::MAX).into(),
            tv_nsec: libc::c_long::from(after.subsec_nanos() as i32),
        };
        let time = libc::itimerspec { it_interval: none, it_value: value };
        // SAFETY: `time` lives through the call, and the old time is not asked for.
        unsafe {
            libc::timerfd_settime(self.descriptor.as_raw_fd(), 0, &raw const time, std::ptr::null_mut())
        };
    }

    /// Returns the number of its descriptor.
    pub fn descriptor(&self) -> i32 {
        use std::os::fd::AsRawFd;
        self.descriptor.as_raw_fd()
    }
}

#[cfg(not(target_os = "linux"))]
impl AlarmTimer {
    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<AlarmTimer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is none.
    pub fn set(&self, _after: Duration) {}

    /// There is none.
    pub fn descriptor(&self) -> i32 {
        -1
    }
}

// Not under Miri, whose kernel has no such timer.
#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    /// Tells whether it comes within so many milliseconds; -1 waits until it does.
    fn comes(alarm: &AlarmTimer, at_most_ms: i32) -> bool {
        let mut polled = libc::pollfd { fd: alarm.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `polled` is one entry, which lives through the call.
        unsafe { libc::poll(&raw mut polled, 1, at_most_ms) == 1 }
    }

    #[test]
    fn it_comes_when_it_was_last_set_and_is_over_once_it_is_put_off() {
        let alarm = AlarmTimer::new().unwrap();
        assert!(!comes(&alarm, 0), "it was not set");
        alarm.set(Duration::from_nanos(1));
        assert!(comes(&alarm, -1));
        alarm.set(Duration::from_secs(3_600));
        assert!(!comes(&alarm, 0), "it was put off");
        alarm.set(Duration::from_nanos(1));
        assert!(comes(&alarm, -1));
        alarm.set(Duration::ZERO);
        assert!(!comes(&alarm, 0), "it was taken back");
    }
}
