//! Numbers of this process's pages, in the names of their files.

use std::sync::atomic::{AtomicU32, Ordering};

/// Returns a number for a page of this process that none had, not below `least`.
pub(crate) fn next_number(least: u32) -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_max(least, Ordering::Relaxed);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
