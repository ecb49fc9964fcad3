//! Proof that the integer index is the definition of the native grid, boundary by boundary.

use super::*;
use crate::shared_u64::LoopOwned;
use num_bigint::BigUint;
use proptest::prelude::*;

/// Under an interpreter that checks memory accesses, a sample of the arithmetic is enough.
const STRIDE: usize = if cfg!(miri) { 31 } else { 1 };

/// Tells by the definition, in exact integers, whether `ns` nanoseconds are at most `2^(index/8)` seconds:
/// `ns <= 1e9 * 2^(index/8)` exactly when `ns^8 * 2^max(-index,0) <= 1e72 * 2^max(index,0)`.
fn is_within(ns: u64, index: i32) -> bool {
    let left = BigUint::from(ns).pow(8) << (-index).max(0) as usize;
    let right = BigUint::from(10u8).pow(72) << index.max(0) as usize;
    left <= right
}

fn slot_by_definition(ns: u64) -> usize {
    // Bisection: a duration that is within one boundary is within every later one.
    let slots: Vec<usize> = (0..SLOT_OVERFLOW).collect();
    slots.partition_point(|slot| !is_within(ns, *slot as i32 + NATIVE_OFFSET))
}

#[test]
fn every_boundary_is_the_definition_rounded_down() {
    for (slot, bound) in UPPER_NS[..SLOT_OVERFLOW].iter().enumerate().step_by(STRIDE) {
        let index = slot as i32 + NATIVE_OFFSET;
        assert!(is_within(*bound, index), "slot {slot}");
        assert!(!is_within(bound + 1, index), "slot {slot}");
    }
}

#[test]
fn the_index_is_right_on_both_sides_of_every_boundary() {
    for bound in UPPER_NS[..SLOT_OVERFLOW].iter().step_by(STRIDE) {
        for ns in [bound - 1, *bound, bound + 1] {
            assert_eq!(slot(ns), slot_by_definition(ns), "{ns} ns");
        }
    }
}

#[test]
fn the_index_is_right_for_every_short_duration_and_every_power_of_two() {
    for ns in (0..20_000).step_by(STRIDE * 50 - 49) {
        assert_eq!(slot(ns), slot_by_definition(ns), "{ns} ns");
    }
    for bit in (0..64).step_by(STRIDE) {
        for ns in [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1] {
            assert_eq!(slot(ns), slot_by_definition(ns), "{ns} ns");
        }
    }
    assert_eq!(slot(u64::MAX), SLOT_OVERFLOW);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1024 }))]

    #[test]
    fn the_index_is_right_for_random_durations(bit in 0u32..40, mantissa: u64) {
        let ns = mantissa >> (63 - bit);
        prop_assert_eq!(slot(ns), slot_by_definition(ns));
    }
}

#[test]
fn classic_power_of_two_bounds_are_exact_sums() {
    let (histogram, pen) = (Histogram::<LoopOwned>::default(), WriteToken::mint());
    for ns in [0, 62_500_000, 62_500_001, 125_000_000, 1_000_000_000, 200_000_000_000] {
        histogram.record(&pen, ns);
    }
    let values = histogram.read();
    assert_eq!(values.count(), 6);
    for (eighths, count) in [(-32, 2), (-24, 4), (0, 5), (7 * 8, 5)] {
        assert_eq!(values.count_within(eighths), count, "{eighths}");
    }
    assert_eq!(values.sum_ns, 201_250_000_001);
}

#[test]
fn a_sum_goes_on_where_a_thousand_wait_for_months() {
    let (histogram, pen) = (Histogram::<LoopOwned>::default(), WriteToken::mint());
    for sum_ns in [1 << 62, u64::MAX - 5] {
        let before = histogram.read();
        histogram.record_many(&pen, slot(1_000), 1, sum_ns - before.sum_ns);
        let now = histogram.read();
        assert_eq!((now.sum_ns, now.since(&before).sum_ns), (sum_ns, sum_ns - before.sum_ns));
    }
    let mut both = histogram.read();
    both.merge(&histogram.read());
    assert_eq!(both.sum_ns, u64::MAX);
}

#[test]
fn a_quantile_is_the_upper_bound_of_its_bucket_or_what_the_sum_leaves() {
    let (histogram, pen) = (Histogram::<LoopOwned>::default(), WriteToken::mint());
    assert_eq!(histogram.read().quantile_ns(0.99), None);
    histogram.record_many(&pen, slot(1_000), 99, 99_000);
    histogram.record(&pen, 1_000_000_000);
    let values = histogram.read();
    assert_eq!(values.quantile_ns(0.99), Some(UPPER_NS[slot(1_000)]));
    assert_eq!(values.quantile_ns(1.0), Some(1_000_000_000));
    // One of 801 ms, in a bucket that ends at 841.
    let (one, pen) = (Histogram::<LoopOwned>::default(), WriteToken::mint());
    one.record(&pen, 801_000_000);
    assert_eq!(one.read().quantile_ns(0.5), Some(801_000_000));
    for _ in 0..9 {
        one.record(&pen, 801_000_000);
    }
    assert_eq!(one.read().longest_ns(), Some(UPPER_NS[slot(801_000_000)]), "of ten, one may be as long");
    assert_eq!(one.read().quantile_at_most_ns(1.0, Some(801_000_000)), Some(801_000_000));
    let later = values.since(&values);
    assert_eq!((later.count(), later.sum_ns), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    /// Of whatever was counted: a quantile is in the bucket of the true one and not below it, does not fall as the
    /// share grows, and does not exceed the longest where that is known.
    #[test]
    fn no_quantile_is_told_that_exceeds_the_longest(
        mut all in prop::collection::vec(0..300_000_000_000_u64, 1..60), share in 0.0..1.0_f64,
    ) {
        let (histogram, pen) = (Histogram::<LoopOwned>::default(), WriteToken::mint());
        all.iter().for_each(|ns| histogram.record(&pen, *ns));
        all.sort_unstable();
        let (values, longest) = (histogram.read(), all.last().copied());
        prop_assert!(values.longest_ns() >= longest);
        let shares = [share / 2.0, share, 1.0];
        let told = shares.map(|q| values.quantile_at_most_ns(q, longest).unwrap());
        prop_assert!(told.is_sorted() && told[2] <= all[all.len() - 1], "{told:?} of {all:?}");
        for (q, ns) in shares.into_iter().zip(told) {
            let truth = all[((all.len() as f64 * q).ceil() as usize).clamp(1, all.len()) - 1];
            prop_assert!(ns >= truth && slot(ns) == slot(truth), "{ns} for {truth}");
        }
    }
}

#[test]
fn a_probe_that_waits_for_long_counts_for_those_that_were_not_sent_meanwhile() {
    let pen = WriteToken::<LoopOwned>::mint();
    let recorded = |ns, every_ns| {
        let histogram = Histogram::<LoopOwned>::default();
        histogram.record_probe(&pen, ns, every_ns);
        histogram.read()
    };
    for (ns, each) in
        [(0, vec![0]), (299, vec![299]), (300, vec![300, 0]), (1_000, vec![1_000, 700, 400, 100])]
    {
        let mut singly = HistogramValues::default();
        each.iter().for_each(|ns| singly.record(*ns));
        assert_eq!(recorded(ns, 300), singly, "{ns}");
    }
    // Two hours, in groups.
    let (whole_ns, every_ns) = (7_200_000_000_000, 30_000_000);
    let values = recorded(whole_ns, every_ns);
    assert_eq!(values.count(), whole_ns / every_ns + 1);
    let mean_ns = values.sum_ns / values.count();
    assert!(mean_ns.abs_diff(whole_ns / 2) < whole_ns / 1_000, "{mean_ns}");
}
