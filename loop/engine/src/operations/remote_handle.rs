//! Posting: how other threads hand closures to the loop.
//!
//! A closure that is posted runs in the next poll phase, in the order of posting, after the completions of pool jobs;
//! what was posted until then runs in one batch, at most 1,000 of them: a producer that is faster than the loop does
//! not keep it from its sockets and timers; the rest runs in the next polls, which do not wait. One posted by a
//! completion still runs in the same poll, one posted by a posted closure in the next. A posted closure keeps the
//! loop alive until it has run.
//!
//! # Source
//! `uv__async_io` in `src/unix/async.c` of libuv 1.46, where Node's own wake handle comes before the program's. The
//! bound is that of Node's thread-safe functions (`kMaxIterationCount` in `src/node_api.cc`).

use crate::callback::Origin;
use crate::core::Core;
use crate::cx::Cx;
use crate::error::LoopClosed;
use crate::queues::inbox::{PART_MAX, PostInbox, Posted};
use loopscope_probe::{Kind, TaskTimes};
use std::fmt;
use std::sync::Arc;

/// Hands closures to a loop from any thread. Clone it freely.
pub struct RemoteHandle<S: 'static = ()> {
    mailbox: Arc<PostInbox<S>>,
}

impl<S: 'static> RemoteHandle<S> {
    pub(crate) fn new(mailbox: Arc<PostInbox<S>>) -> Self {
        RemoteHandle { mailbox }
    }

    /// Runs a closure on the loop's thread, in its next poll phase; wakes the loop if it sleeps. It keeps the loop
    /// alive until it has run. What is posted while no [`run`](crate::Loop::run) is under way waits for the next.
    ///
    /// # Errors
    /// [`LoopClosed`]: the loop was dropped; the closure is dropped too.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).build()?;
    /// let post = event_loop.post_handle();
    /// let thread = std::thread::spawn(move || {
    ///     post.post(|cx| {
    ///         *cx.state = 7;
    ///         cx.stop();
    ///     })
    /// });
    /// // What is posted keeps no loop alive: here, a timer does.
    /// event_loop.main(|cx| cx.after(Duration::from_secs(60), |_| {}));
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!((thread.join().unwrap(), event_loop.into_state()), (Ok(()), 7));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn post(&self, run: impl FnOnce(&mut Cx<'_, S>) + Send + 'static) -> Result<(), LoopClosed> {
        self.mailbox.post(Origin::of(&run), Box::new(run))
    }
}

impl<S: 'static> Clone for RemoteHandle<S> {
    fn clone(&self) -> Self {
        RemoteHandle { mailbox: self.mailbox.clone() }
    }
}

impl<S: 'static> fmt::Debug for RemoteHandle<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RemoteHandle").field("waker", &self.mailbox.waker).finish_non_exhaustive()
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Returns a handle for posting to this loop from other threads.
    pub fn post_handle(&self) -> RemoteHandle<S> {
        RemoteHandle::new(self.core.mailbox.clone())
    }

    /// Runs what was posted until now.
    #[inline]
    pub(crate) fn run_posted(&mut self) {
        if self.core.waker.has_posted() || !self.core.posted.is_empty() {
            self.run_batch();
        }
    }

    #[inline(never)]
    fn run_batch(&mut self) {
        // What is posted from here on waits for the next poll.
        let there = self.core.posted.len().saturating_add(self.core.waker.posted());
        let mut left = there.min(PART_MAX);
        while left > 0
            && self.goes_on()
            && let Some(Posted { origin, stamp, run }) = self.core.next_posted()
        {
            left -= 1;
            let site = self.core.site(origin, Kind::Async);
            self.enter(Kind::Async, site, TaskTimes::ready_at(stamp), run);
            self.drain();
        }
    }
}

impl<S: 'static> Core<S> {
    /// Takes the oldest closure that was posted.
    #[inline]
    fn next_posted(&mut self) -> Option<Posted<S>> {
        if self.posted.is_empty() && self.waker.has_posted() {
            self.mailbox.take(&mut self.posted);
            if let Some(probe) = &mut self.probe {
                probe.coalesced(self.posted.len().saturating_sub(1) as u64);
            }
        }
        self.posted.pop_front()
    }
}
