//! Watching for what lasts too long: stalls with their cause, and saturated pools; each becomes an incident.
//!
//! ```text
//!   stall, pool: what began, lasts, ended   ->  cases: one open incident each  ->  desk: shelf, log, disk, actions
//!                                                ^ sight, meter: the loop's thread
//! ```

pub(crate) mod pool;

pub(crate) mod meter;
pub(crate) mod sight;

pub(crate) mod frames;
pub(crate) mod namer;

mod case;
pub(crate) mod cases;
mod pool_case;

pub(crate) mod action;
pub(crate) mod desk;
pub(crate) mod disk;
pub(crate) mod log;
mod memory_file;
mod process_group;
pub(crate) mod report;
pub(crate) mod shelf;
pub(crate) mod wake;

pub(crate) use case::At;
