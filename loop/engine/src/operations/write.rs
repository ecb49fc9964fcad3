//! Writing: bytes go to the kernel at once where it takes them, and wait in the stream's own queue where it does not.
//!
//! Nothing blocks and nothing is refused, so it is the program that must stop when the other side is slow. What
//! [`Cx::write`] returns tells it when: below the high-water mark a queue is only a sign of a busy network, from the
//! mark on it grows in memory. `Drained` tells that the queue is empty again.
//!
//! # Source
//! `highWaterMark` of Node's streams, where `write` returns `false` and `'drain'` follows; `uv_try_write` of libuv.

use crate::core::What;
use crate::cx::Cx;
use crate::handles::transport::Transport;
use crate::handles::write_queue::{End, Wrote};
use crate::key::Key;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// The bytes of one call to write.
trait Bytes {
    /// Hands bytes to the kernel; returns how many it took.
    fn send(&self, transport: &mut Transport) -> io::Result<usize>;
    fn advance(&mut self, count: usize);
    fn is_empty(&self) -> bool;
    fn queue(&self, queue: &mut VecDeque<u8>);
}

impl Bytes for &[u8] {
    #[inline]
    fn send(&self, transport: &mut Transport) -> io::Result<usize> {
        transport.write(self)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        *self = &self[count..];
    }

    #[inline]
    fn is_empty(&self) -> bool {
        <[u8]>::is_empty(self)
    }

    fn queue(&self, queue: &mut VecDeque<u8>) {
        queue.extend(*self);
    }
}

impl Bytes for &mut [IoSlice<'_>] {
    fn send(&self, transport: &mut Transport) -> io::Result<usize> {
        transport.write_vectored(self)
    }

    fn advance(&mut self, count: usize) {
        IoSlice::advance_slices(self, count);
    }

    fn is_empty(&self) -> bool {
        self.iter().all(|slice| slice.is_empty())
    }

    fn queue(&self, queue: &mut VecDeque<u8>) {
        queue.reserve(self.iter().map(|slice| slice.len()).sum());
        for slice in self.iter() {
            queue.extend(slice.iter());
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Sends bytes: tries at once, and queues what the kernel does not take. Order is kept, nothing is lost while the
    /// connection lives. An empty slice is `Wrote::All` on an empty queue.
    ///
    /// # Errors
    /// `NotConnected` for a stale key or one that is not a stream's, `BrokenPipe` after [`Cx::shutdown`] or once the
    /// connection broke; else what the operating system says, and then the connection is broken.
    pub fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<Wrote> {
        self.send_or_queue(key, bytes)
    }

    /// Like [`Cx::write`] for several slices, in their order, with one system call and no copy where the kernel takes
    /// all of them. The slices are changed: what was sent is taken off them.
    ///
    /// # Errors
    /// As [`Cx::write`].
    pub fn write_vectored(&mut self, key: Key, slices: &mut [IoSlice<'_>]) -> io::Result<Wrote> {
        self.send_or_queue(key, slices)
    }

    #[inline]
    fn send_or_queue(&mut self, key: Key, mut left: impl Bytes) -> io::Result<Wrote> {
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return Err(io::ErrorKind::NotConnected.into()) };
        if stream.outgoing.end != End::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let was_empty = stream.outgoing.queue.is_empty();
        let mut is_told_idle = false;
        if was_empty && stream.edges.is_writable && !stream.is_connecting() {
            while !left.is_empty() {
                match left.send(&mut stream.transport) {
                    Ok(count) => {
                        left.advance(count);
                        stream.moved_ns = now_ns;
                        is_told_idle = stream.is_told_idle;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        stream.edges.is_writable = false;
                        break;
                    }
                    Err(error) => {
                        stream.outgoing.end = End::Done;
                        return Err(error);
                    }
                }
            }
        }
        if !left.is_empty() {
            left.queue(&mut stream.outgoing.queue);
        }
        let wrote = stream.outgoing.wrote();
        if was_empty && wrote != Wrote::All {
            self.core.requests += 1;
        }
        if is_told_idle {
            self.core.busy_again(key);
        }
        Ok(wrote)
    }

    /// Ends this side of the connection once everything queued is sent; the other side may still send (half-close).
    /// Returns `false` for a stale key, or where it was done already.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// let mut event_loop = Loop::builder(()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     cx.on_stream(server, |_, _, _| {}); // reads the end
    ///     cx.write(client, b"the last bytes")?;
    ///     cx.shutdown(client);
    ///     assert!(cx.write(client, b"more").is_err());
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&mut self, key: Key) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        if stream.outgoing.end != End::Open {
            return false;
        }
        stream.outgoing.end = End::Asked;
        if !stream.is_connecting() {
            stream.end_if_asked();
        }
        true
    }

    /// Sets from how many queued bytes on [`Cx::write`] says [`Wrote::Full`]; 64 KiB where not set. With 0 every
    /// queued byte does.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent, Wrote};
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     cx.set_high_water(client, 4 * 1024);
    ///     cx.on_stream(client, |cx, key, event| {
    ///         if let StreamEvent::Drained = event {
    ///             cx.shutdown(key); // or write on
    ///         }
    ///     });
    ///     cx.on_stream(server, |cx, key, event| match event {
    ///         StreamEvent::Data(bytes) => *cx.state += bytes.len(),
    ///         _ => _ = cx.shutdown(key),
    ///     });
    ///     // More than the other side takes at once: stop writing until `Drained`.
    ///     let wrote = cx.write(client, &[0; 1024 * 1024])?;
    ///     assert!(matches!(wrote, Wrote::Full(_)));
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 1024 * 1024);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_high_water(&mut self, key: Key, bytes: usize) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        // A queue is full at one byte at the earliest: an empty one drains no more.
        stream.outgoing.high_water = bytes.max(1);
        true
    }

    /// Returns how many bytes wait to be sent; `None` for what is neither a stream nor a datagram socket.
    pub fn queued_bytes(&self, key: Key) -> Option<usize> {
        match &self.core.slots.get(key)?.what {
            What::Stream(stream) => Some(stream.outgoing.queue.len()),
            What::Datagram(datagram) => Some(datagram.datagrams.queued_bytes()),
            _ => None,
        }
    }
}
