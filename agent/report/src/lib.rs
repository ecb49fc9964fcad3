//! What copies of pages mean: the computations, the incidents, the findings, and everything that is written from them.
//!
//! ```text
//!   model    values kept between two looks at a page
//!   compute  lag, stalls, starvation, the guilty function: arithmetic on values
//!   incident one stall, starvation or saturated pool as a record
//!   incident_builder  builds that record from copies of a page
//!   diagnose evidence -> findings; incidents rebuilt from a page alone
//!   live     what displays show of the interval between two observations
//!   metrics  the catalogue, the families, their encodings
//!   profiles call paths and stacks as flamegraphs, pprof, speedscope, Firefox, traces
//! ```
//!
//! Pure: there is no thread, clock, file or socket here, and no runtime. Who reads pages, waits and answers is the caller: the
//! agent of a process, the server of a host, the command.
//!
//! Modules that are hidden in this documentation are for the crates of this project, and change without notice.

#[doc(hidden)]
pub mod duration;
#[doc(hidden)]
pub mod model;

pub mod incident;
#[doc(hidden)]
pub mod incident_builder;

#[doc(hidden)]
pub mod compute;

pub mod diagnose;
pub mod live;
pub mod metrics;
#[cfg(feature = "profiles")]
pub mod profiles;
mod protobuf;
#[doc(hidden)]
pub mod settings;
#[doc(hidden)]
pub mod short_names;
pub mod words;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
