//! Circles that are known and not mended yet, by the edges that close them: none.

/// An edge that may close circles until it is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// The path of the target's root.
    pub root: &'static str,
    /// The module whose parts these are, from the crate's root; empty for the root itself.
    pub folder: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

/// One entry for each edge. One that closes no circle any more is a fault.
pub const KNOWN: &[Known] = &[];
