//! Wake handles: what the loop and those who wake it share.

use crate::callback::{Many, State};
use crate::loop_waker::{LoopWaker, News};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Wakes a loop from any thread. Clone it freely; get one from
/// [`Cx::wake_handle`](crate::Cx::wake_handle).
#[derive(Clone, Debug)]
pub struct AsyncHandle(pub(crate) Arc<Flag>);

/// What a handle and those who wake it share.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Set by whoever wakes, cleared by the loop right before the callback: acquire and release make what the waker
    /// wrote visible to it. Stays set once the handle is closed.
    pub(crate) is_pending: AtomicBool,
    /// Wakes that found it pending. Relaxed: a count for the probe.
    pub(crate) merged: AtomicU64,
    pub(crate) waker: Arc<LoopWaker>,
}

impl AsyncHandle {
    /// Has the callback run in the loop's next poll phase, and wakes the loop if it sleeps. Does nothing where that is
    /// to happen already, and where the handle is closed or the loop gone.
    pub fn wake(&self) {
        let flag = &self.0;
        if flag.is_pending.swap(true, Ordering::AcqRel) {
            flag.merged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        flag.waker.count(News::Woken);
        flag.waker.wake();
    }
}

/// The loop's half of a wake handle.
pub(crate) struct AsyncHandleState<S: State> {
    pub(crate) flag: Arc<Flag>,
    /// Missing while it runs.
    pub(crate) run: Option<Many<S>>,
}

impl<S: State> Drop for AsyncHandleState<S> {
    /// Closed: a wake under way is taken back, and later ones find it pending for ever.
    fn drop(&mut self) {
        if self.flag.is_pending.swap(true, Ordering::AcqRel) {
            self.flag.waker.taken(News::Woken, 1);
        }
    }
}
