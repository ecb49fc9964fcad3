//! Whether stacks are captured at all.

use std::sync::atomic::{AtomicBool, Ordering};

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
