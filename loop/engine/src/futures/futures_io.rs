//! Connections and listeners by the traits that other libraries are written against: `AsyncRead`, `AsyncWrite`, `Stream`.
//!
//! They are the same reads and writes on the same stream. What differs comes from the traits:
//! - A read is asked for by polling, so nobody sees it given up. What comes then is kept for the next read, one piece of at
//!   most 64 KiB, and the loop reads no more; until it comes, the connection keeps the loop alive.
//! - A write takes its bytes at once, and is told of a failure by a later call. At most 64 KiB are taken that the kernel has
//!   not; `flush` waits until it has all.
//!
//! A shared reference reads and writes, too, so that two futures can have a half each. Those who wait for one half at the
//! same time are all woken when something comes; of two that wait to write, the last.

use crate::futures::connection::Connection;
use crate::futures::incoming::Incoming;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

impl<S: 'static> AsyncRead for &Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Connection::poll_read(&self, context, buffer);
        if read.is_pending() {
            self.inbox.gate.is_polled.set(true);
        }
        read
    }
}

impl<S: 'static> AsyncWrite for &Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = |count| self.write_at(self.at, bytes[..count].to_vec());
        self.unsettled.poll_write(context, bytes.len(), write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let write = |count| {
            let mut bytes = Vec::with_capacity(count);
            for slice in slices {
                bytes.extend_from_slice(&slice[..slice.len().min(count - bytes.len())]);
            }
            self.write_at(self.at, bytes)
        };
        self.unsettled.poll_write(context, wanted, write)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unsettled.poll_flush(context)
    }

    /// Ends the writing side; the other side may go on sending.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unsettled.poll_close(context, || self.shutdown_at(self.at))
    }
}

impl<S: 'static> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut &*self), context, buffer)
    }
}

impl<S: 'static> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(context, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(context)
    }
}

/// Ends when the listener's key was closed.
impl<S: 'static> Stream for Incoming<S> {
    type Item = io::Result<Connection<S>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let arrivals = &self.arrivals;
        if arrivals.gate.is_gone.get() && arrivals.queue.borrow().is_empty() {
            return Poll::Ready(None);
        }
        let accepted = self.poll_accept(context);
        if accepted.is_pending() {
            arrivals.gate.is_polled.set(true);
        }
        accepted.map(Some)
    }
}
