//! Opening a file so that no forked child has it without knowing: between two forks of this process.
//!
//! Another thread may fork between the call that opens a file and the store that notes its descriptor; the child then has
//! the file for as long as it lives. So forks are counted as they begin and end, and a file that was opened while one was
//! under way is closed and opened again, before anything, such as a lock, depends on it. Nobody waits for anybody in a
//! fork: a lock there could be waited for by who holds one of the host's.
//!
//! ```text
//!   opener                              forking thread
//!   ENDED == BEGUN?                     BEGUN + 1
//!   open, note the descriptor           fork: the child gets descriptors and memory
//!   BEGUN as before?                    ENDED + 1
//! ```
//!
//! Either the opener sees the fork begin, or the fork begins after the descriptor was noted, and the child's copy of the
//! memory has it: store and load on both sides, so all of it is sequentially consistent.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Forks that have begun. Written by forking threads, read by those who open.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Those of them that have ended. Written as above.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// So often is a fork waited for, or the file opened again: some 10 ms. Then it is as if there were no other thread: the
/// page is better seen than not, and a child may have its lock.
const TRIES: u32 = 10_000;

/// Before a fork, on the thread that makes it.
pub(crate) fn begin() {
    BEGUN.fetch_add(1, Ordering::SeqCst);
}

/// After it, in the parent.
pub(crate) fn end() {
    ENDED.fetch_add(1, Ordering::SeqCst);
}

/// After it, in the child, whose only thread is not forking.
pub(crate) fn forget() {
    ENDED.store(BEGUN.load(Ordering::SeqCst), Ordering::SeqCst);
}

/// Opens a file that the child's fork handler knows of, because `note` has told it. `forget` closes one that a child may
/// have without that. A fork within `open` itself counts, too.
pub(crate) fn open_between(
    open: impl Fn() -> io::Result<File>,
    note: impl Fn(&File),
    forget: impl Fn(File),
) -> io::Result<File> {
    for _ in 0..TRIES {
        // In this order: what ends in between makes the two differ, and not agree.
        let ended = ENDED.load(Ordering::SeqCst);
        let begun = BEGUN.load(Ordering::SeqCst);
        if ended != begun {
            std::thread::yield_now();
            continue;
        }
        let file = open()?;
        note(&file);
        if BEGUN.load(Ordering::SeqCst) == begun {
            return Ok(file);
        }
        forget(file);
    }
    let file = open()?;
    note(&file);
    Ok(file)
}
