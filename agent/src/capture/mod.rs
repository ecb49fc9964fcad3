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
mod setting;
mod target;

pub(crate) use loop_capturer::{LoopCapturer, NoCapture, Prepared};
pub use setting::Captures;
pub(crate) use setting::{OFF, captures, set_captures};

use loopscope_probe::raw::barrier::{self, Barrier};
use std::time::Duration;

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
