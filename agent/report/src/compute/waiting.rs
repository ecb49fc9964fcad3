//! Lag of those who wait while a busy stretch lasts: a page counts them when their wait is over.

use loopscope_probe::histogram::{HistogramValues, UPPER_NS, slot};

/// Virtual arrivals come once in a millisecond.
const ARRIVAL_NS: u64 = 1_000_000;

/// Adds those who arrived in a busy stretch of this age, in nanoseconds, with their waits until now. 0 for a loop in its poll.
pub(crate) fn add_waiting(values: &mut HistogramValues, busy_ns: u64) {
    let count = busy_ns / ARRIVAL_NS;
    // Waits are spread evenly from 0 to the age of the stretch: those up to a bound are the bound's share of them.
    let mut below = 0;
    for (bucket, bound) in values.buckets.iter_mut().zip(UPPER_NS).take(slot(busy_ns) + 1) {
        let upto = (bound / ARRIVAL_NS).min(count);
        *bucket = bucket.saturating_add(upto - below);
        below = upto;
    }
    values.sum_ns = values.sum_ns.saturating_add(count.saturating_mul(busy_ns / 2));
}
