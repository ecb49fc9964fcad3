//! The histogram of counts (jobs in a drain, events of a poll): one bucket per power of two.
//!
//! Bucket `i` holds counts in `(2^(i-1), 2^i]`, the native grid of schema 0; bucket 0 holds 0 and 1.

use crate::limits::count;
use crate::shared_u64::{SharedU64, WriteToken};

/// How many slots a count histogram has: bounds 2^0 to 2^16, and one for more.
pub const COUNT_SLOTS: usize = 18;

/// The largest exponent with a bound of its own.
pub const COUNT_EXPONENT_LAST: usize = 16;

/// Returns the slot of `count`: the smallest `i` with `count <= 2^i`, at most the last slot.
#[inline(always)]
pub fn count_slot(count: u64) -> usize {
    let ceiling = 64 - count.saturating_sub(1).leading_zeros() as usize;
    ceiling.min(COUNT_SLOTS - 1)
}

/// A histogram of counts in shared memory.
#[repr(C)]
#[derive(Debug)]
pub struct CountHistogram<Owner> {
    buckets: [SharedU64<Owner>; COUNT_SLOTS],
    sum: SharedU64<Owner>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(CountHistogram<crate::shared_u64::LoopOwned>, "count_histogram", buckets, sum);

impl<Owner> Default for CountHistogram<Owner> {
    fn default() -> Self {
        CountHistogram { buckets: std::array::from_fn(|_| SharedU64::default()), sum: SharedU64::default() }
    }
}

impl<Owner> CountHistogram<Owner> {
    /// Counts one observation of `count`.
    #[inline(always)]
    pub fn record(&self, pen: &WriteToken<Owner>, count: u64) {
        // Most who do not know how many tell 0.
        if count == 0 {
            return self.buckets[0].add(pen, 1);
        }
        self.buckets[count_slot(count)].add(pen, 1);
        self.sum.add(pen, count);
    }

    /// Copies the histogram.
    pub fn read(&self) -> CountValues {
        let buckets = std::array::from_fn(|slot| count(self.buckets[slot].get()));
        CountValues { buckets, sum: count(self.sum.get()) }
    }
}

/// A copy of a count histogram: plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountValues {
    /// Observations of each slot: slot `i` up to `2^i`, the last one anything more.
    pub buckets: [u64; COUNT_SLOTS],
    /// Sum of all observed counts; of one page, at most [`COUNT_MAX`](crate::limits::COUNT_MAX).
    pub sum: u64,
}

impl CountValues {
    /// Returns how many observations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shared_u64::LoopOwned;

    #[test]
    fn slots_end_at_powers_of_two() {
        for (count, slot) in
            [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (65_536, 16), (65_537, 17), (u64::MAX, 17)]
        {
            assert_eq!(count_slot(count), slot, "{count}");
        }
    }

    #[test]
    fn records_are_counted_and_summed() {
        let (histogram, pen) = (CountHistogram::<LoopOwned>::default(), WriteToken::mint());
        for count in [1, 2, 3, 1_000_000] {
            histogram.record(&pen, count);
        }
        let values = histogram.read();
        assert_eq!((values.count(), values.sum), (4, 1_000_006));
        assert_eq!(values.buckets[17], 1);
    }
}
