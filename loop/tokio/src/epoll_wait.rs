//! Where a thread of this process sleeps, if it does so as a runtime's driver does: the kernel's word, from another thread.

/// What a thread waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpollWait {
    /// The epoll instance.
    pub descriptor: i32,
    /// For how long it waits at most, in milliseconds from its call; `None` for ever.
    pub timeout_ms: Option<u64>,
}

/// `epoll_wait` and `epoll_pwait` in the order of [`EpollWait::parse`]'s arguments: the descriptor, two others, the time.
#[cfg(target_arch = "x86_64")]
const CALLS: &[u64] = &[232, 281];
/// As above; there is only `epoll_pwait`.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const CALLS: &[u64] = &[22];
/// Not known here: such a thread is looked at often.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const CALLS: &[u64] = &[];

/// `futex`, in which a driver without I/O waits.
#[cfg(target_arch = "x86_64")]
const FUTEX: Option<u64> = Some(202);
/// As above.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const FUTEX: Option<u64> = Some(98);
/// Not known here: such a runtime has no timers, as far as is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const FUTEX: Option<u64> = None;

/// Where a thread waits that goes on by itself after a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimedWait {
    /// In the epoll instance of this descriptor.
    Epoll(i32),
    /// For the lock or condition at this address.
    Futex(u64),
}

/// Returns the line that says what this thread waits in: the call's number, six arguments, and two addresses.
fn line_of(thread: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()
}

/// Returns the number of the calling thread; `None` where the system does not tell.
pub(crate) fn own_thread() -> Option<u32> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

impl EpollWait {
    /// Returns what this thread waits in; `None` where it runs, waits elsewhere, or it is not told.
    pub(crate) fn of_thread(thread: u32) -> Option<EpollWait> {
        EpollWait::parse(&line_of(thread)?)
    }

    fn parse(line: &str) -> Option<EpollWait> {
        let mut words = line.split_ascii_whitespace();
        let call: u64 = words.next()?.parse().ok()?;
        if !CALLS.contains(&call) {
            return None;
        }
        let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        // Both are of 32 bits: what is above them is not theirs.
        let descriptor = number()? as u32 as i32;
        let (_events, _room) = (number()?, number()?);
        let timeout = number()? as u32 as i32;
        Some(EpollWait { descriptor, timeout_ms: u64::try_from(timeout).ok() })
    }
}

impl TimedWait {
    /// Returns where this thread waits for longer than nothing and not for ever; `None` where it does not, or it is not told.
    pub(crate) fn of_thread(thread: u32) -> Option<TimedWait> {
        TimedWait::parse(&line_of(thread)?)
    }

    fn parse(line: &str) -> Option<TimedWait> {
        if let Some(wait) = EpollWait::parse(line) {
            return wait.timeout_ms.filter(|ms| *ms > 0).map(|_| TimedWait::Epoll(wait.descriptor));
        }
        let (address, time) = futex(line)?;
        (time != 0).then_some(TimedWait::Futex(address))
    }
}

/// Tells whether this thread waits for a lock or a condition, for ever.
pub(crate) fn waits_for_condition(thread: u32) -> bool {
    line_of(thread).and_then(|line| futex(&line)).is_some_and(|(_, time)| time == 0)
}

/// Returns what a thread in `futex` waits at, and where its time is, 0 for none.
fn futex(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let call: u64 = words.next()?.parse().ok()?;
    let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (address, _operation, _value, time) = (number()?, number()?, number()?, number()?);
    (FUTEX == Some(call)).then_some((address, time))
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_thread_in_epoll_wait_is_read_and_that_of_others_is_not() {
        let waits = "232 0x3 0x7f1c40000b80 0x400 0xffffffffffffffff 0x0 0x0 0x7f1c481ff9d8 0x7f1c4a1260da\n";
        assert_eq!(EpollWait::parse(waits), Some(EpollWait { descriptor: 3, timeout_ms: None }));
        let timed = "281 0x9 0x7f1c40000b80 0x400 0x1f4 0x0 0x8 0x7f1c481ff9d8 0x7f1c4a1260da\n";
        assert_eq!(EpollWait::parse(timed), Some(EpollWait { descriptor: 9, timeout_ms: Some(500) }));
        for other in ["running\n", "-1 0x7ffd 0x7f1c\n", "202 0x7f 0x89 0x0 0x0 0x0 0x0 0x1 0x2\n", ""] {
            assert_eq!(EpollWait::parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_wait_that_ends_by_itself_later_is_a_timed_one() {
        for (line, wait) in [
            ("281 0x9 0x7f1c 0x400 0x1f4 0x0 0x8 0x7f1c 0x7f1c", Some(TimedWait::Epoll(9))),
            ("232 0x3 0x7f1c 0x400 0xffffffffffffffff 0x0 0x0 0x7f1c 0x7f1c", None),
            ("232 0x3 0x7f1c 0x400 0x0 0x0 0x0 0x7f1c 0x7f1c", None),
            ("202 0x7f10 0x89 0x0 0x7ffd00 0x0 0xffffffff 0x1 0x2", Some(TimedWait::Futex(0x7f10))),
            ("202 0x7f10 0x189 0x0 0x0 0x0 0xffffffff 0x1 0x2", None),
            // poll, and nanosleep.
            ("7 0x7f10 0x1 0x64 0x7ffd00 0x0 0x0 0x1 0x2", None),
            ("230 0x1 0x1 0x7f10 0x7ffd00 0x0 0x0 0x1 0x2", None),
            ("running", None),
        ] {
            assert_eq!(TimedWait::parse(line), wait, "{line}");
        }
        assert_eq!(futex("202 0x7f10 0x189 0x0 0x0 0x0 0xffffffff 0x1 0x2"), Some((0x7f10, 0)));
    }
}
