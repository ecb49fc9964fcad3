//! The queue that other threads put closures into.
//!
//! Whoever puts one in counts it in the loop's [`LoopWaker`], under the queue's mutex, and wakes the loop once that
//! is released.
//!
//! It is kept in parts of bounded size, and the loop takes one at a time: one buffer would be copied whenever it grows, by a
//! producer under the mutex that the loop waits for, or by the loop. A backlog of 15 million closures blocked it for 0.5 s.

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

/// Most closures in one part of the queue, and so most that run in one poll phase.
pub(crate) const PART_MAX: usize = 1_000;

/// What is queued, in the order of posting.
pub(crate) struct QueueParts<S: State> {
    /// Parts of exactly [`PART_MAX`], before those in `last`.
    full: VecDeque<VecDeque<Posted<S>>>,
    last: VecDeque<Posted<S>>,
}

impl<S: State> QueueParts<S> {
    fn new() -> Self {
        QueueParts { full: VecDeque::new(), last: VecDeque::new() }
    }

    fn push(&mut self, posted: Posted<S>) {
        if self.last.len() >= PART_MAX {
            let full = std::mem::replace(&mut self.last, VecDeque::with_capacity(PART_MAX));
            self.full.push_back(full);
        }
        self.last.push_back(posted);
    }

    /// Moves the oldest part into `batch`, which is empty.
    fn take(&mut self, batch: &mut VecDeque<Posted<S>>) {
        match self.full.pop_front() {
            Some(part) => *batch = part,
            None => std::mem::swap(&mut self.last, batch),
        }
    }

    fn len(&self) -> usize {
        self.full.len() * PART_MAX + self.last.len()
    }
}

/// The queue that other threads put closures into.
pub(crate) struct PostInbox<S: State> {
    /// `None` once the loop is gone.
    pub(crate) queue: Mutex<Option<QueueParts<S>>>,
    pub(crate) waker: Arc<LoopWaker>,
    clock: Option<Clock>,
}

impl<S: State> PostInbox<S> {
    pub(crate) fn new(waker: Arc<LoopWaker>, clock: Option<Clock>) -> Arc<Self> {
        Arc::new(PostInbox { queue: Mutex::new(Some(QueueParts::new())), waker, clock })
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
        open.push(posted);
        self.waker.count(News::Posted);
        drop(queue);
        self.waker.wake();
        Ok(())
    }

    /// Moves the oldest of what is posted into `batch`, which is empty: at most [`PART_MAX`].
    pub(crate) fn take(&self, batch: &mut VecDeque<Posted<S>>) {
        debug_assert!(batch.is_empty(), "what is in it would be before what is taken");
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = queue.as_mut() {
            open.take(batch);
            self.waker.taken(News::Posted, batch.len());
        }
    }

    /// The loop goes away: what is queued is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.waker.taken(News::Posted, queue.as_ref().map_or(0, QueueParts::len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::Origin;
    use crate::cx::Cx;

    #[test]
    fn a_backlog_is_taken_in_parts_and_never_copied_as_a_whole() {
        let inbox = PostInbox::<()>::new(Arc::new(LoopWaker::new(None)), None);
        let run = |_: &mut Cx<'_, ()>| {};
        for _ in 0..2_500 {
            inbox.post(Origin::of(&run), Box::new(run)).unwrap();
        }
        let largest = inbox.queue.lock().unwrap().as_ref().unwrap().full.iter().map(VecDeque::capacity).max();
        assert!(largest.is_some_and(|capacity| capacity < 2 * PART_MAX), "{largest:?}");
        let (mut batch, mut parts) = (VecDeque::new(), Vec::new());
        while inbox.waker.has_posted() {
            inbox.take(&mut batch);
            parts.push(batch.drain(..).count());
        }
        assert_eq!(parts, [1_000, 1_000, 500]);
    }
}
