//! Writes whose outcome nobody was told yet: what stands between `AsyncWrite`, which takes bytes at once, and a connection,
//! which answers later.
//!
//! Bytes that are taken are on their way, in the order of the calls. The promise of the last call tells of all before it,
//! too, so it is the only one that is kept; while it is not resolved no more than [`BYTES_MAX`] bytes are taken.

#![cfg_attr(
    not(feature = "futures-io"),
    allow(dead_code, reason = "only `AsyncWrite` takes bytes without an answer")
)]

use crate::futures::promise::Promise;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// As a stream's high-water mark: from so many bytes on a writer waits until all are with the kernel.
const BYTES_MAX: usize = 64 << 10;

type WriteOutcome<S> = Promise<io::Result<()>, S>;

/// The writes of one connection.
pub(crate) struct Unsettled<S: 'static> {
    last: Cell<Option<WriteOutcome<S>>>,
    /// How many bytes were taken since all were known to be with the kernel.
    bytes: Cell<usize>,
    is_ended: Cell<bool>,
    end: Cell<Option<WriteOutcome<S>>>,
}

impl<S: 'static> Unsettled<S> {
    pub(crate) fn new() -> Self {
        let (bytes, is_ended) = (Cell::new(0), Cell::new(false));
        Unsettled { last: Cell::new(None), bytes, is_ended, end: Cell::new(None) }
    }

    /// Takes as many of `wanted` bytes as there is room for, and has `write` send those.
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        wanted: usize,
        write: impl FnOnce(usize) -> WriteOutcome<S>,
    ) -> Poll<io::Result<usize>> {
        if self.is_ended.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(Err(error)) = self.poll_flush(context) {
            return Poll::Ready(Err(error));
        }
        let count = wanted.min(BYTES_MAX - self.bytes.get());
        if count == 0 && wanted > 0 {
            return Poll::Pending;
        }
        if count > 0 {
            self.bytes.set(self.bytes.get() + count);
            self.last.set(Some(write(count)));
        }
        Poll::Ready(Ok(count))
    }

    /// Waits until all bytes that were taken are with the kernel.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = poll_kept(&self.last, context);
        if outcome.is_ready() {
            self.bytes.set(0);
        }
        outcome
    }

    /// Has `end` end the writing side once all is with the kernel, and waits for that.
    pub(crate) fn poll_close(
        &self,
        context: &mut Context<'_>,
        end: impl FnOnce() -> WriteOutcome<S>,
    ) -> Poll<io::Result<()>> {
        match self.poll_flush(context) {
            Poll::Ready(Ok(())) => {}
            unfinished => return unfinished,
        }
        if !self.is_ended.replace(true) {
            self.end.set(Some(end()));
        }
        poll_kept(&self.end, context)
    }
}

/// Polls a promise, and keeps it while it is not resolved. Where there is none nothing is waited for.
fn poll_kept<S: 'static>(
    kept: &Cell<Option<WriteOutcome<S>>>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let Some(mut promise) = kept.take() else { return Poll::Ready(Ok(())) };
    let outcome = Pin::new(&mut promise).poll(context);
    if outcome.is_pending() {
        kept.set(Some(promise));
    }
    outcome
}
