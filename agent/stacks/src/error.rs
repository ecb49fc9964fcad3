//! What can be in the way of a capture, each with its remedy.

use std::{fmt, io};

/// Why there is no sample.
#[derive(Debug)]
pub enum CaptureError {
    /// Captures do not work in this process, for the reason given; they will not later either.
    Unavailable(String),
    /// Whether captures work is not known yet, for the reason given: they are tested again later.
    Untested(String),
    /// The user has as many signals queued as `RLIMIT_SIGPENDING` permits; there is room again later. Only for real-time
    /// signals.
    QueueFull,
    /// The thread's alternate signal stack is too small for a signal on this processor.
    SmallAlternateStack {
        /// Its size in bytes.
        bytes: usize,
        /// What is needed, in bytes.
        needed_bytes: usize,
    },
    /// As many captures as there are slots (64) are attached or in flight already.
    NoSlot,
    /// The thread has ended.
    ThreadGone,
    /// The thread has not taken the signal of an earlier capture yet.
    InFlight,
    /// The thread blocks the signal.
    SignalBlocked,
    /// The thread did not take the signal in time. It still may, and [`Capturer::take`](crate::Capturer::take) then has
    /// the sample.
    NotDelivered,
    /// The program has put another handler in the place of ours.
    HandlerReplaced,
    /// The kernel does not tell what is needed to capture the thread without harm.
    Unreadable(SleepingError),
    /// The kernel refused.
    System(io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Unavailable(why) => write!(f, "stacks cannot be captured in this process: {why}"),
            CaptureError::Untested(why) => {
                write!(f, "it is not known yet whether stacks can be captured; testing again: {why}")
            }
            CaptureError::QueueFull => write!(
                f,
                "this user's limit of queued signals is reached: raise RLIMIT_SIGPENDING (ulimit -i); trying again"
            ),
            CaptureError::SmallAlternateStack { bytes, needed_bytes } => write!(
                f,
                "the thread's alternate signal stack has {bytes} bytes, but a signal on this CPU needs \
                 {needed_bytes}: give sigaltstack at least getauxval(AT_MINSIGSTKSZ) plus a few KiB"
            ),
            CaptureError::NoSlot => {
                write!(f, "all 64 capture slots are in use: drop Capturers that are no longer needed")
            }
            CaptureError::ThreadGone => write!(f, "the thread has ended"),
            CaptureError::InFlight => {
                write!(
                    f,
                    "the signal of the last capture is still pending: the thread blocks it, or is in \
                     uninterruptible sleep; take the sample when it arrives"
                )
            }
            CaptureError::SignalBlocked => write!(
                f,
                "the thread blocks the capture signal (SigBlk in /proc/self/task/TID/status): unblock it"
            ),
            CaptureError::NotDelivered => {
                write!(
                    f,
                    "the thread did not handle the signal in time: it blocks it (SigBlk in \
                     /proc/self/task/TID/status), is in uninterruptible sleep, or is stopped"
                )
            }
            CaptureError::HandlerReplaced => {
                write!(
                    f,
                    "the program has replaced the handler of the capture signal: install the program's handler \
                     before the first capture, and captures use another signal"
                )
            }
            CaptureError::Unreadable(error) => write!(f, "{error}"),
            CaptureError::System(error) => write!(f, "the kernel refused to signal the thread: {error}"),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CaptureError::System(error) => Some(error),
            CaptureError::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// Why the stack of a sleeping thread could not be read.
#[derive(Debug)]
pub enum SleepingError {
    /// The thread runs, or is ready to run: a signal can reach it without waking it from anything.
    NotAsleep,
    /// The thread woke while it was read, so what was copied is worth nothing.
    Woke,
    /// The thread has ended.
    ThreadGone,
    /// This is a forked child, and the thread is its parent's.
    Forked,
    /// The kernel does not show where the thread sleeps, or its stack is not mapped any more.
    NotReadable(io::Error),
}

impl fmt::Display for SleepingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SleepingError::NotAsleep => {
                write!(f, "the thread is running: only sleeping threads are read")
            }
            SleepingError::Woke => write!(f, "the thread woke while its stack was read"),
            SleepingError::ThreadGone => write!(f, "the thread has ended"),
            SleepingError::Forked => {
                write!(f, "the stack cannot be read after a fork: the thread is the parent's")
            }
            SleepingError::NotReadable(error) => {
                write!(
                    f,
                    "the stack of the sleeping thread cannot be read ({error}): does the kernel show \
                     /proc/self/task/TID/syscall?"
                )
            }
        }
    }
}

impl std::error::Error for SleepingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SleepingError::NotReadable(error) => Some(error),
            _ => None,
        }
    }
}
