//! Capturing the stack of a loop's thread without changing what the loop's system calls answer.
//!
//! A thread that sleeps is read; it is not woken. One that runs gets a signal, but never in its poll: the page's
//! [`gate`](loopscope_probe::capture_gate) sees to that. So a capture has two steps, with one barrier between them
//! for all loops that are due:
//!
//! ```text
//!   prepare   asleep in a call? read its stack: done      running? say at the gate what is wanted
//!   barrier, and a moment                                 (mod::make_barrier)
//!   send      the same busy period, and running still?    then the signal; else nothing
//! ```
//!
//! What is left is a race in calls inside callbacks: a thread that falls asleep between the last look and the signal, some
//! 10 us. Its rate is in `benches/RESULTS.md`. [`Captures::Off`] leaves none.

mod loop_capturer;
mod target;

pub(crate) use loop_capturer::{LoopCapturer, NoCapture, Prepared};
#[cfg(test)]
pub(crate) use target::target;

use loopscope_probe::raw::barrier::{self, Barrier};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the stacks of loops' threads are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Captures {
    /// A thread that sleeps is read; one that runs gets a signal (SIGURG where the program does not handle it), never while
    /// its loop polls.
    #[default]
    On,
    /// None: no signal is sent, no handler installed, and no stack read. Stalls are told without stacks, and sampled
    /// flamegraphs (`cpu`, `stalls`, `waits`) are refused.
    Off,
}

/// Of the one agent of this process. Written when one starts, read by its threads, relaxed.
static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Says what is in force for this process.
pub(crate) fn set_captures(captures: Captures) {
    IS_OFF.store(captures == Captures::Off, Ordering::Relaxed);
}

/// Returns what is in force for this process.
pub(crate) fn captures() -> Captures {
    if IS_OFF.load(Ordering::Relaxed) { Captures::Off } else { Captures::On }
}

/// Why there is no stack where captures are off.
pub(crate) const OFF: &str = "captures are off (Captures::Off, or LOOPSCOPE_CAPTURES=off)";

/// A thread that has run for so long without a break is likely to go on.
const STEADY: Duration = Duration::from_micros(200);

/// Makes the barrier that must follow [`LoopCapturer::prepare`], and returns whom it ordered, for [`LoopCapturer::send`].
/// `is_steady` waits a moment, too, so that a thread that falls asleep again and again inside its callbacks is seen to.
pub(crate) fn make_barrier(is_steady: bool) -> Barrier {
    let barrier = barrier::all_threads();
    if is_steady {
        std::thread::sleep(STEADY);
    }
    barrier
}
