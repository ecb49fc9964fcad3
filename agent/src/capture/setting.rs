//! Whether stacks are captured at all.

use loopscope_probe::switch::{self, Position};
use std::ffi::OsStr;
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

/// The variable that turns captures off, whatever the program says.
const VARIABLE: &str = "LOOPSCOPE_CAPTURES";

/// Of the one agent of this process. Written when one starts, read by its threads, relaxed.
static IS_OFF: AtomicBool = AtomicBool::new(false);

impl Captures {
    /// Returns what is in force: off where the environment says `LOOPSCOPE_CAPTURES=off` (or `0`, or `false`), else what the
    /// program set; and a line for the log where the variable means nothing.
    pub(crate) fn with_environment(self) -> (Captures, Option<String>) {
        self.with(&std::env::var_os(VARIABLE).unwrap_or_default())
    }

    fn with(self, value: &OsStr) -> (Captures, Option<String>) {
        match switch::read(value) {
            Position::Off => (Captures::Off, None),
            Position::On => (self, None),
            Position::Unknown(value) => {
                (self, Some(format!("{VARIABLE}={value} means nothing; {VARIABLE}=off turns captures off")))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_turns_captures_off_and_never_on() {
        for off in ["off", "OFF", "0", "false"] {
            assert_eq!(Captures::On.with(off.as_ref()), (Captures::Off, None), "{off}");
        }
        assert_eq!(Captures::Off.with("on".as_ref()), (Captures::Off, None));
        let (captures, line) = Captures::On.with("of".as_ref());
        assert!(captures == Captures::On && line.unwrap().starts_with("LOOPSCOPE_CAPTURES=of means nothing"));
    }
}
