//! The phases of an iteration, each with what callbacks queue for it.
//!
//! ```text
//! run:  +-> pending -> idle -> prepare -> poll -> pending -> check -> close -> timers -+
//!       |              hooks   hooks                hooks                              |
//!       +------------------------------------------------------------------------------+
//!         after every callback: drain
//! ```

pub(crate) mod run;

mod check;
mod close;
mod hooks;
mod pending;
mod poll;
mod timers;

mod drain;
