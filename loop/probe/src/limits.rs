//! The largest numbers that a reader takes from a page.
//!
//! A page that another process wrote may hold any number in any word, and everything above the probe adds, multiplies and
//! prints what it reads. So numbers are bounded once, where words become values: what is larger than any real loop can
//! reach counts as the bound. Sums of durations have no bound that a real loop cannot reach, since many may wait or work at
//! the same time: they are taken as they are, and readers add and subtract them saturating, as they do sums over many loops.

/// The largest count: 2^53, which a loop reaches after 285 years at a million a second. Up to here every whole number is
/// an `f64` of its own, as in Prometheus.
pub const COUNT_MAX: u64 = 1 << 53;

/// The longest duration in nanoseconds: 2^60, 36 years. Sixteen of them are less than 2^64.
pub const DURATION_NS_MAX: u64 = 1 << 60;

/// The latest moment in nanoseconds since 1970: that of `i64`, in the year 2262.
pub const UNIX_NS_MAX: u64 = i64::MAX as u64;

/// The deepest node of the tree of paths: loop, phase, callback, job and 64 spans, with room to spare. A reader walks from
/// each node to the root, so a tree of one long chain would cost it the square of its length.
pub const DEPTH_MAX: u8 = 96;

/// Returns a count as it was read, at most [`COUNT_MAX`].
#[inline]
pub(crate) fn count(word: u64) -> u64 {
    word.min(COUNT_MAX)
}

/// Returns a number of things that exist now, at most [`COUNT_MAX`]. The writer adds and subtracts, wrapping, so that a
/// number read in the middle of a change may be a little below 0, which is 0.
#[cfg(not(loom))]
#[inline]
pub(crate) fn gauge(word: u64) -> u64 {
    if word > i64::MAX as u64 { 0 } else { count(word) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn real_numbers_pass_and_absurd_ones_are_the_bound() {
        for (word, as_count, as_gauge) in [
            (0, 0, 0),
            (12_345, 12_345, 12_345),
            (COUNT_MAX, COUNT_MAX, COUNT_MAX),
            (1 << 60, COUNT_MAX, COUNT_MAX),
            (u64::MAX - 2, COUNT_MAX, 0),
        ] {
            assert_eq!((count(word), gauge(word)), (as_count, as_gauge), "{word}");
        }
    }
}
