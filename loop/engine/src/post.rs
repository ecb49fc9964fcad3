//! Posting: how other threads hand closures to the loop.
//!
//! A closure that is posted runs in the next poll phase, in the order of posting, after the completions of pool jobs;
//! all that were posted until then run in one batch. One posted by a completion still runs in the same poll, one posted
//! by a posted closure in the next. A posted closure keeps the loop alive until it has run.
//!
//! # Source
//! `uv__async_io` in `src/unix/async.c` of libuv 1.46, where Node's own wake handle comes before the program's.

use crate::bell::{Bell, News};
use crate::cx::Cx;
use crate::error::LoopGone;
use loopscope_probe::{Clock, Kind, Life, Ticks};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// A closure on its way to the loop.
pub(crate) struct Posted<S: 'static> {
    at: &'static Location<'static>,
    stamp: Ticks,
    run: Errand<S>,
}

type Errand<S> = Box<dyn FnOnce(&mut Cx<'_, S>) + Send>;

/// The queue that other threads put closures into.
pub(crate) struct Mailbox<S: 'static> {
    /// `None` once the loop is gone.
    queue: Mutex<Option<VecDeque<Posted<S>>>>,
    bell: Arc<Bell>,
    clock: Option<Clock>,
}

impl<S: 'static> Mailbox<S> {
    pub(crate) fn new(bell: Arc<Bell>, clock: Option<Clock>) -> Arc<Self> {
        Arc::new(Mailbox { queue: Mutex::new(Some(VecDeque::new())), bell, clock })
    }

    pub(crate) fn post(&self, at: &'static Location<'static>, run: Errand<S>) -> Result<(), LoopGone> {
        let stamp = self.clock.as_ref().map_or(Ticks::NONE, Clock::now);
        let posted = Posted { at, stamp, run };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = queue.as_mut() else {
            // The closure is dropped without the mutex: its destructor may post again.
            drop(queue);
            return Err(LoopGone);
        };
        open.push_back(posted);
        self.bell.count(News::Posted);
        drop(queue);
        self.bell.ring();
        Ok(())
    }

    /// Moves everything posted so far into `batch`.
    fn take(&self, batch: &mut VecDeque<Posted<S>>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = queue.as_mut() {
            self.bell.taken(News::Posted, open.len());
            match batch.is_empty() {
                true => std::mem::swap(open, batch),
                false => batch.append(open),
            }
        }
    }

    /// The loop goes away: what is queued is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.bell.taken(News::Posted, queue.as_ref().map_or(0, VecDeque::len));
    }
}

/// Hands closures to a loop from any thread. Clone it freely.
pub struct Post<S: 'static = ()> {
    mailbox: Arc<Mailbox<S>>,
}

impl<S: 'static> Post<S> {
    pub(crate) fn new(mailbox: Arc<Mailbox<S>>) -> Self {
        Post { mailbox }
    }

    /// Runs a closure on the loop's thread, in its next poll phase; wakes the loop if it sleeps. It keeps the loop
    /// alive until it has run. What is posted while no [`run`](crate::Loop::run) is under way waits for the next.
    ///
    /// # Errors
    /// [`LoopGone`]: the loop was dropped; the closure is dropped too.
    #[track_caller]
    pub fn post(&self, run: impl FnOnce(&mut Cx<'_, S>) + Send + 'static) -> Result<(), LoopGone> {
        self.mailbox.post(Location::caller(), Box::new(run))
    }
}

impl<S: 'static> Clone for Post<S> {
    fn clone(&self) -> Self {
        Post { mailbox: self.mailbox.clone() }
    }
}

impl<S: 'static> fmt::Debug for Post<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Post").field("bell", &self.mailbox.bell).finish_non_exhaustive()
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Returns a handle for posting to this loop from other threads.
    pub fn post_handle(&self) -> Post<S> {
        Post::new(self.core.mailbox.clone())
    }

    /// Runs what was posted until now.
    #[inline]
    pub(crate) fn run_posted(&mut self) {
        if self.core.bell.has_posted() || !self.core.posted.is_empty() {
            self.run_batch();
        }
    }

    #[inline(never)]
    fn run_batch(&mut self) {
        if self.core.bell.has_posted() {
            let core = &mut *self.core;
            core.mailbox.take(&mut core.posted);
            if let Some(probe) = &mut core.probe {
                probe.coalesced(core.posted.len().saturating_sub(1) as u64);
            }
        }
        let mut left = self.core.posted.len();
        while left > 0
            && self.goes_on()
            && let Some(Posted { at, stamp, run }) = self.core.posted.pop_front()
        {
            left -= 1;
            let site = self.core.site(at, Kind::Async);
            self.enter(Kind::Async, site, Life::ready_at(stamp), run);
            self.drain();
        }
    }
}
