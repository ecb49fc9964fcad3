//! Datagram sockets, and what happens on them.

use crate::callback::State;
use crate::handles::datagram_queue::{DatagramQueue, Peer};
use crate::key::Key;
use crate::queues::sockets::Edges;
use std::io;

/// What happened on a datagram socket.
#[derive(Debug)]
pub enum DatagramEvent<'a> {
    /// A datagram arrived.
    Data(Datagram<'a>),
    /// Everything that was queued has been handed to the kernel.
    Drained,
    /// Receiving or sending failed, such as `ConnectionRefused` for an earlier datagram of a connected socket. The
    /// socket goes on.
    Error(io::Error),
}

/// A datagram that arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Its bytes; none for an empty datagram.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: Peer,
    /// How many bytes it had: more than `bytes` where it was cut. On systems that do not tell, the length of `bytes`.
    pub length: usize,
}

impl Datagram<'_> {
    /// Tells whether bytes are missing at its end.
    pub fn is_truncated(&self) -> bool {
        self.length > self.bytes.len()
    }
}

/// A callback for what happens on a datagram socket.
pub(crate) type OnDatagram<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>, Key, DatagramEvent<'_>)>;

/// A datagram socket.
pub(crate) struct DatagramSocket<S: State> {
    pub(crate) datagrams: DatagramQueue,
    pub(crate) edges: Edges,
    /// Missing while it runs.
    pub(crate) run: Option<OnDatagram<S>>,
    pub(crate) bytes_max: usize,
    pub(crate) is_paused: bool,
    /// What waits to be sent is left alone for a while.
    pub(crate) is_crowded: bool,
}

impl<S: State> DatagramSocket<S> {
    pub(crate) fn wants_data(&self) -> bool {
        !self.is_paused
    }

    /// Returns what keeps the loop alive, where it is referenced: how many handles and how many requests.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (usize::from(!self.is_paused), usize::from(self.datagrams.has_queued()))
    }
}
