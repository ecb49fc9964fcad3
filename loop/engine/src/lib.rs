//! Node's event loop in Rust, on mio, with a probe in it that says what it is doing.
//!
//! Callbacks run in the exact order of Node.js v20: phases, timer lists, immediates, close callbacks, and after every
//! callback the nextTick queue and then the microtask queue. Each entry into user code is stamped and named by its
//! function and the place where it was registered, for about 15 ns; the page that this fills is read by an agent,
//! which this crate does not know.
//!
//! ```text
//!        +-> pending -> idle -> prepare -> poll -> check -> close -> timers -+
//!        |   deferred    hooks   hooks      |      immediates                |
//!        |                                  +- pool completions              |
//!        |                                  +- posts from other threads      |
//!        |                                  +- sockets                       |
//!        +-------------------------------------------------------------------+
//!            after every callback: all ticks, all microtasks (and futures), again while ticks are left
//! ```
//!
//! The folder `phases` is that diagram: [`run`](Mode) is one iteration, and each phase has its file. What a phase runs
//! waits in `queues` and `handles`, which know nothing of the loop; what callbacks can do with it is in `operations`.
//! Each layer calls those to its left only:
//!
//! ```text
//! callback, key, clock <- queues, handles <- core <- cx <- call, drain, tasks <- operations <- phases <- event_loop
//! ```
//!
//! The [`guide`] begins at the top: the model, what is what in Node and libuv, and how to port a server.
//!
//! # The rules for callbacks
//! - A callback gets [`Cx`]: the user's state and the loop, both mutable. No `Rc<RefCell>` is needed.
//! - It may register, close itself and others, and do both again in what it registered.
//! - What it registers is named by a [`Key`], plain data. A key of something that is gone does nothing.
//! - It should return soon: the loop does nothing else meanwhile.
//!
//! # Threads
//! A loop lives on one thread. Other threads reach it through [`RemoteHandle`]; blocking work goes to [`Cx::work`].
//!
//! # Futures
//! What takes a callback can be awaited, too: [`Cx::spawn_async`] starts a future with a [`LoopHandle`], which has the loop's
//! operations as promises and connections. They are the same callbacks on the same keys.
//!
//! # Virtual time
//! [`Builder::virtual_time`] swaps clock, poller and pool for simulated ones: tests of hours take microseconds, and
//! every run has the same order. See [`simulate`].
//!
//! # Where it leaves libuv
//! - The clock is refreshed before the poll's timeout is computed: a callback that blocked does not lengthen the wait
//!   (Node gets the same from its idle-time metrics).
//! - Timers have Node's order, list by list, not libuv's pure order of deadlines; the timers phase makes at most eight
//!   passes.
//! - Sockets are edge-triggered underneath: the loop keeps a list of sockets that have more, so that none starves.
//! - A thread that posts writes to the wake descriptor only while the loop sleeps.

#![forbid(unsafe_code)]

pub mod guide;

mod phases;

mod futures;
mod operations;

mod call;
mod drain;
mod tasks;

mod core;
mod cx;

mod handles;
mod queues;

mod lanes;
mod poller;
mod pool;
pub mod simulate;
mod threads;

mod callback;
mod clock;
mod description;
mod error;
mod function_name;
mod key;
mod loop_waker;
mod sites;

mod builder;
mod event_loop;

pub use builder::Builder;
pub use callback::PanicPolicy;
pub use cx::Cx;
pub use error::{CallbackPanicked, LoopClosed, OutOfDescriptors, WaitsForever, WorkError};
pub use event_loop::Loop;
pub use futures::{Connection, Incoming, LoopFs, LoopHandle, Promise};
pub use handles::adopt::Readiness;
pub use handles::async_handle::AsyncHandle;
pub use handles::child::Child;
pub use handles::datagram::{Datagram, DatagramEvent};
pub use handles::datagram_queue::Peer;
pub use handles::listener::Listening;
pub use handles::stream::StreamEvent;
pub use handles::write_queue::Wrote;
pub use key::Key;
pub use loopscope_probe::{Phase, WorkKind};
/// The version of mio that [`Cx::adopt`] takes sources of.
pub use mio;
pub use operations::fs::{FolderEntry, Fs};
pub use operations::options::Keepalive;
pub use operations::remote_handle::RemoteHandle;
pub use phases::run::Mode;
pub use queues::hooks::Hook;
pub use queues::tasks::Task;
/// The numbers of signals.
pub use signal_hook::consts::signal as signals;
pub use threads::SharedPool;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
