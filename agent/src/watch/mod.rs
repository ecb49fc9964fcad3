//! Watching for what lasts too long: stalls with their cause, and saturated pools.

pub(crate) mod log;
pub(crate) mod pool;
pub(crate) mod report;
pub(crate) mod stall;
