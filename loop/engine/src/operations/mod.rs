//! What callbacks can do with handles, jobs and futures, and the turns that the phases give these.

pub(crate) mod adopt;
pub(crate) mod children;
pub(crate) mod connect;
pub(crate) mod datagrams;
pub(crate) mod idle;
mod keys;
pub(crate) mod listen;
pub(crate) mod memory_pair;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod send;
pub(crate) mod signals;
pub(crate) mod streams;
pub(crate) mod transfer;
pub(crate) mod wakes;
pub(crate) mod write;
