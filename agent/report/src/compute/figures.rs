//! Figures of a loop over a period, from two copies of what only grows.

use crate::incident::LoopFigures;
use crate::model::history::Counters;

/// Returns the figures of the period between two copies; all 0 where it is empty.
pub fn between(earlier: &Counters, later: &Counters) -> LoopFigures {
    let period_ns = later.total_ns().saturating_sub(earlier.total_ns());
    if period_ns == 0 {
        return LoopFigures::default();
    }
    let per_second = |count: u64| Some(count as f64 * 1e9 / period_ns as f64);
    let waits = later.waits.since(&earlier.waits);
    let lag = |share| Some(waits.quantile_ns(share).unwrap_or(0));
    LoopFigures {
        period_ns,
        utilization: Some(
            (later.active_ns.saturating_sub(earlier.active_ns) as f64 / period_ns as f64).min(1.0),
        ),
        iterations_per_second: per_second(later.iterations.saturating_sub(earlier.iterations)),
        callbacks_per_second: per_second(later.callbacks.saturating_sub(earlier.callbacks)),
        lag_ns_p50: lag(0.5),
        lag_ns_p99: lag(0.99),
        stalls: later.stalls.saturating_sub(earlier.stalls),
    }
}

/// Returns the figures of one busy period: an event that becomes ready at a random moment of it waits until its end.
pub fn of_busy_period(busy_ns: u64, callbacks: u64) -> LoopFigures {
    if busy_ns == 0 {
        return LoopFigures::default();
    }
    LoopFigures {
        period_ns: busy_ns,
        utilization: Some(1.0),
        iterations_per_second: Some(1e9 / busy_ns as f64),
        callbacks_per_second: Some(callbacks as f64 * 1e9 / busy_ns as f64),
        lag_ns_p50: Some(busy_ns / 2),
        lag_ns_p99: Some(busy_ns / 100 * 99),
        stalls: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::histogram::{UPPER_NS, slot};

    const MS: u64 = 1_000_000;

    #[test]
    fn figures_are_those_of_the_period_alone() {
        let mut earlier = Counters { active_ns: 900 * MS, idle_ns: 100 * MS, ..Counters::default() };
        earlier.waits.lag.buckets[slot(500 * MS)] = 1_000;
        let mut later = Counters { active_ns: 1_400 * MS, idle_ns: 1_600 * MS, ..earlier.clone() };
        (later.iterations, later.callbacks, later.stalls) = (40, 100, 3);
        later.waits.lag.buckets[slot(0)] += 980;
        later.waits.lag.buckets[slot(200 * MS)] += 20;
        later.waits.lag.sum_ns += 20 * 200 * MS;
        let figures = between(&earlier, &later);
        assert_eq!((figures.period_ns, figures.utilization), (2_000 * MS, Some(0.25)));
        assert_eq!((figures.iterations_per_second, figures.callbacks_per_second), (Some(20.0), Some(50.0)));
        assert_eq!((figures.lag_ns_p50, figures.stalls), (Some(0), 3));
        // The bucket ends at 210 ms; the sum leaves less.
        let p99_ns = figures.lag_ns_p99.unwrap();
        assert!((200 * MS..206 * MS).contains(&p99_ns) && p99_ns < UPPER_NS[slot(200 * MS)], "{p99_ns}");
        assert_eq!(between(&later, &later), LoopFigures::default());
    }

    #[test]
    fn within_a_busy_period_half_of_the_arrivals_wait_for_half_of_it() {
        let figures = of_busy_period(200 * MS, 400);
        assert_eq!((figures.lag_ns_p50, figures.lag_ns_p99), (Some(100 * MS), Some(198 * MS)));
        assert_eq!((figures.callbacks_per_second, figures.utilization), (Some(2_000.0), Some(1.0)));
        assert_eq!(of_busy_period(0, 0), LoopFigures::default());
    }
}
