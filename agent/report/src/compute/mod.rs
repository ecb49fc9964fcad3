//! Arithmetic on measurements: values in, values out. Nothing here knows a clock, a thread, a file or a socket.

pub mod classify;
pub mod deadline;
pub mod episode;
pub mod figures;
pub mod groups;
pub mod guilty;
pub(crate) mod lag_figures;
pub mod log_budget;
pub mod sites;
pub mod stall;
pub mod utilization;
pub mod verdict;
