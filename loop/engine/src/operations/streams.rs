//! Streams: what a program can do with a connection or a pipe.
//!
//! A stream reads once it has a callback. A stream keeps the loop alive while it reads or has something queued, as in
//! libuv; paused, ended or without a callback it does not. Writing is in [`write`](super::write), the time-out of one
//! on which nothing moves in [`idle`](super::idle_timeouts).

use crate::callback::Origin;
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::stream::{OnStream, Stream, StreamEvent};
use crate::key::Key;
use loopscope_probe::Kind;
use std::net::SocketAddr;

impl<S: 'static> Cx<'_, S> {
    /// Sets a stream's callback and starts to read. Replaces an earlier callback.
    #[track_caller]
    pub fn on_stream(
        &mut self,
        key: Key,
        run: impl FnMut(&mut Cx<'_, S>, Key, StreamEvent<'_>) + 'static,
    ) -> bool {
        self.on_stream_at(Origin::of(&run), key, Box::new(run))
    }

    pub(crate) fn on_stream_at(&mut self, origin: Origin, key: Key, run: OnStream<S>) -> bool {
        if self.stream(key).is_none() {
            return false;
        }
        let site = self.core.site(origin, Kind::IoRead);
        let Some(entry) = self.core.slots.get_mut(key) else { return false };
        entry.site = site;
        if let What::Stream(stream) = &mut entry.what {
            stream.run = Some(run);
            stream.has_callback = true;
        }
        self.core.reading_changed(key);
        true
    }

    /// Stops reading from a stream or datagram socket: what arrives waits in the kernel, which slows the sender of a
    /// stream down and drops datagrams. The end and errors that only reading would show are not told meanwhile. Of a
    /// listener, stops accepting: connections wait in the kernel's queue.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(None).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     cx.on_stream(server, |cx, _, event| {
    ///         if let StreamEvent::Data(_) = event {
    ///             *cx.state = Some(cx.now().as_secs());
    ///         }
    ///     });
    ///     cx.pause(server);
    ///     cx.write(client, b"hello")?;
    ///     cx.shutdown(client);
    ///     cx.after(Duration::from_secs(5), move |cx| {
    ///         cx.resume(server);
    ///     });
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), Some(5));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pause(&mut self, key: Key) -> bool {
        self.set_paused(key, true)
    }

    /// Takes back [`Cx::pause`]. What arrived meanwhile is read from the next poll on.
    pub fn resume(&mut self, key: Key) -> bool {
        self.set_paused(key, false)
    }

    fn set_paused(&mut self, key: Key, is_paused: bool) -> bool {
        if let Some(stream) = self.stream(key) {
            stream.is_paused = is_paused;
            self.core.reading_changed(key);
            return true;
        }
        self.core.pause_datagrams(key, is_paused) || self.core.pause_listener(key, is_paused)
    }

    /// Returns this side's address; `None` for a stale key or what has no internet address.
    pub fn local_addr(&self, key: Key) -> Option<SocketAddr> {
        match &self.core.slots.get(key)?.what {
            What::Listener(listener) => listener.acceptor.local_addr(),
            What::Stream(stream) => stream.transport.local_addr(),
            What::Datagram(datagram) => datagram.datagrams.local_addr(),
            _ => None,
        }
    }

    /// Returns the other side's address; `None` for a stale key, what has no internet address, or what is not
    /// connected.
    pub fn peer_addr(&self, key: Key) -> Option<SocketAddr> {
        match &self.core.slots.get(key)?.what {
            What::Stream(stream) => stream.transport.peer_addr(),
            What::Datagram(datagram) => datagram.datagrams.peer_addr(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn stream(&mut self, key: Key) -> Option<&mut Stream<S>> {
        match &mut self.core.slots.get_mut(key)?.what {
            What::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}

impl<S: 'static> Core<S> {
    /// Counts a stream anew and gives it a turn where it has something to read.
    pub(crate) fn reading_changed(&mut self, key: Key) {
        let now = self.stamp();
        let Some(entry) = self.slots.get_mut(key) else { return };
        let What::Stream(stream) = &mut entry.what else { return };
        let counts = entry.is_ref && stream.wants_data();
        match (std::mem::replace(&mut stream.is_counted, counts), counts) {
            (false, true) => self.referenced += 1,
            (true, false) => self.referenced -= 1,
            _ => {}
        }
        if stream.edges.is_readable && stream.wants_data() {
            self.sockets.list(key, &mut stream.edges, now);
        }
    }

    /// Removes a socket: no event of it will be delivered, its descriptor is closed.
    pub(crate) fn drop_socket(&mut self, key: Key) {
        if let Some(mut entry) = self.remove(key) {
            self.forget(&entry.what, entry.is_ref);
            self.deregister(&mut entry.what);
        }
    }
}
