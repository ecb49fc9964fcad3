//! Streams: what a program can do with a connection or a pipe.
//!
//! A stream reads once it has a callback. A stream keeps the loop alive while it reads or has something queued, as in
//! libuv; paused, ended or without a callback it does not. Writing is in [`outgoing`](crate::handles::outgoing), the
//! time-out of one on which nothing moves in [`idle`](crate::handles::idle).

use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::idle::Idle;
use crate::handles::outgoing::{End, Outgoing};
use crate::handles::transport::Transport;
use crate::key::Key;
use crate::queues::sockets::Edges;
use loopscope_probe::Kind;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;

/// What happened on a stream.
#[derive(Debug)]
pub enum StreamEvent<'a> {
    /// Bytes arrived: at least one, at most 64 KiB.
    Data(&'a [u8]),
    /// The other side will send nothing more. This side may still write, until it closes the key.
    End,
    /// Everything that was queued has been handed to the kernel.
    Drained,
    /// Sending or receiving failed; what was queued is lost. Where sending failed, what had arrived before may still
    /// come, and then the end or another error; where receiving failed, nothing more comes.
    Error(io::Error),
}

/// A callback for what happens on a stream.
pub(crate) type OnStream<S> = Box<dyn FnMut(&mut Cx<'_, S>, Key, StreamEvent<'_>)>;

/// A callback for the outcome of a connect.
pub(crate) type OnConnect<S> = Box<dyn FnOnce(&mut Cx<'_, S>, io::Result<Key>)>;

/// A connection, or one end of a pipe.
pub(crate) struct Stream<S: 'static> {
    pub(crate) transport: Transport,
    pub(crate) edges: Edges,
    /// Present until the connection is made or refused.
    connect: Option<OnConnect<S>>,
    /// Missing before the program gave one, and while it runs.
    pub(crate) run: Option<OnStream<S>>,
    pub(crate) outgoing: Outgoing,
    /// When bytes last moved either way, in nanoseconds of the loop's clock.
    pub(crate) moved_ns: u64,
    pub(crate) idle: Option<Box<Idle<S>>>,
    /// The idle callback has run, and nothing has moved since.
    pub(crate) is_told_idle: bool,
    has_callback: bool,
    is_paused: bool,
    /// No more data will be read: the other side ended, or the connection broke.
    pub(crate) is_ended: bool,
    /// Whether it is counted among what keeps the loop alive.
    is_counted: bool,
}

impl<S: 'static> Stream<S> {
    pub(crate) fn connected(transport: Transport) -> Self {
        let is_ended = matches!(transport, Transport::PipeOut(_));
        let mut outgoing = Outgoing::default();
        if let Transport::PipeIn(_) = transport {
            outgoing.end = End::Done;
        }
        Stream {
            transport,
            edges: Edges::of_connected(),
            connect: None,
            run: None,
            outgoing,
            moved_ns: 0,
            idle: None,
            is_told_idle: false,
            has_callback: false,
            is_paused: false,
            is_ended,
            is_counted: false,
        }
    }

    pub(crate) fn connecting(transport: Transport, run: OnConnect<S>) -> Self {
        let mut stream = Stream::connected(transport);
        stream.edges.is_writable = false;
        stream.connect = Some(run);
        stream
    }

    /// Ends this side where that was asked for and nothing is queued any more.
    pub(crate) fn end_if_asked(&mut self) {
        if self.outgoing.end == End::Asked && self.outgoing.queue.is_empty() {
            self.outgoing.end = End::Done;
            self.transport.end();
        }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.connect.is_some()
    }

    pub(crate) fn take_connect(&mut self) -> Option<OnConnect<S>> {
        self.connect.take()
    }

    /// Tells whether bytes that arrive would be read.
    pub(crate) fn wants_data(&self) -> bool {
        self.has_callback && !self.is_paused && !self.is_ended && !self.is_connecting()
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        self.is_connecting() || !self.outgoing.queue.is_empty()
    }

    /// Returns what keeps the loop alive: how many handles and how many requests.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let requests = usize::from(self.is_connecting()) + usize::from(!self.outgoing.queue.is_empty());
        (usize::from(self.is_counted), requests)
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Sets a stream's callback and starts to read. Replaces an earlier callback.
    #[track_caller]
    pub fn on_stream(
        &mut self,
        key: Key,
        run: impl FnMut(&mut Cx<'_, S>, Key, StreamEvent<'_>) + 'static,
    ) -> bool {
        self.on_stream_at(Location::caller(), key, Box::new(run))
    }

    pub(crate) fn on_stream_at(
        &mut self,
        at: &'static Location<'static>,
        key: Key,
        run: OnStream<S>,
    ) -> bool {
        if self.stream(key).is_none() {
            return false;
        }
        let site = self.core.site(at, Kind::IoRead);
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
            What::Datagram(datagram) => datagram.mailing.local_addr(),
            _ => None,
        }
    }

    /// Returns the other side's address; `None` for a stale key, what has no internet address, or what is not
    /// connected.
    pub fn peer_addr(&self, key: Key) -> Option<SocketAddr> {
        match &self.core.slots.get(key)?.what {
            What::Stream(stream) => stream.transport.peer_addr(),
            What::Datagram(datagram) => datagram.mailing.peer_addr(),
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

    /// Stops to watch a socket. An error would mean that it is not watched, which is what is wanted.
    pub(crate) fn deregister(&mut self, what: &mut What<S>) {
        self.relieve_starved();
        if let (Some(registry), Some(source)) = (self.poller.registry(), what.source()) {
            let _ = registry.deregister(source);
        }
    }
}
