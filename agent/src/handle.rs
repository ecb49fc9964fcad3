//! How other threads reach the agent's: by values that it shares, and by requests that it answers between two ticks.
//!
//! ```text
//!   loopscope-http: ask(closure) --> queue, eventfd --> loopscope-agent: runs it on its state --> values --> encodes, draws, sends
//! ```
//!
//! A request copies values and no more: nothing is encoded, compressed, drawn or sent on the agent's thread, and it
//! never waits for a lock that another thread holds while it does so.

use crate::eventfd::RequestWaker;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long somebody who asks waits for the agent's thread: it answers within a tick, unless it has no processor.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is run on the agent's thread, on what it has. It may panic.
pub(crate) type Request<A> = Box<dyn FnOnce(&mut A) + Send>;

/// The agent's thread did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the agent's thread did not answer within 2 s: it is not scheduled, or it panicked (see \
                     loopscope_agent_panics_total and the program's log)",
        )
    }
}

/// What the agent's thread shares with others. Written by it alone, save `is_stopped`.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Its last tick, in nanoseconds on the monotonic clock; 0 before the first.
    pub last_tick_ns: AtomicU64,
    /// Loops it watches.
    pub loops: AtomicU64,
    /// Where its processor time can be read.
    pub cpu: OnceLock<PathBuf>,
    /// It is to end. Written by the handle.
    pub is_stopped: AtomicBool,
}

/// Reaches the agent's thread, which has an `A`, from any thread.
pub(crate) struct Handle<A> {
    requests: Sender<Request<A>>,
    waker: Arc<RequestWaker>,
    pub status: Arc<Status>,
}

impl<A> Clone for Handle<A> {
    fn clone(&self) -> Self {
        let (requests, waker, status) = (self.requests.clone(), self.waker.clone(), self.status.clone());
        Handle { requests, waker, status }
    }
}

impl<A> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("status", &self.status).finish_non_exhaustive()
    }
}

impl<A: 'static> Handle<A> {
    /// Makes a handle, and the end where requests arrive.
    pub(crate) fn new(waker: Arc<RequestWaker>) -> (Handle<A>, Receiver<Request<A>>) {
        let (requests, received) = channel();
        (Handle { requests, waker, status: Arc::default() }, received)
    }

    /// Runs `request` on the agent's thread, and returns what it does.
    ///
    /// # Errors
    /// The thread has ended, is late, or `request` panicked.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut A) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (send, answer) = sync_channel(1);
        // Whoever asked may have lost patience.
        let run = move |agent: &mut A| drop(send.try_send(request(agent)));
        self.requests.send(Box::new(run)).map_err(|_| NoAnswer)?;
        self.waker.wake();
        answer.recv_timeout(PATIENCE).map_err(|_| NoAnswer)
    }

    /// Tells the thread to end.
    pub(crate) fn stop(&self) {
        self.status.is_stopped.store(true, Relaxed);
        self.waker.wake();
    }
}
