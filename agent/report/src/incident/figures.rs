//! Figures of a loop over a period, and the state of its pool at a moment.

use crate::duration::show_ns;
use crate::words::count;
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::pool::{PoolNow, PoolValues};
use serde::{Deserialize, Serialize};

/// A loop over a period. What its runtime cannot know is `None`; all are `None` or 0 where the period was not watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopFigures {
    /// Length of the period in nanoseconds; 0 where it was not watched.
    pub period_ns: u64,
    /// Share of it that the loop was busy, 0 to 1.
    pub utilization: Option<f64>,
    /// Iterations that began, a second.
    pub iterations_per_second: Option<f64>,
    /// Callbacks and drained jobs that ended, a second.
    pub callbacks_per_second: Option<f64>,
    /// Lag that half of the random arrivals stayed below, in nanoseconds.
    pub lag_ns_p50: Option<u64>,
    /// Lag that 99 of 100 random arrivals stayed below, in nanoseconds.
    pub lag_ns_p99: Option<u64>,
    /// Busy periods longer than the warning threshold that ended.
    pub stalls: u64,
}

impl LoopFigures {
    /// Returns the figures without those that `runtime` cannot know.
    pub fn known(self, runtime: &Description) -> LoopFigures {
        let lag = runtime.knows(Fact::Lag);
        LoopFigures {
            utilization: self.utilization.filter(|_| runtime.knows(Fact::Time)),
            iterations_per_second: self.iterations_per_second.filter(|_| runtime.knows(Fact::Iterations)),
            callbacks_per_second: self.callbacks_per_second.filter(|_| runtime.knows(Fact::Callbacks)),
            lag_ns_p50: self.lag_ns_p50.filter(|_| lag),
            lag_ns_p99: self.lag_ns_p99.filter(|_| lag),
            ..self
        }
    }
}

/// A loop's pool at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolState {
    /// Worker threads; `None` where nobody knows.
    pub threads: Option<u64>,
    /// Of them, how many ran a job; `None` where nobody knows.
    pub running: Option<u64>,
    /// Jobs that waited; `None` where nobody knows.
    pub queued: Option<u64>,
    /// How long the job at the head of the queue had waited, in nanoseconds; `None` where nobody knows.
    pub oldest_wait_ns: Option<u64>,
}

impl PoolState {
    /// `4 of 4 threads busy, 16 jobs waiting, the oldest for 0.4 s`: what of it is known.
    pub fn words(&self) -> String {
        let threads = match (self.running, self.threads) {
            (Some(running), Some(threads)) => Some(format!("{running} of {} busy", count(threads, "thread"))),
            (Some(running), None) => Some(format!("{} running", count(running, "job"))),
            (None, Some(threads)) => Some(count(threads, "thread")),
            (None, None) => None,
        };
        let waiting = match self.queued {
            Some(queued) => Some(format!("{} waiting", count(queued, "job"))),
            None => self.oldest_wait_ns.filter(|ns| *ns > 0).map(|_| "jobs waiting".to_owned()),
        };
        let oldest = self.oldest_wait_ns.filter(|ns| *ns > 0 && self.queued != Some(0));
        let oldest = oldest.map(|ns| format!("the oldest for {}", show_ns(ns)));
        threads.into_iter().chain(waiting).chain(oldest).collect::<Vec<_>>().join(", ")
    }
}

impl From<&PoolNow> for PoolState {
    fn from(pool: &PoolNow) -> PoolState {
        let PoolNow { threads, running, queued, oldest_wait_ns, .. } = *pool;
        PoolState { threads, running, queued, oldest_wait_ns }
    }
}

impl From<&PoolValues> for PoolState {
    fn from(pool: &PoolValues) -> PoolState {
        let PoolValues { threads, running, queued, oldest_wait_ns, .. } = *pool;
        PoolState { threads, running, queued, oldest_wait_ns }
    }
}
