//! What callbacks can do with handles, jobs and futures, and the turns that the phases give these.
//!
//! A phase knows when; each file here knows what happens then. A socket's edges put it in a list, which the poll phase
//! goes through ([`sockets`]); completions, wakes, posts and signals come before and after.

mod keys;

mod sockets;

mod connect;
mod idle_timeouts;
mod listen;
mod memory_pair;
mod open;
pub(crate) mod options;
mod streams;
mod transfer;
mod write;

mod datagrams;
mod send;

mod adopt;
mod async_handles;
mod children;
mod signals;

pub(crate) mod fs;
pub(crate) mod remote_handle;
mod resolve;
mod work;
