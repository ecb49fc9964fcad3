//! The clock that goes on while the machine is suspended: ahead of the monotonic one by all the time spent so.

/// Returns `CLOCK_BOOTTIME` in nanoseconds; 0 where the kernel has no such clock.
pub fn boot_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec for the call to fill; an unknown clock makes it fail and fill nothing.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

// Not under Miri, whose kernel has no such clock.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::Clock;

    #[test]
    fn it_is_never_behind_the_monotonic_clock() {
        let before = Clock::monotonic().now().0;
        assert!(boot_ns() >= before);
    }
}
