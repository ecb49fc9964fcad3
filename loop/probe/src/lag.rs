//! Lag, computed exactly: how long an event that becomes ready at a random moment waits until the loop polls.
//!
//! One virtual event arrives in every millisecond, at a random moment within it. An arrival in a busy period waits
//! until the busy period ends; an arrival in the poll waits 0. Nothing is sampled by a timer, an idle loop is not woken,
//! and the count of events grows by exactly 1,000 a second, which is a check on the whole.
//!
//! The moment within the millisecond is random and not its boundary, because loops live by millisecond timers: busy
//! periods begin right after such boundaries, and arrivals fixed to them would never fall into a short busy period.
//!
//! Cost: one comparison at each `park` and `unpark` in which no arrival fell. A long busy period costs at most
//! `NEAR` steps and one closed form per bucket.

use crate::histogram::{SLOT_OVERFLOW, UPPER_NS};

pub(crate) const MS_NS: u64 = 1_000_000;

/// Arrivals nearest to the end of a busy period are recorded one by one, at their random moments; those before, whose
/// buckets are wider than a millisecond, as if they came in the middle of theirs.
const NEAR: u64 = 64;

/// The stream of virtual arrivals. Times are nanoseconds on the page's clock since the page was made.
#[derive(Debug)]
pub struct Arrivals {
    /// Begin of the millisecond in which the next arrival falls.
    millisecond_ns: u64,
    next_ns: u64,
    random: u64,
}

/// Takes waits: slot, count, sum of the waits in nanoseconds.
pub trait WaitRecorder {
    /// Counts `count` waits that fall in `slot` of the duration grid and sum up to `sum_ns`.
    fn record(&mut self, slot: usize, count: u64, sum_ns: u64);
}

impl Arrivals {
    /// Returns the stream that begins at 0; `seed` picks the random moments.
    pub fn new(seed: u64) -> Self {
        let mut arrivals = Arrivals { millisecond_ns: 0, next_ns: 0, random: seed | 1 };
        arrivals.next_ns = arrivals.moment();
        arrivals
    }

    /// Returns when the next event arrives. Before that moment neither method below has anything to do.
    #[inline(always)]
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Adds the arrivals of a busy period that ends at `end_ns`: all that came since the last call of either method.
    pub fn busy_period_ends(&mut self, end_ns: u64, recorder: &mut impl WaitRecorder) {
        let last = end_ns / MS_NS;
        let far = last.saturating_sub(NEAR).saturating_sub(self.millisecond_ns / MS_NS);
        if far > 0 {
            record_far(end_ns, self.millisecond_ns + MS_NS / 2, far, recorder);
            self.skip(far);
        }
        while self.next_ns <= end_ns {
            let wait_ns = end_ns - self.next_ns;
            recorder.record(crate::histogram::slot(wait_ns), 1, wait_ns);
            self.skip(1);
        }
    }

    /// Adds the arrivals of a poll that ends at `end_ns`: they wait 0.
    pub fn poll_ends(&mut self, end_ns: u64, recorder: &mut impl WaitRecorder) {
        let whole = (end_ns / MS_NS).saturating_sub(self.millisecond_ns / MS_NS);
        let mut count = whole;
        self.skip(whole);
        if self.next_ns <= end_ns {
            count += 1;
            self.skip(1);
        }
        if count > 0 {
            recorder.record(0, count, 0);
        }
    }

    fn skip(&mut self, milliseconds: u64) {
        if milliseconds > 0 {
            self.millisecond_ns += milliseconds * MS_NS;
            self.next_ns = self.millisecond_ns + self.moment();
        }
    }

    /// Returns a random number of nanoseconds below a millisecond (xorshift64).
    fn moment(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) * MS_NS) >> 32
    }
}

/// Records `count` arrivals at `first_ns` and every millisecond after it, all waiting until `end_ns`: one closed form
/// per bucket.
fn record_far(end_ns: u64, first_ns: u64, count: u64, recorder: &mut impl WaitRecorder) {
    let longest = end_ns - first_ns;
    let shortest = longest - (count - 1) * MS_NS;
    // Arrivals whose wait is at most `bound`: waits are shortest, shortest + 1 ms, ...
    let within = |bound: u64| if bound < shortest { 0 } else { ((bound - shortest) / MS_NS + 1).min(count) };
    let mut below = 0;
    let first_slot = crate::histogram::slot(shortest);
    for (slot, bound) in UPPER_NS.iter().enumerate().take(SLOT_OVERFLOW + 1).skip(first_slot) {
        let upto = within(*bound);
        let more = upto - below;
        if more > 0 {
            let first = shortest.wrapping_add(below.wrapping_mul(MS_NS));
            let steps = u128::from(more) * u128::from(more - 1) / 2;
            let sum = u128::from(first) * u128::from(more) + steps * u128::from(MS_NS);
            recorder.record(slot, more, sum as u64);
        }
        below = upto;
        if below == count {
            return;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::histogram::HistogramValues;
    use proptest::prelude::*;

    impl WaitRecorder for HistogramValues {
        fn record(&mut self, slot: usize, count: u64, sum_ns: u64) {
            self.buckets[slot] += count;
            self.sum_ns = self.sum_ns.wrapping_add(sum_ns);
        }
    }

    #[test]
    fn a_second_is_a_thousand_arrivals_whatever_happens_in_it() {
        for busy_ns in [1, 999, 700_000, 1_000_000, 30_000_000, 999_999_999] {
            let (mut arrivals, mut lag) = (Arrivals::new(7), HistogramValues::default());
            let mut now_ns = 0;
            while now_ns < 1_000_000_000 {
                now_ns = (now_ns + busy_ns).min(1_000_000_000);
                arrivals.busy_period_ends(now_ns, &mut lag);
                now_ns = (now_ns + 333_333).min(1_000_000_000);
                arrivals.poll_ends(now_ns, &mut lag);
            }
            // The arrival of the millisecond that begins at the very end may have come too.
            assert!((1_000..=1_001).contains(&lag.count()), "{busy_ns}: {}", lag.count());
        }
    }

    #[test]
    fn an_idle_loop_books_zeros_only() {
        let (mut arrivals, mut lag) = (Arrivals::new(1), HistogramValues::default());
        arrivals.poll_ends(3_600_000_000_000, &mut lag);
        assert_eq!((lag.buckets[0], lag.sum_ns), (lag.count(), 0));
        assert!(lag.count().abs_diff(3_600_000) <= 1);
    }

    #[test]
    fn a_long_busy_period_is_counted_like_its_single_arrivals() {
        let (mut arrivals, mut lag) = (Arrivals::new(3), HistogramValues::default());
        let length_ns = 10_000_400_000;
        arrivals.busy_period_ends(length_ns, &mut lag);
        let mut expected = HistogramValues::default();
        for millisecond in 0..10_000u64 {
            let wait_ns = length_ns - millisecond * MS_NS - MS_NS / 2;
            expected.record(wait_ns);
        }
        for (at, (got, want)) in lag.buckets.iter().zip(&expected.buckets).enumerate() {
            // Far arrivals are exact; the near 64 ms differ by where in its millisecond each one fell.
            let slack = if UPPER_NS[at] < 80 * MS_NS { 4 } else { 0 };
            assert!(got.abs_diff(*want) <= slack, "slot {at}: {got} against {want}");
        }
        assert!(lag.count().abs_diff(10_000) <= 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

        #[test]
        fn a_random_history_loses_no_arrival(steps in prop::collection::vec((0u64..300_000_000, 0u64..5_000_000), 1..60)) {
            let (mut arrivals, mut lag, mut now_ns) = (Arrivals::new(11), HistogramValues::default(), 0u64);
            let mut busy_ns = 0u128;
            for (period_ns, poll_ns) in steps {
                now_ns += period_ns;
                arrivals.busy_period_ends(now_ns, &mut lag);
                busy_ns += u128::from(period_ns) * u128::from(period_ns) / 2;
                now_ns += poll_ns;
                arrivals.poll_ends(now_ns, &mut lag);
            }
            prop_assert!(lag.count().abs_diff(now_ns / MS_NS) <= 1);
            // The sum of waits is the integral of the waiting time: half the square of each busy period.
            let integral_ns = (busy_ns / u128::from(MS_NS)) as f64;
            prop_assert!((lag.sum_ns as f64 - integral_ns).abs() <= integral_ns * 0.2 + 60.0 * 3e8);
        }
    }
}
