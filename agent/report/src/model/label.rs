//! The label values of loops: bounded in number.

use std::collections::HashSet;

/// At most this many loops and runtimes of a process have series of their own; further ones are reported together.
pub const LOOPS_MAX: usize = 64;

pub use loopscope_probe::raw::loop_id::OTHER;

/// Returns whether there is a label left where the series of a process have the labels `taken`.
pub fn has_room<'a>(taken: impl Iterator<Item = &'a str>) -> bool {
    taken.filter(|label| *label != OTHER).collect::<HashSet<_>>().len() < LOOPS_MAX
}
