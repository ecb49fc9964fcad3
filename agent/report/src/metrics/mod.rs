//! What leaves the agent as numbers: the catalogue of metrics, the encoders, and the pages written with them.
//!
//! ```text
//!   views --> families (each written once) --> sheet (ceiling) --> encoder: text, OpenMetrics, protobuf
//!   host's recorder --> its text, read -----------^
//! ```

pub mod catalog;
#[doc(hidden)]
pub mod loop_metrics;

pub(crate) mod agent_families;
#[doc(hidden)]
pub mod classic_buckets;
pub(crate) mod compat;
#[doc(hidden)]
pub mod compat_set;
pub(crate) mod host_families;
pub(crate) mod loop_families;
#[doc(hidden)]
pub mod loop_watch;
pub mod merged;
pub(crate) mod metrics_page;
#[doc(hidden)]
pub mod render;
pub(crate) mod runtime_families;
#[doc(hidden)]
pub mod self_metrics;
#[doc(hidden)]
pub mod sums;
pub(crate) mod worker_families;

pub(crate) mod program_families;

pub(crate) mod buckets;
pub(crate) mod encoder;
#[doc(hidden)]
pub mod format;
pub(crate) mod number;
pub(crate) mod protobuf;
pub(crate) mod text;
pub(crate) mod value;

pub use classic_buckets::ClassicBuckets;
pub use compat_set::Compat;

#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod readers_tests;
#[cfg(test)]
mod recorder_tests;
