//! A histogram of durations in the few numbers that other exporters tell of theirs.

use crate::model::waits::Waits;
use loopscope_probe::raw::histogram::UPPER_NS;

/// All in nanoseconds. The mean is exact; the others are within one bucket (9 %) of the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LagFigures {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub stddev: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

impl LagFigures {
    /// Returns the figures; all 0 where nothing was counted.
    pub(crate) fn of(waits: &Waits) -> LagFigures {
        let values = &waits.lag;
        let used = || values.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let Some((first, _)) = used().next() else { return LagFigures::default() };
        let count = values.count() as f64;
        let mean = values.sum_ns as f64 / count;
        let square_sum: f64 = used()
            .map(|(slot, count)| ((lower_ns(slot) + upper_ns(slot)) / 2.0 - mean).powi(2) * *count as f64)
            .sum();
        let quantile = |q| waits.quantile_ns(q).unwrap_or(0) as f64;
        LagFigures {
            min: lower_ns(first),
            max: quantile(1.0),
            mean,
            stddev: (square_sum / count).sqrt(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        }
    }
}

fn lower_ns(slot: usize) -> f64 {
    slot.checked_sub(1).map_or(0.0, |below| UPPER_NS[below] as f64)
}

/// The first slot is that of the arrivals that did not wait at all; the last has no bound, so its lower one is taken.
fn upper_ns(slot: usize) -> f64 {
    match slot {
        0 => 0.0,
        slot if UPPER_NS[slot] == u64::MAX => lower_ns(slot),
        slot => UPPER_NS[slot] as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::histogram::{HistogramValues, slot};

    fn observed(all: &[(u64, u64)]) -> Waits {
        let mut values = HistogramValues::default();
        for (ns, count) in all {
            values.buckets[slot(*ns)] += count;
            values.sum_ns += ns * count;
        }
        Waits { lag: values, ..Waits::default() }
    }

    #[test]
    fn nothing_and_an_idle_loop_have_no_lag() {
        assert_eq!(LagFigures::of(&Waits::default()), LagFigures::default());
        assert_eq!(LagFigures::of(&observed(&[(0, 1_000)])), LagFigures::default());
    }

    #[test]
    fn figures_are_within_a_bucket_of_the_truth() {
        let figures =
            LagFigures::of(&observed(&[(0, 80), (1_000_000, 15), (50_000_000, 4), (900_000_000, 1)]));
        let near = |found: f64, truth: f64| assert!((found / truth - 1.0).abs() < 0.1, "{found} for {truth}");
        assert_eq!((figures.min, figures.p50), (0.0, 0.0));
        near(figures.p90, 1e6);
        near(figures.p99, 50e6);
        near(figures.max, 900e6);
        assert_eq!(figures.mean, 11_150_000.0);
        near(figures.stddev, 89_900_000.0);
    }

    #[test]
    fn what_has_no_bound_is_told_by_its_sum() {
        assert_eq!(LagFigures::of(&observed(&[(200_000_000_000, 1)])).max, 200e9);
    }
}
