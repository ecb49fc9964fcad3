//! The queue that other threads put closures into.
//!
//! Whoever puts one in counts it in the loop's [`LoopWaker`], under the queue's mutex, and wakes the loop once that
//! is released.

use crate::callback::{Origin, State};
use crate::error::LoopClosed;
use crate::loop_waker::{LoopWaker, News};
use loopscope_probe::{Clock, Ticks};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// A closure on its way to the loop.
pub(crate) struct Posted<S: State> {
    pub(crate) origin: Origin,
    pub(crate) stamp: Ticks,
    pub(crate) run: PostedCall<S>,
}

pub(crate) type PostedCall<S> = Box<dyn FnOnce(&mut <S as State>::Cx<'_>) + Send>;

/// The queue that other threads put closures into.
pub(crate) struct PostInbox<S: State> {
    /// `None` once the loop is gone.
    pub(crate) queue: Mutex<Option<VecDeque<Posted<S>>>>,
    pub(crate) waker: Arc<LoopWaker>,
    clock: Option<Clock>,
}

impl<S: State> PostInbox<S> {
    pub(crate) fn new(waker: Arc<LoopWaker>, clock: Option<Clock>) -> Arc<Self> {
        Arc::new(PostInbox { queue: Mutex::new(Some(VecDeque::new())), waker, clock })
    }

    pub(crate) fn post(&self, origin: Origin, run: PostedCall<S>) -> Result<(), LoopClosed> {
        let stamp = self.clock.as_ref().map_or(Ticks::NONE, Clock::now);
        let posted = Posted { origin, stamp, run };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = queue.as_mut() else {
            // The closure is dropped without the mutex: its destructor may post again.
            drop(queue);
            return Err(LoopClosed);
        };
        open.push_back(posted);
        self.waker.count(News::Posted);
        drop(queue);
        self.waker.wake();
        Ok(())
    }

    /// Moves everything posted so far into `batch`.
    pub(crate) fn take(&self, batch: &mut VecDeque<Posted<S>>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = queue.as_mut() {
            self.waker.taken(News::Posted, open.len());
            match batch.is_empty() {
                true => std::mem::swap(open, batch),
                false => batch.append(open),
            }
        }
    }

    /// The loop goes away: what is queued is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.waker.taken(News::Posted, queue.as_ref().map_or(0, VecDeque::len));
    }
}
