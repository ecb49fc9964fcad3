//! Counting into a copy of a histogram: what the agent measures itself.

use loopscope_probe::raw::histogram::{HistogramValues, slot};

/// Counts a duration in nanoseconds.
pub fn tally(values: &mut HistogramValues, ns: u64) {
    values.buckets[slot(ns)] += 1;
    values.sum_ns = values.sum_ns.saturating_add(ns);
}
