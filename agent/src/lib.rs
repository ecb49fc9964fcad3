//! The agent: watches the event loops of its process on one thread, and answers about them on another.
//!
//! ```text
//!   pages of this process          loopscope-agent                        loopscope-http (feature `http`)
//!   (found by themselves)  --->  thread -> state -> watch  <-- requests --  server  ---> /metrics, /-/ready, flamegraphs
//!                                               |          --- values --->
//!                                               `--> warnings through `tracing`, incidents
//! ```
//!
//! ```no_run
//! let agent = loopscope_agent::Agent::builder().start()?;
//! println!("http://{}/metrics", agent.address().expect("it listens by default"));
//! # Ok::<(), loopscope_agent::AgentError>(())
//! ```
//!
//! The environment of the program changes what its code chose (`LOOPSCOPE_LISTEN`, `LOOPSCOPE_THRESHOLDS`, ...): see
//! [`Setting`] and [`AgentBuilder::fixed`].
//!
//! It knows no kind of loop: whatever writes a page through `loopscope-probe` is watched. It shares no lock with a
//! loop and so answers also while one is blocked, which is when the answers matter. While all loops are idle it
//! sleeps, and the first that becomes busy wakes it. A panic in it is counted and skipped.
//!
//! Inside, `capture` is below `watch`, which is below `state`, `thread` and `server`. What pages mean is computed in
//! `loopscope-report`, which knows no clock, thread, file or socket.
//!
//! Linux only: it reads `/proc` and waits on eventfds.

#![cfg_attr(not(feature = "http"), allow(dead_code, unused_imports, reason = "what only a server shows"))]

mod address_source;
mod capture;
mod environment;
mod error;
mod eventfd;
mod handle;
mod next_event;
#[cfg(feature = "http")]
mod server_error;
#[cfg(not(feature = "http"))]
#[path = "server_error_absent.rs"]
mod server_error;
mod settings;
mod sleep;
mod watch;
mod workers;

mod state;
mod thread;

#[cfg(feature = "http")]
mod sample;
#[cfg(feature = "http")]
mod server;
#[cfg(not(feature = "http"))]
#[path = "server_absent.rs"]
mod server;

mod builder;
#[cfg(feature = "http")]
mod http_api;
#[cfg(feature = "recorder")]
mod served_recorder;

pub use address_source::{AddressCall, AddressSource, AddressStack};
pub use builder::{Agent, AgentBuilder};
pub use capture::Captures;
pub use error::AgentError;
pub use loopscope_report::incident::{Frame, FrameOwner, Incident};
pub use loopscope_report::metrics::{ClassicBuckets, Compat};
pub use loopscope_report::settings::Setting;
pub use server_error::ServerError;

#[cfg(feature = "http")]
pub use loopscope_http::Listen;
pub use watch::frame_source::{FrameSource, Moment, StackCall, StackCopy};
pub use watch::incident_action::Action;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
