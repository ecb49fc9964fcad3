//! When V8 last collected garbage on a thread, for who reads its heap from another one: a collection moves objects.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// The collections of one isolate.
#[derive(Debug, Default)]
pub(crate) struct Collecting {
    /// V8 tells of them.
    is_told: AtomicBool,
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last one ended: `CLOCK_MONOTONIC`, nanoseconds.
    ended_at_ns: AtomicU64,
}

impl Collecting {
    /// One begins: before anything is moved.
    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // Whoever sees what is moved sees that this one has begun.
        fence(Ordering::SeqCst);
    }

    fn end(&self, now_ns: u64) {
        self.ended_at_ns.store(now_ns, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Tells whether no object has moved since this moment, until now: asked after they were read.
    pub(crate) fn has_rested_since(&self, at_ns: u64) -> bool {
        fence(Ordering::SeqCst);
        let ended = self.ended.load(Ordering::Acquire);
        let is_over = self.begun.load(Ordering::Relaxed) == ended;
        self.is_told.load(Ordering::Acquire) && is_over && self.ended_at_ns.load(Ordering::Relaxed) < at_ns
    }

    /// As [`Collecting::has_rested_since`], and where nobody tells.
    pub(crate) fn may_have_rested_since(&self, at_ns: u64) -> bool {
        !self.is_told.load(Ordering::Relaxed) || self.has_rested_since(at_ns)
    }
}

thread_local! {
    static OWN: RefCell<Option<Arc<Collecting>>> = const { RefCell::new(None) };
}

/// Returns that of this thread's isolate, which is made here.
pub(super) fn own() -> Arc<Collecting> {
    let made = || OWN.try_with(|own| Some(own.try_borrow_mut().ok()?.get_or_insert_default().clone()));
    made().ok().flatten().unwrap_or_default()
}

/// V8 tells of this thread's collections from now on, or no more.
pub(super) fn set_told(is_told: bool) {
    let own = own();
    // What was before nobody told.
    own.ended_at_ns.store(monotonic_ns(), Ordering::Relaxed);
    own.is_told.store(is_told, Ordering::Release);
}

/// One begins on this thread.
pub(super) fn begin() {
    with_own(Collecting::begin);
}

/// One has ended.
pub(super) fn end() {
    with_own(|own| own.end(monotonic_ns()));
}

fn with_own(f: impl FnOnce(&Collecting)) {
    let _ = OWN.try_with(|own| own.try_borrow().ok()?.as_deref().map(f));
}

/// Returns the time on `CLOCK_MONOTONIC`, in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_moved_where_a_collection_runs_or_ended_since() {
        let collecting = Collecting::default();
        assert!(!collecting.has_rested_since(100) && collecting.may_have_rested_since(100), "nobody tells");
        collecting.is_told.store(true, Ordering::Relaxed);
        assert!(collecting.has_rested_since(100));
        collecting.begin();
        assert!(!collecting.has_rested_since(100) && !collecting.has_rested_since(300), "it runs");
        // One within another.
        collecting.begin();
        collecting.end(220);
        assert!(!collecting.has_rested_since(300));
        collecting.end(230);
        assert!(!collecting.has_rested_since(100), "it came after that moment");
        assert!(!collecting.has_rested_since(230), "that moment was within it");
        assert!(!collecting.may_have_rested_since(230) && collecting.may_have_rested_since(231));
        assert!(collecting.has_rested_since(231));
    }
}
