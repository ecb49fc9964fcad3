//! The agent: one thread of a process that watches its event loops and tells the world about them.
//!
//! ```text
//!   pages of this process            agent thread                             outside
//!   (found by themselves)  --->  look -> compute -> watch ---> warnings through `tracing`
//!                                          |
//!                                          +-> export -> web ---> /metrics, /-/ready, flamegraphs
//! ```
//!
//! ```no_run
//! let agent = loopscope_agent::Agent::builder().start()?;
//! println!("http://{}/metrics", agent.address().expect("it listens by default"));
//! # Ok::<(), loopscope_agent::AgentError>(())
//! ```
//!
//! It knows no kind of loop: whatever writes a page through `loopscope-probe` is watched. It shares no lock with a
//! loop and so answers also while one is blocked, which is when the answers matter. While all loops are idle it
//! sleeps, and the first that wakes rings for it. A panic in it is counted and skipped.
//!
//! Inside, `model` is below `compute`, which is below `watch`, `export` and `web`, which are below `thread`.
//! `compute` is arithmetic: it knows no clock, thread, file or socket.
//!
//! Linux only: it reads `/proc` and waits on an eventfd.

mod watch;

mod sample;
mod web;

mod capture;
mod eventfd;
mod settings;
mod sidecar;
mod sleep;
mod thread;
mod ticker;

mod builder;
mod error;

pub use builder::{Agent, AgentBuilder};
pub use capture::Captures;
pub use error::AgentError;
pub use loopscope_http::{Listen, ServerError};
pub use loopscope_report::metrics::Compat;
pub use watch::action::Action;
pub use watch::frames::FrameSource;
