//! The few numbers that a watching agent reads on every tick: a page's snapshot is some hundred times as long.

use crate::clock::{Clock, Ticks};
use crate::limits::count;
use crate::observed::Observed;
use crate::page::Page;
use crate::pool::PoolNow;
use crate::snapshot::NowValues;
use crate::sync::{Ordering, fence};

/// What a page says about the present, without histograms and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vitals {
    /// What runs.
    pub now: NowValues,
    /// Start of the busy period that `now` is about; [`Ticks::NONE`] while the loop is in its poll.
    pub busy_since: Ticks,
    /// When the loop last went into its poll.
    pub parked_since: Ticks,
    /// Time outside the poll in nanoseconds, the running busy period included.
    pub active_ns: u64,
    /// Time in the poll in nanoseconds, the running poll included.
    pub idle_ns: u64,
    /// Callbacks and drained jobs that ever ended: the number of the next record.
    pub records: u64,
    /// Busy periods longer than the warning threshold that have ended.
    pub stalls_ended: u64,
    /// Busy periods longer than the critical threshold that have ended.
    pub critical_ended: u64,
    /// The pool; `None` where the page has none.
    pub pool: Option<PoolNow>,
}

impl Page {
    /// Reads the vitals as of `taken`, a moment on `clock`, which must be the page's own. About thirty loads, no
    /// allocation.
    pub fn vitals_at(&self, clock: &Clock, taken: Ticks) -> Vitals {
        let mut since = self.observe_busy();
        let mut vitals = self.vitals_within(Ticks(since), clock, taken);
        // A busy period that ended meanwhile may be counted both as running and as over: read again. A loop that turns
        // faster than this one is not stalled, and the last reading is good enough.
        for _ in 0..8 {
            // Pairs with the release fence after each change of `busy_since`: whoever read a number that was stored
            // after the change sees the change here.
            fence(Ordering::Acquire);
            let again = self.observe_busy();
            if again == since {
                break;
            }
            since = again;
            vitals = self.vitals_within(Ticks(since), clock, taken);
        }
        vitals
    }

    fn vitals_within(&self, since: Ticks, clock: &Clock, taken: Ticks) -> Vitals {
        let (words, tallies) = (&self.now, &self.tallies);
        let ns = |ticks: u64| clock.scale().duration_ns(ticks);
        let (mut told, seen) = match self.is_observed() {
            true => self.control.observed(),
            false => {
                let told = Observed {
                    busy_since: Ticks(words.busy_since.get()),
                    parked_since: Ticks(words.parked_since.get()),
                    active_ticks: tallies.active_ticks.get(),
                    idle_ticks: tallies.idle_ticks.get(),
                };
                (told, [0; 2])
            }
        };
        let retired = self.control.retired();
        if retired != Ticks::NONE && told.busy_since != Ticks::NONE {
            // What ran when the thread went on to something else ended then.
            told.active_ticks = told.active_ticks.saturating_add(retired.since(told.busy_since));
            told.parked_since = retired;
        }
        let turned = self.control.since_turn(since);
        let now = self.period_values(since, turned, taken, clock, told.parked_since);
        // What is busy since a hidden poll was active before it, too.
        let before_turn = turned.since(since);
        Vitals {
            now,
            busy_since: turned,
            parked_since: told.parked_since,
            active_ns: ns(told.active_ticks.saturating_add(before_turn)).saturating_add(now.busy_ns),
            idle_ns: ns(told.idle_ticks).saturating_add(now.parked_ns),
            records: count(self.record_count.get()),
            stalls_ended: count(tallies.blocked[0].get()).saturating_add(seen[0]),
            critical_ended: count(tallies.blocked[1].get()).saturating_add(seen[1]),
            pool: self.pool.now(taken, ns),
        }
    }

    /// Returns how many polls took longer than so many nanoseconds, about: to a bucket of the histogram.
    pub fn polls_longer_than(&self, ns: u64) -> u64 {
        let waits = self.tallies.poll_wait.read();
        let first = crate::histogram::slot(ns) + 1;
        waits.buckets.iter().skip(first).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns when the busy period that runs began, on the page's clock; [`Ticks::NONE`] while the loop polls.
    /// Whoever sees a period sees what was stored before it.
    pub fn busy_since(&self) -> Ticks {
        self.control.since_turn(Ticks(self.observe_busy()))
    }

    /// Tells whether the loop is in its poll: one load (acquire).
    pub fn is_parked(&self) -> bool {
        self.observe_busy() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Clock, Kind, SiteId, TaskTimes, VirtualClock, WorkKind, Writer};

    #[test]
    fn vitals_agree_with_the_snapshot() {
        let time = VirtualClock::starting_at(1_000);
        let mut writer = Writer::builder("vital").clock(Clock::simulated(time.clone())).build();
        let mut pool = writer.take_pool().unwrap();
        pool.threads(1);
        writer.resume();
        time.advance_ns(200_000_000);
        writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
        writer.end();
        pool.submitted(WorkKind::Fs, pool.clock().now());
        time.advance_ns(5);
        let clock = writer.clock().clone();
        let (vitals, snapshot) =
            (writer.page().vitals_at(&clock, clock.now()), writer.page().snapshot(&clock));
        assert_eq!(vitals.now, snapshot.now);
        assert_eq!((vitals.active_ns, vitals.idle_ns), (snapshot.active_ns, snapshot.idle_ns));
        assert_eq!((vitals.records, vitals.stalls_ended, vitals.busy_since.0), (1, 0, 1_000));
        let (now, values) = (vitals.pool.unwrap(), snapshot.pool.unwrap());
        assert_eq!((now.queued, now.oldest_wait_ns), (values.queued, values.oldest_wait_ns));
        writer.suspend();
        let vitals = writer.page().vitals_at(&clock, clock.now());
        assert_eq!((vitals.stalls_ended, vitals.now.busy_ns, vitals.busy_since.0), (1, 0, 0));
        assert!(writer.page().is_parked());
    }
}
