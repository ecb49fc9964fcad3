//! A whole host in one process: every page of the runtime directory, served as one.
//!
//! ```text
//!   page files --> LoopRegistry (found, followed, kept for a while after the end)
//!                    |-- vitals, ten times a second --> utilization, stalls by cause
//!                    |-- whole pages, when asked -----> /metrics, the live page, incidents of the dead
//!   agents  <-------------------------------------------- captures and incidents, forwarded
//! ```
//!
//! It reads what the loops write and their agents' addresses, and writes nothing: a watched process does not notice it,
//! and needs no agent to be seen. What only an agent has (stacks, incidents with them) is asked of it over HTTP.
//!
//! Pages are input from strangers: a file of another version, cut off, damaged, or no page at all is passed over, said
//! once and counted, and looked at again later; so is one that another user wrote in the name of a process. Everything is
//! bounded: loops by the limit of open files, series by the page's ceiling, answers of agents by their size and time.
//!
//! **The dead.** When a process or a loop ends, its counters stay on the page for [`KEEP`], so that a scraper sees the
//! last of them, and then leave; what a loop only *has* (a stall, handles, waiting jobs) leaves at once. Where a
//! new loop takes the name, the old one leaves for it. Loops without a label of their own are one sum, which keeps what
//! ended ones counted. What a killed process was in the middle of is an incident for as long as its page is kept (a day
//! at most).

mod followed_loop;
mod loop_registry;
mod page_ownership;
mod pattern;
mod skipped_page;
mod state;

mod access;
mod builder;
mod forward;
mod incidents;
mod live;
mod log;
mod one_incident;
mod paths;
mod service;
mod several_agents;
mod targets;
mod task_context;
mod thread;

pub use builder::{Host, HostBuilder, KEEP, LISTEN};
pub use loopscope_report::metrics::ClassicBuckets;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
