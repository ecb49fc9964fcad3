//! The phases of an iteration, each with what callbacks queue for it.
//!
//! ```text
//! run:  +-> pending -> idle -> prepare -> poll -> pending -> check -> close -> timers -+
//!       |              hooks   hooks                hooks                              |
//!       +------------------------------------------------------------------------------+
//! ```
//!
//! After every callback the queues of ticks and microtasks are [drained](crate::drain).

pub(crate) mod run;

mod check;
mod close;
mod hooks;
mod pending;
mod poll;
mod timers;
