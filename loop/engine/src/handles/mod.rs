//! What a program registers and the operating system reports on: one file for each kind of handle.
//!
//! A handle has a [`Key`](crate::Key) and a slot. What callbacks can do with it, and its turn in the poll phase, are
//! [operations](crate::operations).

pub(crate) mod listener;

pub(crate) mod datagram;
pub(crate) mod datagram_queue;

pub(crate) mod adopt;
pub(crate) mod async_handle;
pub(crate) mod child;
pub(crate) mod signal;

pub(crate) mod idle_timeout;
pub(crate) mod memory;
pub(crate) mod stream;
pub(crate) mod transport;
pub(crate) mod write_queue;
