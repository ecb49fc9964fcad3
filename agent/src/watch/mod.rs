//! Watching for what lasts too long: stalls with their cause, and saturated pools; each becomes an incident.
//!
//! ```text
//!   stalls, pool: began, lasts, ended  ->  incident_tracker: the open ones  ->  incident_queue: store, log, disk, actions
//!                                            ^ thread_state, stall_accounting: the loop's thread
//! ```

pub(crate) mod pool;

pub(crate) mod stall_accounting;
pub(crate) mod thread_state;
mod thread_wait;

pub(crate) mod frame_source;
pub(crate) mod stack_symbolizer;

mod active_incident;
pub(crate) mod capture_budget;
pub(crate) mod incident_tracker;

mod command_process;
pub(crate) mod incident_action;
pub(crate) mod incident_memory;
pub(crate) mod incident_queue;
mod incident_stacks;
pub(crate) mod incident_writer;
pub(crate) mod kept_incidents;
pub(crate) mod log;
mod log_line;
pub(crate) mod log_report;
pub(crate) mod sched_delay;

pub(crate) use active_incident::At;
