//! Figures of a loop over a period, and the state of its pool at a moment.

use serde::{Deserialize, Serialize};

/// A loop over a period. All are 0 where the period was not watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopFigures {
    /// Length of the period in nanoseconds; 0 where it was not watched.
    pub period_ns: u64,
    /// Share of it that the loop was busy, 0 to 1.
    pub utilization: f64,
    /// Iterations that began, a second.
    pub iterations_per_second: f64,
    /// Callbacks and drained jobs that ended, a second.
    pub callbacks_per_second: f64,
    /// Lag that half of the random arrivals stayed below, in nanoseconds.
    pub lag_ns_p50: u64,
    /// Lag that 99 of 100 random arrivals stayed below, in nanoseconds.
    pub lag_ns_p99: u64,
    /// Busy stretches longer than the warning threshold that ended.
    pub stalls: u64,
}

/// A loop's pool at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolState {
    /// Worker threads.
    pub threads: u64,
    /// Of them, how many ran a job.
    pub running: u64,
    /// Jobs that waited.
    pub queued: u64,
    /// How long the job at the head of the queue had waited, in nanoseconds.
    pub oldest_wait_ns: u64,
}
