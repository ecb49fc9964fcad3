//! The stalls of the demo's loop as they happen, for the summary: how long, and in what.
//!
//! The page is looked at every few milliseconds, which finds the guilty place; the exact length comes from the page's
//! own counts when the stall has ended.

use crate::ls::describe;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::{Clock, Page};
use std::time::Duration;

/// How often to look: a fraction of the shortest stall.
pub const LOOK: Duration = Duration::from_millis(25);

/// A stall that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    pub ns: u64,
    pub what: String,
}

/// Watches one loop.
#[derive(Debug, Default)]
pub struct Stalls {
    /// What was seen running in the present stall; `None` outside one.
    present: Option<String>,
    ended_count: u64,
    ended_ns: u64,
    pub count: u64,
    pub worst: Option<Stall>,
}

impl Stalls {
    /// Looks at the page.
    pub fn look(&mut self, page: &LocalPage) {
        self.look_at(page.page(), page.clock());
    }

    fn look_at(&mut self, page: &Page, clock: &Clock) {
        let vitals = page.vitals_at(clock, clock.now());
        if vitals.stalls_ended != self.ended_count {
            let counted = page.snapshot(clock).blocked_duration;
            let (count, ns) = (
                counted.count().saturating_sub(self.ended_count),
                counted.sum_ns.wrapping_sub(self.ended_ns),
            );
            (self.ended_count, self.ended_ns) = (counted.count(), counted.sum_ns);
            let what = self.present.take().unwrap_or_else(|| "?".to_owned());
            self.ended(count, ns, what);
        }
        let named = vitals.now.running.filter(|running| running.kind.is_some());
        if vitals.now.busy_ns > page.control().warning_ns() && self.present.is_none() {
            self.present = named.map(|running| describe(&running, page));
        }
    }

    /// Counts `count` stalls that ended, of `ns` nanoseconds together.
    pub fn ended(&mut self, count: u64, ns: u64, what: String) {
        self.count = self.count.saturating_add(count);
        let Some(mean_ns) = ns.checked_div(count) else { return };
        if self.worst.as_ref().is_none_or(|worst| worst.ns < mean_ns) {
            self.worst = Some(Stall { ns: mean_ns, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Kind, SiteId, TaskTimes, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    #[test]
    fn each_stall_has_its_own_length_and_what_ran_in_it() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let mut stalls = Stalls::default();
        writer.resume();
        writer.park();
        for (kind, ms) in [(Kind::Timer, 300), (Kind::IoRead, 200)] {
            writer.unpark(1);
            writer.begin(kind, SiteId::NONE, TaskTimes::UNKNOWN);
            time.advance_ns(ms * MS);
            stalls.look_at(writer.page(), writer.clock());
            writer.end();
            writer.park();
            stalls.look_at(writer.page(), writer.clock());
        }
        let worst = stalls.worst.unwrap();
        assert_eq!((stalls.count, worst.ns), (2, 300 * MS));
        assert!(worst.what.starts_with("timer"), "{}", worst.what);
    }

    #[test]
    fn the_worst_stall_is_kept_with_its_place() {
        let mut stalls = Stalls::default();
        stalls.ended(0, 0, "nothing".to_owned());
        assert_eq!(stalls.worst, None);
        stalls.ended(1, 300, "a".to_owned());
        stalls.ended(1, 200, "b".to_owned());
        assert_eq!((stalls.count, stalls.worst), (2, Some(Stall { ns: 300, what: "a".to_owned() })));
    }
}
