//! What a connection does, and until when it may: a head that comes in, an answer that is made, one that is sent, or nothing.
//!
//! ```text
//!   (new) Head --request--> Answering --answer--> Sending --flushed--> Idle --first byte--> Head
//! ```
//!
//! The HTTP library has one time-out for a head and for the silence before it. A head has to come fast, and a scraper asks once a
//! minute on a connection that it keeps, so the bytes are followed here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Head,
    Answering,
    Sending,
    Idle,
}

/// How long each may take.
pub(crate) trait Limits: Send + Sync {
    /// Returns it, as of now.
    fn limit(&self, step: Step) -> Duration;
}

/// Follows a connection. Clones are of the same one.
#[derive(Clone)]
pub(crate) struct Progress {
    shared: Arc<ConnectionState>,
    limits: Arc<dyn Limits>,
}

/// One connection. Its task and its requests share it.
struct ConnectionState {
    /// When it ends, whatever it is doing; and what it is doing.
    state: Mutex<(Instant, Step)>,
    /// Told when that changes.
    changed: Notify,
}

impl Progress {
    pub(crate) fn new(limits: Arc<dyn Limits>) -> Progress {
        let state = Mutex::new((Instant::now() + limits.limit(Step::Head), Step::Head));
        Progress { shared: Arc::new(ConnectionState { state, changed: Notify::new() }), limits }
    }

    /// The connection begins to do something else.
    pub(crate) fn enter(&self, step: Step) {
        *self.state() = (Instant::now() + self.limits.limit(step), step);
        self.shared.changed.notify_one();
    }

    fn is(&self, step: Step) -> bool {
        self.state().1 == step
    }

    /// Returns when it has taken too long over what it does.
    pub(crate) async fn too_late(&self) {
        loop {
            let (until, _) = *self.state();
            tokio::select! {
                () = sleep_until(until) => if self.state().0 <= until { return },
                () = self.shared.changed.notified() => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, (Instant, Step)> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose bytes are followed.
pub(crate) struct Followed<S> {
    pub stream: S,
    pub progress: Progress,
}

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before && self.progress.is(Step::Idle) {
            self.progress.enter(Step::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // The library flushes when it has written all that it has.
        if flushed.is_ready() && self.progress.is(Step::Sending) {
            self.progress.enter(Step::Idle);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
