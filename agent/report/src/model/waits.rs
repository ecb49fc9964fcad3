//! How long events waited for a loop, with what bounds that: nobody waits for longer than a busy period lasts.
//!
//! A histogram gives a quantile to within a bucket, which is up to 9 % wide. So that no wait is shown that is longer than
//! the longest busy period beside it, the lengths of the busy periods are carried along: of one that is alone in its bucket,
//! the sum tells its exact length.

use loopscope_probe::raw::histogram::{HistogramValues, UPPER_NS, slot};
use loopscope_probe::{Clock, Page, Snapshot, Ticks};

/// Virtual arrivals come once in a millisecond.
const ARRIVAL_NS: u64 = 1_000_000;

/// Waits of a period, or since a loop began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Those whose wait was over, and those added by [`Waits::running`].
    pub lag: HistogramValues,
    /// Lengths of the busy periods that were over.
    pub busy_periods: HistogramValues,
    /// Lengths of those that were stalls, without what was announced in them.
    pub stalls: HistogramValues,
    /// Age of the busy period under way at the end, in nanoseconds.
    pub busy_ns: u64,
    /// The longest busy period, in nanoseconds, where all that matter were seen one by one.
    pub seen_longest_ns: Option<u64>,
}

impl Waits {
    /// Returns what a page had counted, without those who wait still.
    pub fn of(snapshot: &Snapshot) -> Waits {
        Waits {
            lag: snapshot.lag.clone(),
            busy_periods: snapshot.iteration.clone(),
            stalls: snapshot.blocked_duration.clone(),
            ..Waits::default()
        }
    }

    /// Returns the same of a page as of `taken`, a moment on `clock`, which must be the page's own.
    pub fn at(page: &Page, clock: &Clock, taken: Ticks) -> Waits {
        let lag = page.lag_at(clock, taken);
        let (busy_periods, stalls) = page.stretches_ended();
        Waits { lag, busy_periods, stalls, ..Waits::default() }
    }

    /// Returns the waits that were over since `earlier`, a copy of the same loop's.
    #[must_use]
    pub fn since(&self, earlier: &Waits) -> Waits {
        Waits {
            lag: self.lag.since(&earlier.lag),
            busy_periods: self.busy_periods.since(&earlier.busy_periods),
            stalls: self.stalls.since(&earlier.stalls),
            ..Waits::default()
        }
    }

    /// Adds those who arrived in a busy period of this age, in nanoseconds, with their waits until now. 0 for a loop in its
    /// poll.
    #[must_use]
    pub fn running(mut self, busy_ns: u64) -> Waits {
        add_waiting(&mut self.lag, busy_ns);
        self.busy_ns = self.busy_ns.max(busy_ns);
        self
    }

    /// Adds those of another loop.
    pub fn merge(&mut self, other: &Waits) {
        self.lag.merge(&other.lag);
        self.busy_periods.merge(&other.busy_periods);
        self.stalls.merge(&other.stalls);
        self.busy_ns = self.busy_ns.max(other.busy_ns);
        // Of the other loop nobody says that all were seen.
        self.seen_longest_ns = self.seen_longest_ns.zip(other.seen_longest_ns).map(|(one, two)| one.max(two));
    }

    /// Raises each count to that of `other` where it is less.
    pub(crate) fn raise_to(&mut self, other: &Waits) {
        self.lag.raise_to(&other.lag);
        self.busy_periods.raise_to(&other.busy_periods);
        self.stalls.raise_to(&other.stalls);
    }

    /// Returns what a share `q` (0 to 1) of the events waited at most, in nanoseconds: within a bucket (9 %) of the
    /// truth, and no longer than the longest busy period, as far as that is known. 0 where nobody waited, `None`
    /// where nobody came.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let longest_ns = self.longest_ns();
        let ns = self.lag.quantile_at_most_ns(q, longest_ns)?;
        // Arrivals of long ago are counted in the middle of their millisecond: the first of a period before its begin.
        let is_near = |longest_ns: &u64| ns.saturating_sub(*longest_ns) < ARRIVAL_NS;
        let ns = longest_ns.filter(is_near).map_or(ns, |longest_ns| ns.min(longest_ns));
        // The first bucket is that of the arrivals that did not wait at all.
        Some(if ns <= UPPER_NS[0] { 0 } else { ns })
    }

    /// Returns a bound of the longest busy period, in nanoseconds; `None` where their lengths are not known.
    fn longest_ns(&self) -> Option<u64> {
        if let Some(longest_ns) = self.seen_longest_ns {
            return Some(longest_ns.max(self.busy_ns));
        }
        let ended = self.busy_periods.longest_ns();
        let top = |values: &HistogramValues| values.buckets.iter().rposition(|count| *count > 0);
        let in_top = |values: &HistogramValues| top(values).map(|slot| (slot, values.buckets[slot]));
        // Those that were longest are the stalls: of these there are few, so their sum says more.
        let stalls = self.stalls.longest_ns().filter(|_| in_top(&self.busy_periods) == in_top(&self.stalls));
        let ended = ended.map(|ns| ns.min(stalls.unwrap_or(ns)));
        ended.max(Some(self.busy_ns).filter(|ns| *ns > 0))
    }
}

fn add_waiting(values: &mut HistogramValues, busy_ns: u64) {
    let count = busy_ns / ARRIVAL_NS;
    // Waits are spread evenly from 0 to the age of the busy period: those up to a bound are the bound's share of them.
    let mut below = 0;
    for (bucket, bound) in values.buckets.iter_mut().zip(UPPER_NS).take(slot(busy_ns) + 1) {
        let upto = (bound / ARRIVAL_NS).min(count);
        *bucket = bucket.saturating_add(upto - below);
        below = upto;
    }
    values.sum_ns = values.sum_ns.saturating_add(count.saturating_mul(busy_ns / 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Kind, SiteId, TaskTimes, VirtualClock, Writer};
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    /// Runs a loop through busy periods of these lengths with polls of 3 ms between, the last of them under way.
    fn lived(busy_us: &[u64], is_last_running: bool) -> Waits {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        for (at, us) in busy_us.iter().enumerate() {
            time.advance_ns(3 * MS);
            writer.unpark(1);
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            time.advance_ns(us * 1_000);
            writer.end();
            if at + 1 < busy_us.len() || !is_last_running {
                writer.park();
            }
        }
        let snapshot = writer.page().snapshot(writer.clock());
        Waits::of(&snapshot).running(snapshot.now.busy_ns)
    }

    #[test]
    fn of_one_stall_of_801_ms_no_wait_is_told_that_is_longer() {
        let of_short = [40, 300, 2_000, 900, 25];
        for is_running in [false, true] {
            let waits = lived(&[&of_short[..], &[801_000]].concat(), is_running);
            let told = [0.99, 1.0].map(|q| waits.quantile_ns(q).unwrap());
            // The bucket ends at 841 ms.
            assert_eq!(waits.lag.quantile_ns(1.0).unwrap() / MS, 840, "as if nobody knew");
            assert!(told.iter().all(|ns| (771 * MS..=801 * MS).contains(ns)), "{is_running}: {told:?}");
        }
    }

    #[test]
    fn what_was_seen_one_by_one_bounds_also_many() {
        let stalls = [801_000, 790_000, 795_000, 772_000];
        let waits = lived(&stalls, false);
        let seen = Waits { seen_longest_ns: Some(801 * MS), ..waits };
        assert_eq!(seen.quantile_ns(1.0), Some(801 * MS));
        // Just below the bound of a bucket, in the next of which its first arrival is counted.
        let near = lived(&[727_114, 601_513, 2_180_889, 120_000], false);
        let near = Waits { seen_longest_ns: Some(2_180_889_000), ..near };
        assert_eq!(near.quantile_ns(1.0), Some(2_180_889_000));
        // A bound that contradicts what was counted is none.
        let wrong = Waits { seen_longest_ns: Some(5 * MS), ..seen };
        assert!(wrong.quantile_ns(1.0) > Some(771 * MS));
    }

    /// What an incident says of the ten seconds before it is the difference of two such copies.
    #[test]
    fn who_comes_while_a_loop_polls_is_counted_before_the_poll_ends() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        let (page, clock) = (writer.page(), writer.clock());
        let earlier = Waits::at(page, clock, clock.now());
        time.advance_ns(10_000 * MS);
        let waits = Waits::at(page, clock, clock.now()).since(&earlier);
        assert_eq!((waits.lag.count(), waits.quantile_ns(0.99)), (10_000, Some(0)));
    }

    #[test]
    fn of_an_idle_loop_nobody_waited() {
        assert_eq!(Waits::default().quantile_ns(0.99), None);
        assert_eq!(lived(&[30], false).quantile_ns(0.99), Some(0));
    }

    proptest! {
        /// Of a single long busy period among short ones, and of whatever an observer has seen one by one, no
        /// quantile exceeds the longest; and none is further than a bucket from the truth of its own bucket.
        #[test]
        fn no_wait_is_told_that_is_longer_than_the_longest_busy_period(
            short in prop::collection::vec(10..900_u64, 0..20), long in 120_000..3_000_000_u64,
            others in prop::collection::vec(120_000..3_000_000_u64, 0..4), is_running: bool, share in 0.0..1.0_f64,
        ) {
            let one = lived(&[&short[..], &[long]].concat(), is_running);
            prop_assert!(one.quantile_ns(share) <= Some(long * 1_000), "{:?}", one.quantile_ns(share));
            let all = [&short[..], &others[..], &[long]].concat();
            let longest = all.iter().max().map(|us| us * 1_000);
            let many = Waits { seen_longest_ns: longest, ..lived(&all, is_running) };
            for q in [share, 0.5, 0.9, 0.99, 1.0] {
                let (told, plain) = (many.quantile_ns(q), many.lag.quantile_ns(q));
                prop_assert!(told <= longest && told <= plain, "{told:?} of {longest:?}");
                prop_assert!(many.quantile_ns(share / 2.0) <= many.quantile_ns(share));
            }
        }
    }
}
