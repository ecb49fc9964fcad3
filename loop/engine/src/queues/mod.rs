//! What a loop has to run: the data of each phase, without the phase that runs it.
//!
//! Nothing here knows the loop. The phases and operations above take from these and put into them.

pub(crate) mod timer_lists;
pub(crate) mod timers;
pub(crate) mod woken;

pub(crate) mod deferred;
pub(crate) mod hooks;
pub(crate) mod immediates;

pub(crate) mod commands;
pub(crate) mod durations;
pub(crate) mod microtasks;
pub(crate) mod tasks;

pub(crate) mod inbox;
pub(crate) mod sockets;
