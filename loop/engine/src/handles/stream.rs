//! Streams, and what happens on them.

use crate::callback::State;
use crate::handles::idle_timeout::Idle;
use crate::handles::transport::Transport;
use crate::handles::write_queue::{End, WriteQueue};
use crate::key::Key;
use crate::queues::sockets::Edges;
use std::io;

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
pub(crate) type OnStream<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>, Key, StreamEvent<'_>)>;

/// A callback for the outcome of a connect.
pub(crate) type OnConnect<S> = Box<dyn FnOnce(&mut <S as State>::Cx<'_>, io::Result<Key>)>;

/// A connection, or one end of a pipe.
pub(crate) struct Stream<S: State> {
    pub(crate) transport: Transport,
    pub(crate) edges: Edges,
    /// Present until the connection is made or refused.
    connect: Option<OnConnect<S>>,
    /// Missing before the program gave one, and while it runs.
    pub(crate) run: Option<OnStream<S>>,
    pub(crate) outgoing: WriteQueue,
    /// When bytes last moved either way, in nanoseconds of the loop's clock.
    pub(crate) moved_ns: u64,
    pub(crate) idle: Option<Box<Idle<S>>>,
    /// The idle callback has run, and nothing has moved since.
    pub(crate) is_told_idle: bool,
    pub(crate) has_callback: bool,
    pub(crate) is_paused: bool,
    /// No more data will be read: the other side ended, or the connection broke.
    pub(crate) is_ended: bool,
    /// Whether it is counted among what keeps the loop alive.
    pub(crate) is_counted: bool,
}

impl<S: State> Stream<S> {
    pub(crate) fn connected(transport: Transport) -> Self {
        let is_ended = matches!(transport, Transport::PipeOut(_));
        let mut outgoing = WriteQueue::default();
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
