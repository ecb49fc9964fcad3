//! The few numbers that a watching agent reads on every tick: a page's snapshot is some hundred times as long.

use crate::clock::{Clock, Ticks};
use crate::page::Page;
use crate::pool::PoolNow;
use crate::snapshot::NowValues;

/// What a page says about the present, without histograms and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// What runs.
    pub now: NowValues,
    /// Start of the busy stretch that `now` is about; [`Ticks::NONE`] while the loop is in its poll.
    pub busy_since: Ticks,
    /// When the loop last went into its poll.
    pub parked_since: Ticks,
    /// Time outside the poll in nanoseconds, the running stretch included.
    pub active_ns: u64,
    /// Time in the poll in nanoseconds, the running poll included.
    pub idle_ns: u64,
    /// Callbacks and drained jobs that ever ended: the number of the next record.
    pub records: u64,
    /// Stretches longer than the warning threshold that have ended.
    pub stalls_ended: u64,
    /// The pool; `None` where the page has none.
    pub pool: Option<PoolNow>,
}

impl Page {
    /// Reads the vitals as of `taken`, a moment on `clock`, which must be the page's own. About thirty loads, no
    /// allocation.
    pub fn vitals_at(&self, clock: &Clock, taken: Ticks) -> Vitals {
        let (words, tallies) = (&self.now, &self.tallies);
        let mut since = words.busy_since.observe();
        let mut now = self.now_values(taken, clock);
        // The stretch may change in between; a loop that turns faster than this loop is not stalled.
        for _ in 0..4 {
            let again = words.busy_since.observe();
            if again == since {
                break;
            }
            since = again;
            now = self.now_values(taken, clock);
        }
        let ns = |ticks: u64| clock.scale().ns(ticks);
        Vitals {
            now,
            busy_since: if now.busy_ns == 0 { Ticks::NONE } else { Ticks(since) },
            parked_since: Ticks(words.parked_since.get()),
            active_ns: ns(tallies.active_ticks.get()).wrapping_add(now.busy_ns),
            idle_ns: ns(tallies.idle_ticks.get()).wrapping_add(now.parked_ns),
            records: self.record_count.get(),
            stalls_ended: tallies.blocked[0].get(),
            pool: self.pool.now(taken, ns),
        }
    }

    /// Tells whether the loop is in its poll: one load (acquire).
    pub fn is_parked(&self) -> bool {
        self.now.busy_since.observe() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Clock, Kind, Life, SiteId, VirtualClock, WorkKind, Writer};

    #[test]
    fn vitals_agree_with_the_snapshot() {
        let time = VirtualClock::starting_at(1_000);
        let mut writer = Writer::builder("vital").clock(Clock::simulated(time.clone())).build();
        let mut pool = writer.take_pool().unwrap();
        pool.threads(1);
        writer.resume();
        time.advance_ns(200_000_000);
        writer.begin(Kind::Timer, SiteId::NONE, Life::UNKNOWN);
        writer.end();
        pool.submitted(WorkKind::Fs);
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
