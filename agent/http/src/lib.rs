//! The HTTP server of a process's agent and of the server of a whole host.
//!
//! ```text
//!   bind      an address or a socket file        listener   accepts, TLS         server   connections, limits, time-outs
//!   auth      who may ask for what               peer_user  whose a client is    service  what answers (agent, host)
//!   negotiate the format that a client accepts   answer     status, type, body   capture_slots  few captures at once
//! ```
//!
//! What is answered comes from whoever implements [`service::Service`]. Limits keep a careless or hostile client harmless.
//!
//! Modules that are hidden in this documentation are for the crates of this project, and change without notice.

#[doc(hidden)]
pub mod agent_socket;
#[doc(hidden)]
pub mod answer;
#[doc(hidden)]
pub mod auth;
#[doc(hidden)]
pub mod bind;
#[doc(hidden)]
pub mod capture_request;
#[doc(hidden)]
pub mod capture_slots;
#[doc(hidden)]
pub mod client;
mod error;
mod file_version;
#[doc(hidden)]
pub mod health;
#[doc(hidden)]
pub mod incidents;
#[doc(hidden)]
pub mod listener;
#[doc(hidden)]
pub mod live;
#[doc(hidden)]
pub mod negotiate;
#[doc(hidden)]
pub mod page;
#[doc(hidden)]
pub mod paths;
mod peer_user;
#[doc(hidden)]
pub mod process;
mod progress;
#[doc(hidden)]
pub mod query;
#[doc(hidden)]
#[cfg(feature = "recorder")]
pub mod recorder;
#[doc(hidden)]
#[cfg(not(feature = "recorder"))]
#[path = "recorder_absent.rs"]
pub mod recorder;
#[doc(hidden)]
pub mod runtime_thread;
#[doc(hidden)]
#[cfg(feature = "web-config")]
pub mod secure;
#[doc(hidden)]
#[cfg(not(feature = "web-config"))]
#[path = "secure_absent.rs"]
pub mod secure;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod service;
#[doc(hidden)]
pub mod thresholds;
#[doc(hidden)]
pub mod token;

pub use bind::Listen;
pub use error::ServerError;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
