//! TCP streams: what a program can do with a connection.
//!
//! A stream reads once it has a callback. Writing never blocks: what the kernel does not take at once is queued, and
//! `Drained` tells when the queue is empty again. A stream keeps the loop alive while it reads or has something
//! queued, as in libuv; paused, ended or without a callback it does not.

use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::connect::OnConnect;
use crate::key::Key;
use crate::sockets::Edges;
use loopscope_probe::Kind;
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
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

/// Where written bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The kernel has taken all of them.
    All,
    /// This many bytes wait in the stream's queue now, these and earlier ones. [`StreamEvent::Drained`] will follow.
    Queued(usize),
}

/// A callback for what happens on a stream.
pub(crate) type OnStream<S> = Box<dyn FnMut(&mut Cx<'_, S>, Key, StreamEvent<'_>)>;

/// A connection.
pub(crate) struct Stream<S: 'static> {
    pub(crate) socket: mio::net::TcpStream,
    pub(crate) edges: Edges,
    /// Present until the connection is made or refused.
    connect: Option<OnConnect<S>>,
    /// Missing before the program gave one, and while it runs.
    pub(crate) run: Option<OnStream<S>>,
    pub(crate) queue: VecDeque<u8>,
    has_callback: bool,
    is_paused: bool,
    /// No more data will be read: the other side ended, or the connection broke.
    pub(crate) is_ended: bool,
    pub(crate) end: End,
    /// Whether it is counted among what keeps the loop alive.
    is_counted: bool,
}

/// How far this side is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// It will be ended when the queue is empty.
    Asked,
    /// It has been, or the connection broke.
    Done,
}

impl<S: 'static> Stream<S> {
    pub(crate) fn connected(socket: mio::net::TcpStream) -> Self {
        Stream {
            socket,
            edges: Edges::of_connected(),
            connect: None,
            run: None,
            queue: VecDeque::new(),
            has_callback: false,
            is_paused: false,
            is_ended: false,
            end: End::Open,
            is_counted: false,
        }
    }

    pub(crate) fn connecting(socket: mio::net::TcpStream, run: OnConnect<S>) -> Self {
        let mut stream = Stream::connected(socket);
        stream.edges.is_writable = false;
        stream.connect = Some(run);
        stream
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
        self.is_connecting() || !self.queue.is_empty()
    }

    /// Ends this side where that was asked for and nothing is queued any more.
    pub(crate) fn end_if_asked(&mut self) {
        if self.end == End::Asked && self.queue.is_empty() {
            self.end = End::Done;
            // Fails only where the connection is broken, which reading reports.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Returns what keeps the loop alive: how many handles and how many requests.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let requests = usize::from(self.is_connecting()) + usize::from(!self.queue.is_empty());
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
        let at = Location::caller();
        if self.stream(key).is_none() {
            return false;
        }
        let site = self.core.site(at, Kind::IoRead);
        let Some(entry) = self.core.slots.get_mut(key) else { return false };
        entry.site = site;
        if let What::Stream(stream) = &mut entry.what {
            stream.run = Some(Box::new(run));
            stream.has_callback = true;
        }
        self.core.reading_changed(key);
        true
    }

    /// Sends bytes: tries at once, and queues what the kernel does not take. Order is kept, nothing is lost while the
    /// connection lives. An empty slice is `Wrote::All` on an empty queue.
    ///
    /// # Errors
    /// `NotConnected` for a stale key or one that is not a stream's, `BrokenPipe` after [`Cx::shutdown`] or once the
    /// connection broke; else what the operating system says, and then the connection is broken.
    pub fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<Wrote> {
        let Some(stream) = self.stream(key) else { return Err(io::ErrorKind::NotConnected.into()) };
        if stream.end != End::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut left = bytes;
        if stream.queue.is_empty() && stream.edges.is_writable && !stream.is_connecting() {
            while !left.is_empty() {
                match io::Write::write(&mut stream.socket, left) {
                    Ok(count) => left = &left[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        stream.edges.is_writable = false;
                        break;
                    }
                    Err(error) => {
                        stream.end = End::Done;
                        return Err(error);
                    }
                }
            }
        }
        let was_empty = stream.queue.is_empty();
        stream.queue.extend(left);
        let queued = stream.queue.len();
        if was_empty && queued > 0 {
            self.core.requests += 1;
        }
        Ok(if queued == 0 { Wrote::All } else { Wrote::Queued(queued) })
    }

    /// Ends this side of the connection once everything queued is sent; the other side may still send. Returns
    /// `false` for a stale key, or where it was done already.
    pub fn shutdown(&mut self, key: Key) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        if stream.end != End::Open {
            return false;
        }
        stream.end = End::Asked;
        if !stream.is_connecting() {
            stream.end_if_asked();
        }
        true
    }

    /// Stops reading: what arrives waits in the kernel, which slows the sender down.
    pub fn pause(&mut self, key: Key) -> bool {
        self.set_paused(key, true)
    }

    /// Takes back [`Cx::pause`].
    pub fn resume(&mut self, key: Key) -> bool {
        self.set_paused(key, false)
    }

    fn set_paused(&mut self, key: Key, is_paused: bool) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        stream.is_paused = is_paused;
        self.core.reading_changed(key);
        true
    }

    /// Returns how many bytes wait to be sent; `None` for what is not a stream.
    pub fn queued_bytes(&self, key: Key) -> Option<usize> {
        match &self.core.slots.get(key)?.what {
            What::Stream(stream) => Some(stream.queue.len()),
            _ => None,
        }
    }

    /// Returns this side's address; `None` for a stale key or what is not a socket.
    pub fn local_addr(&self, key: Key) -> Option<SocketAddr> {
        match &self.core.slots.get(key)?.what {
            What::Listener(listener) => listener.socket.local_addr().ok(),
            What::Stream(stream) => stream.socket.local_addr().ok(),
            _ => None,
        }
    }

    /// Returns the other side's address; `None` for a stale key, what is not a stream, or one that is not connected.
    pub fn peer_addr(&self, key: Key) -> Option<SocketAddr> {
        match &self.core.slots.get(key)?.what {
            What::Stream(stream) => stream.socket.peer_addr().ok(),
            _ => None,
        }
    }

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
        if let Some(registry) = self.poller.registry() {
            let _ = match what {
                What::Listener(listener) => registry.deregister(&mut listener.socket),
                What::Stream(stream) => registry.deregister(&mut stream.socket),
                _ => Ok(()),
            };
        }
    }
}
