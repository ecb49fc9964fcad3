//! The histogram of durations: the Prometheus native grid of schema 3, indexed in integers.
//!
//! Schema 3 has eight buckets an octave. Bucket `i` holds durations in `(2^((i-1)/8), 2^(i/8)]` seconds, so every
//! eighth boundary is a power of two and a classic histogram with power-of-two bounds is an exact sum. A duration is a
//! whole number of nanoseconds, so each boundary can be rounded down to one without moving any duration to another
//! bucket: `ns <= 2^(i/8) * 1e9` exactly when `ns <= floor(2^(i/8) * 1e9)`.
//!
//! The index is found without floating point: the leading bit picks the octave, the next six bits a first guess (a
//! 64-entry table; the boundaries lie at the same places in every octave), and one comparison with the exact boundary
//! corrects it. Cost of a record: about 1 ns, one line of cache touched besides the tables.
//!
//! # Source
//! Prometheus native histograms, exponential schemas ("standard exponential", schema 3). An index computed by
//! `ceil(log2(seconds) * 8)` rounds wrongly near boundaries, which is why there is a table.

use crate::limits::count;
use crate::shared_u64::{SharedU64, WriteToken};

/// How many slots a histogram has.
pub const SLOTS: usize = 250;

/// The first slot's upper bound is `2^EXPONENT_FIRST` seconds (about 60 ns); all shorter durations are in it.
pub const EXPONENT_FIRST: i32 = -24;

/// The last bounded slot ends at `2^EXPONENT_LAST` seconds (128 s); the one after it holds everything longer.
pub const EXPONENT_LAST: i32 = 7;

/// The slot for durations longer than every boundary.
pub const SLOT_OVERFLOW: usize = SLOTS - 1;

/// Slot `s` with `1 <= s < SLOT_OVERFLOW` is the native bucket with index `s + NATIVE_OFFSET` in schema 3.
pub const NATIVE_OFFSET: i32 = EXPONENT_FIRST * 8;

/// The longest duration of each slot, in nanoseconds; the last is unbounded.
pub static UPPER_NS: [u64; SLOTS] = upper_bounds();

/// `2^(j/8)` for j = 0..8 with 64 bits after the point, rounded down.
const EIGHTH_ROOTS: [u128; 8] = [
    0x1_0000_0000_0000_0000,
    0x1_172b_83c7_d517_adcd,
    0x1_306f_e0a3_1b71_52de,
    0x1_4bfd_ad53_62a2_71d4,
    0x1_6a09_e667_f3bc_c908,
    0x1_8ace_5422_aa0d_b5ba,
    0x1_ae89_f995_ad3a_d5e8,
    0x1_d581_8dcf_ba48_725d,
];

const fn upper_bounds() -> [u64; SLOTS] {
    let mut bounds = [u64::MAX; SLOTS];
    let mut slot = 0;
    while slot < SLOT_OVERFLOW {
        let octave = EXPONENT_FIRST + (slot / 8) as i32;
        // Nanoseconds with 64 bits after the point: at most 2^30 * 2^65, so there is room for 7 more octaves.
        let fixed = 1_000_000_000 * EIGHTH_ROOTS[slot % 8];
        bounds[slot] = if octave < 0 { fixed >> (64 - octave) } else { (fixed << octave) >> 64 } as u64;
        slot += 1;
    }
    bounds
}

/// [`UPPER_NS`], long enough that any byte is an index: the hot path has one check less.
static BOUNDS: [u64; 256] = {
    let (mut padded, bounds) = ([u64::MAX; 256], upper_bounds());
    let mut slot = 0;
    while slot < SLOTS {
        padded[slot] = bounds[slot];
        slot += 1;
    }
    padded
};

/// For a duration whose leading bit is bit `b`, `GUESS[b][next six bits]` would be the slot to try first. The tables
/// of all octaves are one table and a shift, except where rounding to whole nanoseconds matters; building it per
/// leading bit from the exact boundaries keeps the single comparison exact everywhere.
static GUESS: [[u8; 64]; 38] = guesses();

const fn guesses() -> [[u8; 64]; 38] {
    let mut table = [[0u8; 64]; 38];
    let bounds = upper_bounds();
    let mut bit = 0;
    while bit < 38 {
        let mut cell = 0;
        let mut slot = 0;
        while cell < 64 {
            // The smallest duration in this cell.
            let first =
                if bit >= 6 { (64 + cell as u64) << (bit - 6) } else { (64 + cell as u64) >> (6 - bit) };
            while bounds[slot] < first {
                slot += 1;
            }
            table[bit][cell] = slot as u8;
            cell += 1;
        }
        bit += 1;
    }
    table
}

/// Returns the slot of a duration of `ns` nanoseconds.
#[inline(always)]
pub fn slot(ns: u64) -> usize {
    // 0 has no leading bit, and shares the slot of 1.
    let leading = 63 - (ns | 1).leading_zeros() as usize;
    if leading >= GUESS.len() {
        return SLOT_OVERFLOW;
    }
    let cell = (ns << (63 - leading) >> 57) as usize & 63;
    let guess = GUESS[leading][cell];
    // A cell is at most 1/64 wide and boundaries are at least 1/12 apart, so at most one boundary lies in a cell.
    usize::from(guess) + usize::from(ns > BOUNDS[usize::from(guess)])
}

/// Returns the slot that ends at `2^(eighths/8)` seconds; beyond the grid's ends, the first or the last bounded one.
#[inline]
pub fn slot_of(eighths: i32) -> usize {
    (eighths.clamp(EXPONENT_FIRST * 8, EXPONENT_LAST * 8) - NATIVE_OFFSET) as usize
}

/// A histogram of durations in shared memory. 250 buckets and the sum: 2008 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Histogram<Owner> {
    buckets: [SharedU64<Owner>; SLOTS],
    sum_ns: SharedU64<Owner>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(Histogram<crate::shared_u64::LoopOwned>, "histogram", buckets, sum_ns);

impl<Owner> Default for Histogram<Owner> {
    fn default() -> Self {
        Histogram { buckets: std::array::from_fn(|_| SharedU64::default()), sum_ns: SharedU64::default() }
    }
}

impl<Owner> Histogram<Owner> {
    /// Counts one duration of `ns` nanoseconds.
    #[inline(always)]
    pub fn record(&self, pen: &WriteToken<Owner>, ns: u64) {
        self.buckets[slot(ns)].add(pen, 1);
        self.sum_ns.add(pen, ns);
    }

    /// Counts one duration without adding it to the sum, which [`Histogram::add_sum`] must do for it.
    #[inline(always)]
    pub(crate) fn count_one(&self, pen: &WriteToken<Owner>, ns: u64) {
        self.buckets[slot(ns)].add(pen, 1);
    }

    /// [`Histogram::record`] where the slot of the duration is known.
    #[inline(always)]
    pub(crate) fn count_in(&self, pen: &WriteToken<Owner>, slot: usize, ns: u64) {
        self.buckets[slot].add(pen, 1);
        self.sum_ns.add(pen, ns);
    }

    /// Counts so many durations of 0.
    #[inline(always)]
    pub(crate) fn count_shortest(&self, pen: &WriteToken<Owner>, count: u64) {
        self.buckets[0].add(pen, count);
    }

    /// Adds to the sum for durations that [`Histogram::count_one`] counted.
    pub(crate) fn add_sum(&self, pen: &WriteToken<Owner>, sum_ns: u64) {
        self.sum_ns.add(pen, sum_ns);
    }

    /// Counts `count` durations that all fall in `slot` and sum up to `sum_ns`; a slot past the end is the last.
    pub fn record_many(&self, pen: &WriteToken<Owner>, slot: usize, count: u64, sum_ns: u64) {
        self.buckets[slot.min(SLOT_OVERFLOW)].add(pen, count);
        self.sum_ns.add(pen, sum_ns);
    }

    /// Counts what a probe measured that is sent every `every_ns` nanoseconds, but not while one is on its way: `ns`, and what those
    /// would have measured that were not sent meanwhile, which is `every_ns` less for each. Without these, a wait of a minute would be
    /// one of thousands, and no quantile would know of it (coordinated omission).
    pub fn record_probe(&self, pen: &WriteToken<Owner>, ns: u64, every_ns: u64) {
        /// More are counted in groups of equals.
        const SINGLE_MAX: u64 = 4_096;
        let every_ns = every_ns.max(1);
        let mut left = ns / every_ns + 1;
        let group = left.div_ceil(SINGLE_MAX);
        let mut waited_ns = ns;
        while left > 0 {
            let count = group.min(left);
            self.record_many(pen, slot(waited_ns), count, count.saturating_mul(waited_ns));
            waited_ns = waited_ns.saturating_sub(every_ns.saturating_mul(group));
            left -= count;
        }
    }

    /// Copies the histogram. Buckets are read one by one while the writer goes on, so the copy may miss records that
    /// were made during it; it never shows one that was not made.
    pub fn read(&self) -> HistogramValues {
        let mut values = HistogramValues { buckets: Vec::with_capacity(SLOTS), sum_ns: 0 };
        self.read_into(&mut values);
        values
    }

    /// Copies the histogram into `values`, which keeps its allocation.
    pub fn read_into(&self, values: &mut HistogramValues) {
        values.buckets.clear();
        values.buckets.extend(self.buckets.iter().map(|bucket| count(bucket.get())));
        values.sum_ns = self.sum_ns.get();
    }
}

/// A copy of a histogram: plain numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramValues {
    /// Count of each slot; [`UPPER_NS`] has their bounds. Always [`SLOTS`] long. Read and merged
    /// ones are at most [`COUNT_MAX`](crate::limits::COUNT_MAX) each.
    pub buckets: Vec<u64>,
    /// Sum of all durations in nanoseconds, any number: many may have waited at the same time.
    pub sum_ns: u64,
}

impl Default for HistogramValues {
    fn default() -> Self {
        HistogramValues { buckets: vec![0; SLOTS], sum_ns: 0 }
    }
}

impl HistogramValues {
    /// Counts a duration in nanoseconds, in a copy: for what a reader measures itself.
    pub fn record(&mut self, ns: u64) {
        self.buckets[slot(ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        sum(&self.buckets)
    }

    /// Tells whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        // All of them, without a branch for each: most histograms of most loops are empty.
        self.buckets.iter().fold(0, |any, count| any | count) == 0
    }

    /// Returns how many durations were at most `2^(eighths/8)` seconds: exact, because that is a boundary. What is beyond the
    /// grid's ends is clamped to them.
    pub fn count_within(&self, eighths: i32) -> u64 {
        sum(&self.buckets[..=slot_of(eighths)])
    }

    /// Returns a bound of the `q`-quantile (0 to 1), in nanoseconds, or `None` where nothing was counted: the upper
    /// bound of the bucket that holds it, or less where the sum has no room for so much. Within one bucket (9 %) of
    /// the truth, and exact where a single duration was counted.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        self.quantile_at_most_ns(q, None)
    }

    /// Returns the same where it is known that no duration was longer than `longest_ns`: a quantile that is told
    /// beside that is not above it. A bound that contradicts the counts, because the two were not read at once, is
    /// not followed out of the bucket.
    pub fn quantile_at_most_ns(&self, q: f64, longest_ns: Option<u64>) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let found = self.buckets.iter().position(|bucket| {
            seen = bucket.saturating_add(seen);
            seen >= rank
        });
        let slot = found.filter(|_| count > 0)?;
        let most_ns = UPPER_NS[slot].min(self.room_ns(slot, seen - rank + 1));
        Some(most_ns.min(longest_ns.unwrap_or(u64::MAX)).max(least_ns(slot)))
    }

    /// Returns a bound of the longest duration that was counted, likewise.
    pub fn longest_ns(&self) -> Option<u64> {
        self.quantile_ns(1.0)
    }

    /// Returns what the sum leaves for each of the `upper` longest durations of a bucket, in nanoseconds, when all
    /// others are as short as their buckets allow.
    fn room_ns(&self, slot: usize, upper: u64) -> u64 {
        let least = |(at, count): (usize, &u64)| {
            let others = if at == slot { count.saturating_sub(upper) } else { *count };
            u128::from(others) * u128::from(least_ns(at))
        };
        let others_ns: u128 = self.buckets.iter().enumerate().map(least).sum();
        let room_ns = u128::from(self.sum_ns).saturating_sub(others_ns) / u128::from(upper);
        u64::try_from(room_ns).unwrap_or(u64::MAX)
    }

    /// Returns what was counted since `earlier`, a copy of the same histogram.
    pub fn since(&self, earlier: &HistogramValues) -> HistogramValues {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now.saturating_sub(*then));
        HistogramValues { buckets: buckets.collect(), sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns) }
    }

    /// Raises each count, and the sum, to that of `other` where it is less.
    pub fn raise_to(&mut self, other: &HistogramValues) {
        for (bucket, least) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = (*bucket).max(*least);
        }
        self.sum_ns = self.sum_ns.max(other.sum_ns);
    }

    /// Adds the counts of `other`. No bucket exceeds [`COUNT_MAX`](crate::limits::COUNT_MAX) afterwards either, so that all
    /// of them together are less than 2^64.
    pub fn merge(&mut self, other: &HistogramValues) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = count(bucket.saturating_add(*more));
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// Returns the shortest duration of a slot, in nanoseconds.
fn least_ns(slot: usize) -> u64 {
    slot.checked_sub(1).map_or(0, |below| UPPER_NS[below] + 1)
}

/// Adds counts, saturating: anybody may have made the values.
fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(all(test, not(loom)))]
#[path = "histogram_tests.rs"]
mod tests;
