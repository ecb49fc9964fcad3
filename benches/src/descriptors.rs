//! A table of descriptors of a thread's own.

/// Gives the calling thread a copy of the process's table of descriptors, so that the other threads have theirs to
/// themselves. A system call on a descriptor counts its file's users only where threads share the table.
///
/// # Panics
/// Where the kernel refuses.
pub fn use_own() {
    // SAFETY: what other threads open and close from now on is not seen by this one, and the other way round; the caller
    // uses no descriptor afterwards.
    let failed = unsafe { libc::unshare(libc::CLONE_FILES) };
    assert_eq!(failed, 0, "a thread may have a table of its own");
}
