//! The one switch that turns all of loopscope off in a program: `LOOPSCOPE=off` in its environment.
//!
//! Then its loops run as before on pages that nobody sees: private memory, in no list. There is no page file, no agent and
//! no thread of ours, no listener, no signal and no handler, no recorder of metrics, and spans are no frames. What the
//! program asks of an agent's handle is answered as by one that listens nowhere.
//!
//! It is read once, at the first loop or agent: a program that wants to decide by itself sets it before.

use std::ffi::OsStr;
use std::sync::OnceLock;

/// The environment variable. `off`, `0` and `false`, in letters of either case, turn everything off; anything else does not.
pub const SWITCH_VARIABLE: &str = "LOOPSCOPE";

/// Tells whether loopscope is turned off in this process.
pub fn is_off() -> bool {
    *position() == Position::Off
}

/// Returns the variable's value where it means nothing, as a misspelt `of`: then loopscope is on.
pub fn unknown_value() -> Option<&'static str> {
    match position() {
        Position::Unknown(value) => Some(value),
        _ => None,
    }
}

/// What the value of such a variable says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// `on`, `1`, `true`, or nothing.
    On,
    /// `off`, `0` or `false`.
    Off,
    /// Anything else; the value as it is.
    Unknown(String),
}

fn position() -> &'static Position {
    static POSITION: OnceLock<Position> = OnceLock::new();
    POSITION.get_or_init(|| read(&std::env::var_os(SWITCH_VARIABLE).unwrap_or_default()))
}

/// Reads the value of a variable that turns something off, in letters of either case.
pub fn read(value: &OsStr) -> Position {
    let value = value.to_string_lossy();
    match value.trim().to_ascii_lowercase().as_str() {
        "off" | "0" | "false" => Position::Off,
        "" | "on" | "1" | "true" => Position::On,
        _ => Position::Unknown(value.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_values_turn_it_off() {
        for off in ["off", "OFF", " Off ", "0", "false", "False"] {
            assert_eq!(read(OsStr::new(off)), Position::Off, "{off}");
        }
        for on in ["", "on", "1", "true", "ON"] {
            assert_eq!(read(OsStr::new(on)), Position::On, "{on}");
        }
        for unknown in ["of", "no", "disabled", "00"] {
            assert_eq!(read(OsStr::new(unknown)), Position::Unknown(unknown.to_owned()));
        }
    }
}
