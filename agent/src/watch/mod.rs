//! Watching for what lasts too long: stalls with their cause, and saturated pools; each becomes an incident.
//!
//! ```text
//!   stalls, pool: began, lasts, ended  ->  incident_tracker: the open ones  ->  incident_queue: store, log, disk, actions
//!                                            ^ thread_state, stall_accounting: the loop's thread
//! ```

pub(crate) mod pool;

pub(crate) mod stall_accounting;
pub(crate) mod thread_state;

pub(crate) mod frames;
pub(crate) mod namer;

pub(crate) mod capture_budget;
pub(crate) mod incident_tracker;
mod open_incident;
mod open_pool_incident;

pub(crate) mod action;
pub(crate) mod disk;
pub(crate) mod incident_queue;
mod incident_stacks;
pub(crate) mod incident_store;
pub(crate) mod kept_incidents;
pub(crate) mod log;
pub(crate) mod log_report;
mod memory_file;
mod process_group;
pub(crate) mod sched_delay;

pub(crate) use open_incident::At;
