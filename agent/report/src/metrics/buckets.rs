//! A histogram as the formats see it: sums up to classic bounds, and the native buckets they are sums of.

use crate::metrics::value::Number;
use crate::model::exemplar::Exemplar;
use loopscope_probe::raw::count_histogram::{COUNT_EXPONENT_LAST, CountValues};
use loopscope_probe::raw::histogram::{EXPONENT_FIRST, HistogramValues, NATIVE_OFFSET, UPPER_NS, slot_of};

/// Buckets that are already counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buckets<'a> {
    /// Durations on the probe's grid, with classic bounds at these of its boundaries: `2^(n/8)` seconds.
    Durations(&'a HistogramValues, &'static [i32]),
    /// Counts, with classic bounds 2^0 to 2^16.
    Counts(&'a CountValues),
    /// A histogram that has classic bounds only.
    Classic(&'a Classic),
}

/// A histogram that somebody else counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Classic {
    /// Finite bounds, rising, and the counts up to them.
    pub bounds: Vec<(f64, u64)>,
    pub sum: f64,
    pub count: u64,
}

/// The upper bound of a classic bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// `2^exponent`.
    Power(i32),
    /// The end of this slot of the probe's grid: a power of two, or a whole number of nanoseconds, which durations are.
    Slot(usize),
    Value(f64),
    Infinite,
}

impl Bound {
    pub(crate) fn value(self) -> f64 {
        match self {
            // A power of two is its exponent's bits; a page has tens of thousands of bounds.
            Bound::Power(exponent) => power(exponent),
            Bound::Slot(slot) if slot % 8 == 0 => power(EXPONENT_FIRST + (slot / 8) as i32),
            Bound::Slot(slot) => UPPER_NS[slot] as f64 / 1e9,
            Bound::Value(value) => value,
            Bound::Infinite => f64::INFINITY,
        }
    }
}

/// Returns `2^exponent`.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((1023 + i64::from(exponent)) as u64) << 52)
}

/// A native histogram: Prometheus' exponential buckets of one schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Native<'a> {
    /// There are `2^schema` buckets an octave.
    pub schema: i32,
    /// Everything up to here is in the zero bucket, this value included.
    pub zero_threshold: f64,
    pub zero_count: u64,
    /// Index of the bucket that `counts` begins with: bucket `i` ends at `2^(i / 2^schema)`.
    pub first_index: i32,
    pub counts: &'a [u64],
}

impl Buckets<'_> {
    /// Calls `each` with every classic bound and the count up to it, the infinite one last. Returns the count of all.
    pub(crate) fn walk(&self, mut each: impl FnMut(Bound, u64)) -> u64 {
        // Saturating, because these may be sums over many loops: what is up to a bound never falls.
        let add = |sum: u64, count: &u64| sum.saturating_add(*count);
        let mut below = 0u64;
        let count = match self {
            Buckets::Durations(values, bounds) => {
                let mut slot = 0;
                for eighths in *bounds {
                    let last = slot_of(*eighths);
                    below = values.buckets[slot..=last].iter().fold(below, add);
                    slot = last + 1;
                    each(Bound::Slot(last), below);
                }
                values.buckets[slot..].iter().fold(below, add)
            }
            Buckets::Counts(values) => {
                for (exponent, count) in values.buckets.iter().enumerate().take(COUNT_EXPONENT_LAST + 1) {
                    below = add(below, count);
                    each(Bound::Power(exponent as i32), below);
                }
                values.count()
            }
            Buckets::Classic(values) => {
                for (bound, count) in &values.bounds {
                    each(Bound::Value(*bound), *count);
                }
                values.count
            }
        };
        each(Bound::Infinite, count);
        count
    }

    /// Returns how many samples it is, as Prometheus counts classic histograms: its bounds, its sum and its count.
    pub(crate) fn samples(&self) -> usize {
        let bounds = match self {
            Buckets::Durations(_, bounds) => bounds.len(),
            Buckets::Counts(_) => COUNT_EXPONENT_LAST + 1,
            Buckets::Classic(values) => values.bounds.len(),
        };
        // The infinite one is never in the lists.
        bounds + 3
    }

    /// Returns the sum of all observations.
    pub(crate) fn sum(&self) -> Number {
        match self {
            Buckets::Durations(values, _) => Number::Seconds(values.sum_ns),
            Buckets::Counts(values) => Number::Whole(values.sum),
            Buckets::Classic(values) => Number::Real(values.sum),
        }
    }

    /// Returns the native buckets, which lose nothing but this: what is beyond the last bound of the probe's grid is
    /// told as if it were in the bucket after it (128 to 140 s, 65,536 to 131,072 jobs). The sum is exact.
    pub(crate) fn native(&self) -> Option<Native<'_>> {
        let (schema, first, buckets): (_, _, &[u64]) = match self {
            Buckets::Durations(values, _) => (3, NATIVE_OFFSET, &values.buckets),
            Buckets::Counts(values) => (0, 0, &values.buckets),
            Buckets::Classic(_) => return None,
        };
        let (zero, counts) = buckets.split_first()?;
        let zero_threshold = 2f64.powi(first >> schema);
        Some(Native { schema, zero_threshold, zero_count: *zero, first_index: first + 1, counts })
    }
}

/// Returns the newest of `exemplars` (newest last) in the bucket from `above` (not included) to `bound` seconds.
pub(crate) fn newest_within(exemplars: &[Exemplar], above: f64, bound: Bound) -> Option<&Exemplar> {
    let is_within = |exemplar: &&Exemplar| {
        let seconds = Number::Seconds(exemplar.value_ns).value();
        above < seconds && seconds <= bound.value()
    };
    exemplars.iter().rev().find(is_within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog::{FAST, FEW, LAG, OWN, WAIT};
    use loopscope_probe::raw::histogram::{SLOTS, UPPER_NS, slot};
    use proptest::prelude::*;

    #[test]
    fn native_buckets_are_those_of_the_definition() {
        let values = HistogramValues { buckets: (0..SLOTS as u64).collect(), sum_ns: 0 };
        let buckets = Buckets::Durations(&values, FAST);
        let native = buckets.native().unwrap();
        assert_eq!((native.schema, native.zero_threshold), (3, 2f64.powi(-24)));
        for (at, count) in native.counts.iter().enumerate().take(SLOTS - 2) {
            let upper_ns = 2f64.powf(f64::from(native.first_index + at as i32) / 8.0) * 1e9;
            let slot = usize::try_from(*count).unwrap();
            assert!((upper_ns - UPPER_NS[slot] as f64).abs() <= 1.0, "{slot}: {upper_ns}");
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        for exponent in -24..=16 {
            assert_eq!(Bound::Power(exponent).value(), 2f64.powi(exponent));
        }
        for exponent in -24..=7 {
            assert_eq!(Bound::Slot(slot_of(exponent * 8)).value(), 2f64.powi(exponent));
        }
    }

    #[test]
    fn the_zero_bucket_of_counts_holds_none_and_one() {
        let values =
            CountValues { buckets: std::array::from_fn(|slot| slot as u64 + 10), ..CountValues::default() };
        let buckets = Buckets::Counts(&values);
        let native = buckets.native().unwrap();
        assert_eq!((native.schema, native.zero_threshold, native.zero_count), (0, 1.0, 10));
        assert_eq!((native.first_index, native.counts[0], native.counts.len()), (1, 11, 17));
    }

    proptest! {
        #[test]
        fn classic_sums_and_native_counts_are_of_the_same_observations(
            observed in prop::collection::vec(0u64..400_000_000_000, 0..200),
        ) {
            let mut values = HistogramValues::default();
            for ns in &observed {
                values.buckets[slot(*ns)] += 1;
            }
            for bounds in [FAST, LAG, WAIT, OWN, FEW] {
                let buckets = Buckets::Durations(&values, bounds);
                let count = buckets.walk(|bound, below| {
                    let within = observed.iter().filter(|ns| Number::Seconds(**ns).value() <= bound.value());
                    assert_eq!(within.count() as u64, below, "{bound:?}");
                });
                let native = buckets.native().unwrap();
                prop_assert_eq!(native.counts.iter().sum::<u64>() + native.zero_count, count);
            }
        }
    }

    #[test]
    fn bounds_are_fine_enough_for_an_alert_between_62_ms_and_1_s() {
        // 99 of 100 waits are none, and the others lie around 300 ms: what Prometheus computes of it.
        let quantile = |bounds: &'static [i32]| {
            let mut values = HistogramValues::default();
            (values.buckets[0], values.buckets[slot(301_000_000)]) = (980, 20);
            let (mut last, mut found) = ((0.0, 0), f64::NAN);
            Buckets::Durations(&values, bounds).walk(|bound, below| {
                if found.is_nan() && below as f64 >= 990.0 {
                    let (lower, before) = last;
                    found = lower + (bound.value() - lower) * (990 - before) as f64 / (below - before) as f64;
                }
                last = (bound.value(), below);
            });
            found
        };
        let (lag, fast) = (quantile(LAG), quantile(FAST));
        assert!((0.297..=0.354).contains(&lag), "{lag}");
        assert!((0.25..=0.354).contains(&fast), "{fast}");
        for bounds in [FAST, LAG] {
            let step = bounds.windows(2).filter(|pair| (-32..0).contains(&pair[0]));
            assert!(step.clone().all(|pair| pair[1] - pair[0] <= 4), "at most half an octave: {bounds:?}");
        }
    }

    #[test]
    fn an_exemplar_belongs_to_one_bucket_and_the_newest_is_taken() {
        let exemplar = |id: &str, value_ns| Exemplar { incident_id: id.to_owned(), value_ns, unix_ns: 5 };
        let all = [exemplar("1-1", 62_500_000), exemplar("1-2", 62_500_001), exemplar("1-3", 70_000_000)];
        let id = |above, bound| newest_within(&all, above, bound).map(|one| one.incident_id.as_str());
        assert_eq!(id(0.03125, Bound::Power(-4)), Some("1-1"));
        assert_eq!(id(0.0625, Bound::Power(-3)), Some("1-3"));
        assert_eq!(id(0.125, Bound::Infinite), None);
    }
}
