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
    entry("loop/engine/src/lib.rs", "", "call", "core"),
    entry("loop/engine/src/lib.rs", "", "call", "cx"),
    entry("loop/engine/src/lib.rs", "", "core", "check"),
    entry("loop/engine/src/lib.rs", "", "core", "close"),
    entry("loop/engine/src/lib.rs", "", "core", "handles"),
    entry("loop/engine/src/lib.rs", "", "core", "hooks"),
    entry("loop/engine/src/lib.rs", "", "core", "microtask"),
    entry("loop/engine/src/lib.rs", "", "core", "pending"),
    entry("loop/engine/src/lib.rs", "", "core", "pool"),
    entry("loop/engine/src/lib.rs", "", "core", "post"),
    entry("loop/engine/src/lib.rs", "", "core", "simulate"),
    entry("loop/engine/src/lib.rs", "", "core", "sockets"),
    entry("loop/engine/src/lib.rs", "", "core", "timers"),
    entry("loop/engine/src/lib.rs", "", "poll", "core"),
    entry("loop/engine/src/lib.rs", "", "poll", "cx"),
    entry("loop/engine/src/lib.rs", "twins", "promise", "local"),
];

const fn entry(root: &'static str, folder: &'static str, from: &'static str, to: &'static str) -> Known {
    Known { root, folder, from, to }
}
