//! What a program registers and the operating system reports on: one file for each kind of handle.
//!
//! A handle has a [`Key`](crate::Key) and a slot. Its edges put it in the list of the poll phase
//! ([`sockets`](crate::sockets)), which gives it bounded turns.

pub(crate) mod acceptor;
pub(crate) mod connect;
pub(crate) mod listener;

pub(crate) mod datagram;
pub(crate) mod mailing;

pub(crate) mod adopt;
pub(crate) mod child;
pub(crate) mod signal;
pub(crate) mod wake;

pub(crate) mod idle;
pub(crate) mod memory;
mod memory_pair;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod peer;
pub(crate) mod pipe;
pub(crate) mod stream;
pub(crate) mod transfer;
pub(crate) mod transport;
