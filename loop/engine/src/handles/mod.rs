//! What a program registers and the operating system reports on: one file for each kind of handle.

pub(crate) mod connect;
pub(crate) mod listener;
pub(crate) mod stream;
pub(crate) mod transfer;
