//! Which task blocks a Tokio runtime, and at which line: told while it does, on stable Rust.
//!
//! ```no_run
//! # #[cfg(feature = "agent")]
//! #[tokio::main]
//! async fn main() -> Result<(), loopscope_tokio::StartError> {
//!     let _watch = loopscope_tokio::start("web")?;
//!     // The program as it was.
//!     Ok(())
//! }
//! # #[cfg(not(feature = "agent"))]
//! # fn main() {}
//! ```
//!
//! Each worker thread has a page (`web/0`), which an agent of the process reads, and so has what the workers share
//! (`web/shared`): timers and I/O, whose lag it tells, and the blocking pool. Three tiers tell more and more, each
//! useful alone:
//!
//! | | what it needs | what it tells |
//! |---|---|---|
//! | [`attach`], [`start`] | a `Handle` of a runtime that runs | stalls with their line, lag, the pool |
//! | [`build`], [`hooks`] | the `Builder` | the same to the microsecond; park times |
//! | [`probed`], [`named`], [`spawn`], [`RouteLayer`](route::RouteLayer) | the future | run times by task or route |
//!
//! # How a stall is told from a task that yields
//! A worker that is busy does not park, so its hooks say nothing; but it polls its driver every 61 polls, and Tokio
//! then adds to the worker's busy time. *Unparked, and that time does not grow*: it is stuck in one poll, or in up to
//! 61. The agent asks at each of its looks (`worker.rs`). A worker of several that has no other task polls its driver more
//! often, and Tokio does not add to the time then: one task whose polls take milliseconds and yield looks stuck.
//!
//! # What runs where
//! Pages are made and written on the workers: by a hook, or by a task of ours that visits each. Nothing is allocated,
//! locked or logged there afterwards. There is no thread of ours; what has to be asked is asked on the agent's.
//!
//! With `LOOPSCOPE=off`, and on other systems than Linux, all of it does nothing.

#![forbid(unsafe_code)]

mod activity;
mod asks;
mod attach;
mod block_on;
mod description;
mod epoll_wait;
mod hidden_polls;
mod hook_state;
mod hooks;
mod own_tasks;
mod parked_runtime;
mod pool;
mod probed;
mod queues;
mod runtime;
mod runtime_observer;
mod spawn_blocking;
mod still_worker;
mod timed_park;
mod timers;
mod worker;
mod worker_index;
mod worker_page;

#[cfg(feature = "tower")]
pub mod route;
#[cfg(feature = "agent")]
mod start;
#[cfg(tokio_unstable)]
mod unstable;
#[cfg(not(tokio_unstable))]
#[path = "unstable_absent.rs"]
mod unstable;

pub use attach::{Watch, attach};
pub use block_on::{Running, block_on, running};
pub use hooks::{Hooks, build, hooks};
pub use probed::{Probed, named, probed, spawn};
pub use spawn_blocking::spawn_blocking;
#[cfg(feature = "agent")]
pub use start::{StartError, start};

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "agent"))]
#[doc = include_str!("../README.md")]
struct Readme;
