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
    /// None: no signal is sent, no handler installed, and no thread's memory read. Stalls are told without stacks, and
    /// sampled flamegraphs (`cpu`, `stalls`, `waits`) are refused.
    Off,
}

/// The variable that turns captures off, whatever the program says.
const VARIABLE: &str = "LOOPSCOPE_CAPTURES";

/// Of the one agent of this process. Written when one starts, read by its threads, relaxed.
static IS_OFF: AtomicBool = AtomicBool::new(false);

impl Captures {
    /// Returns what is in force: off where the environment says `LOOPSCOPE_CAPTURES=off`, else what the program set.
    pub(crate) fn with_environment(self) -> Captures {
        match std::env::var_os(VARIABLE) {
            Some(value) if value == "off" => Captures::Off,
            _ => self,
        }
    }
}

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
