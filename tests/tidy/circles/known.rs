//! The circles that are left, by the edges that close them. The list only gets shorter.

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
pub const KNOWN: &[Known] = &[
    entry("agent/src/lib.rs", "", "watch", "settings"),
    entry("agent/report/src/lib.rs", "metrics", "encoder", "buckets"),
    entry("agent/report/src/lib.rs", "metrics", "view", "compat"),
    entry("agent/report/src/lib.rs", "profiles", "frame", "colour"),
    entry("agent/report/src/lib.rs", "profiles", "timeline", "trace"),
    entry("agent/host/src/lib.rs", "", "service", "thread"),
    entry("agent/host/src/lib.rs", "", "state", "service"),
    entry("agent/http/src/lib.rs", "", "guard", "secure"),
    entry("loop/probe/src/lib.rs", "", "directory", "leftover"),
    entry("loop/probe/src/lib.rs", "", "directory", "memory"),
    entry("loop/probe/src/lib.rs", "", "directory", "runtime_directory"),
];

const fn entry(root: &'static str, folder: &'static str, from: &'static str, to: &'static str) -> Known {
    Known { root, folder, from, to }
}
