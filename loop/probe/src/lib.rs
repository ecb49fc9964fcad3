//! The probe: what an event loop tells about itself, and how anybody reads it.
//!
//! A loop has a **page**: a fixed block of shared memory that only the loop's thread writes, with relaxed stores, and
//! that anybody reads, at any moment, also while the loop is blocked, and after it was killed. It holds what runs
//! *now*, *tallies* that only grow, a *recorder* of the last callbacks, and the *sites* they were registered at.
//!
//! ```text
//!   loop thread                         agent thread, another process
//!   Writer: phase, begin, end,   page   Page: now_values, snapshot,
//!   drained, park, unpark ...  ------>  records
//!                          Controller   (the agent's own few words:
//!                             <------   thresholds, its address)
//! ```
//!
//! This crate knows no loop and no agent. It depends on std, and on libc for the mapping.
//!
//! # Where to begin
//! [`Probe`] is for a loop that a program has already: two verbs around its poll, and a guard for each callback.
//! [`Writer`] is for runtimes, which know more: phases, queues, a pool.
//!
//! # Who may call what
//! - [`Writer`] is made on the loop's thread and stays there (it is not `Send`): a second writer does not compile.
//! - [`PoolWriter`] lives inside the thread pool's mutex, which makes its changing holders one writer at a time.
//! - [`registry::Controller`] is handed out once per page.
//! - [`Page`]'s methods may be called by anybody, from any thread.
//!
//! # What it costs
//! One clock read per callback (8 to 10 ns on a virtual machine) and some twenty stores to lines that stay in the
//! cache; the figures are in `benches/RESULTS.md`.

mod kind;
mod phase;
mod shared_u64;
mod sync;

#[cfg_attr(loom, allow(dead_code, reason = "only the registry asks for it, which is not in a model"))]
mod barrier;
#[cfg_attr(loom, allow(dead_code, reason = "the writer asks for it, which is not in a model"))]
mod capture_gate;
#[cfg(all(not(loom), target_os = "linux"))]
mod cgroup;
mod clock;
mod count_histogram;
mod cycle_counter;
mod histogram;
mod lag;
mod limits;
#[cfg_attr(loom, allow(dead_code, reason = "the page asks for it, which is not in a model"))]
mod observed;
#[cfg_attr(loom, allow(dead_code, reason = "the page asks for it, which is not in a model"))]
mod open_spans;
mod printable;
mod ring;
#[cfg_attr(loom, allow(dead_code, reason = "the page and the writer ask for it, which are not in a model"))]
mod site;
mod sleep_flag;

#[cfg(not(loom))]
mod agent_address;
#[cfg(not(loom))]
mod aggregator;
#[cfg(all(not(loom), target_os = "linux"))]
mod boottime;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod busy_period;
#[cfg(not(loom))]
mod control;
#[cfg(not(loom))]
pub mod description;
#[cfg(not(loom))]
mod description_names;
#[cfg(all(not(loom), target_os = "linux"))]
mod directory;
#[cfg(not(loom))]
mod drain_batch;
#[cfg(not(loom))]
mod drains;
#[cfg(all(not(loom), target_os = "linux"))]
mod environment;
#[cfg(not(loom))]
mod expect_block;
#[cfg(not(loom))]
mod expected;
#[cfg(all(not(loom), target_os = "linux"))]
mod file_limit;
#[cfg(all(not(loom), target_os = "linux"))]
mod forks;
#[cfg(not(loom))]
mod gauge_writer;
#[cfg(not(loom))]
pub mod gauges;
#[cfg(not(loom))]
mod incident_id;
#[cfg(not(loom))]
mod lag_reader;
#[cfg(all(test, not(loom)))]
mod layout_check;
#[cfg(not(loom))]
mod loop_id;
#[cfg(all(not(loom), target_os = "linux"))]
mod mapping;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod now;
#[cfg(not(loom))]
pub mod observer;
#[cfg(not(loom))]
mod page;
#[cfg(all(not(loom), target_os = "linux"))]
mod page_file_name;
#[cfg(all(not(loom), target_os = "linux"))]
mod page_reader;
#[cfg(not(loom))]
mod paths;
#[cfg(not(loom))]
mod poll_deadlines;
#[cfg(not(loom))]
mod poll_gate;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod pool_writer;
#[cfg(all(not(loom), target_os = "linux"))]
mod private_directory;
#[cfg(not(loom))]
mod probe;
#[cfg(all(not(loom), target_os = "linux"))]
mod proc;
#[cfg(not(loom))]
mod process_id;
#[doc(hidden)]
pub mod raw;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod registry;
#[cfg(all(not(loom), target_os = "linux"))]
mod runtime_directory;
#[cfg(all(test, not(loom), not(miri), target_os = "linux"))]
#[path = "scratch_tests.rs"]
mod scratch;
#[cfg(not(loom))]
mod site_registration;
#[cfg(not(loom))]
mod snapshot;
#[cfg(all(not(loom), unix))]
mod socket_file;
#[cfg(not(loom))]
pub mod spans;
#[cfg(all(not(loom), target_os = "linux"))]
mod stale_pages;
#[cfg(not(loom))]
mod switch;
#[cfg(not(loom))]
mod tags;
#[cfg(not(loom))]
mod tallies;
#[cfg(not(loom))]
mod thread;
#[cfg(not(loom))]
mod thread_end;
#[cfg(not(loom))]
mod threadless_page;
#[cfg(not(loom))]
mod vitals;
#[cfg(not(loom))]
mod work_counters;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use builder::Builder;
pub use clock::{Clock, Ticks, VirtualClock};
#[cfg(not(loom))]
pub use drains::Inside;
#[cfg(not(loom))]
pub use expect_block::{ExpectedBlock, expect_block};
#[cfg(not(loom))]
pub use gauge_writer::GaugeWriter;
pub use kind::{HandleType, Kind, Queue, WorkKind};
#[cfg(not(loom))]
pub use page::Page;
pub use phase::Phase;
#[cfg(not(loom))]
pub use pool_writer::{ObservedPool, PoolWriter};
#[cfg(not(loom))]
pub use probe::{CallbackGuard, NamedSite, Probe};
#[cfg(not(loom))]
pub use record::JobRecord;
pub use site::{Site, SiteId};
#[cfg(not(loom))]
pub use snapshot::{NowValues, Snapshot};
#[cfg(not(loom))]
pub use threadless_page::ThreadlessPage;
#[cfg(not(loom))]
pub use vitals::Vitals;
#[cfg(not(loom))]
pub use writer::{TaskTimes, Writer};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
