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

/// A poll, or a busy period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    /// [`Ticks::NONE`] for a poll.
    busy_since: Ticks,
    /// Begin of this poll, or of the one before this busy period.
    parked_since: Ticks,
}

impl Page {
    /// Reads the vitals as of `taken`, a moment on `clock`, which must be the page's own. About thirty loads, no
    /// allocation.
    pub fn vitals_at(&self, clock: &Clock, taken: Ticks) -> Vitals {
        self.vitals_by(|period| self.vitals_within(period, clock, taken))
    }

    /// [`Page::vitals_at`], where `read` reads what the page says of the given period, while the writer goes on.
    fn vitals_by(&self, read: impl Fn(Period) -> Vitals) -> Vitals {
        let mut period = self.period();
        let mut vitals = read(period);
        // A period that ended meanwhile may be counted both as running and as over: read again. A loop that turns
        // faster than this one is not stalled, and the last reading is good enough.
        for _ in 0..8 {
            // Pairs with the release fence after each change of `busy_since`: whoever read a number that was stored
            // after the change sees the change here.
            fence(Ordering::Acquire);
            if self.is_still(period) {
                break;
            }
            period = self.period();
            vitals = read(period);
        }
        vitals
    }

    /// Returns which period the loop is in. Busy periods are told apart by their begin; while the loop polls, that is 0, and
    /// polls are told apart by theirs: a reader that was interrupted for a whole busy period finds "polling" again.
    fn period(&self) -> Period {
        let parked_since = Ticks(self.now.parked_since.get());
        // Whoever read the begin of a poll sees below that the poll before it is over: "polling" is then this one, and
        // what was counted before it is seen, too.
        fence(Ordering::Acquire);
        Period { busy_since: Ticks(self.observe_busy()), parked_since }
    }

    /// Tells whether the loop is in the same period still. In this order: whoever sees that a poll has begun sees when.
    fn is_still(&self, period: Period) -> bool {
        Ticks(self.observe_busy()) == period.busy_since
            && Ticks(self.now.parked_since.get()) == period.parked_since
    }

    fn vitals_within(&self, period: Period, clock: &Clock, taken: Ticks) -> Vitals {
        let since = period.busy_since;
        let (words, tallies) = (&self.now, &self.tallies);
        let ns = |ticks: u64| clock.scale().duration_ns(ticks);
        let (mut told, seen) = match self.is_observed() {
            // Copied whole: of whatever period it is, it is true.
            true => self.control.observed(),
            false => {
                let told = Observed {
                    busy_since: Ticks(words.busy_since.get()),
                    parked_since: period.parked_since,
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
    use super::Vitals;
    use crate::{Clock, Kind, SiteId, TaskTimes, Ticks, VirtualClock, WorkKind, Writer};
    use std::cell::{Cell, RefCell};

    const S: u64 = 1_000_000_000;

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

    #[test]
    fn a_period_that_ends_while_the_page_is_read_is_counted_once() {
        // Until the reader goes on, the loop parks and unparks so many times.
        let all = [(false, 4), (true, 3), (false, 1), (false, 2), (false, 3), (true, 1), (true, 2)];
        for &(is_busy, changes) in &all[..if cfg!(miri) { 2 } else { all.len() }] {
            let time = VirtualClock::starting_at(1_000);
            let mut writer = Writer::builder("vital").clock(Clock::simulated(time.clone())).build();
            writer.resume();
            writer.park();
            if is_busy {
                writer.unpark(1);
            }
            time.advance_ns(60 * S);
            let (memory, clock) = (writer.track.page.memory.clone(), writer.clock().clone());
            let taken = clock.now();
            let (writer, is_first) = (RefCell::new(writer), Cell::new(true));
            let read = |period| {
                let before = memory.page().vitals_within(period, &clock, taken);
                if !is_first.replace(false) {
                    return before;
                }
                let mut writer = writer.borrow_mut();
                for change in 0..changes {
                    time.advance_ns(S);
                    match is_busy == (change % 2 == 0) {
                        true => writer.park(),
                        false => writer.unpark(1),
                    }
                }
                // What the reader had not read yet is of now.
                let later = memory.page().vitals_within(period, &clock, taken);
                Vitals { now: before.now, parked_since: before.parked_since, ..later }
            };
            let torn = memory.page().vitals_by(read);
            let whole = memory.page().vitals_at(&clock, taken);
            assert_eq!(torn, whole, "busy {is_busy}, {changes} changes");
            let lived_ns = clock.ns_between(Ticks(1_000), clock.now());
            let told_ns = torn.active_ns + torn.idle_ns;
            // One that has just begun counts as a nanosecond.
            assert!(told_ns <= lived_ns + 1, "busy {is_busy}, {changes} changes: {told_ns} of {lived_ns}");
        }
    }
}
