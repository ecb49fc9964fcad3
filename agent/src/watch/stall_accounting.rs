//! What the loop's thread used, and for how long nobody could run, within the busy period under way.

use loopscope_probe::Ticks;
use loopscope_report::compute::classify::{
    EndReading, Interval, Reading, Used, standstill_ns, used_at_end, used_since,
};

/// The interval between the last look of the agent and this one, as the agent's own thread spent it. In nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    pub length_ns: u64,
    /// How much later than planned the look began.
    pub late_ns: u64,
    /// In which the agent's thread was ready and had no processor.
    pub runqueue_ns: u64,
    /// For which the machine was suspended.
    pub suspended_ns: u64,
}

/// The readings of a busy period that is over.
#[derive(Clone, Copy, Debug)]
struct ClosedStretch {
    before: Option<Reading>,
    within: Option<Reading>,
    last: Reading,
    after: Reading,
}

/// The end of a stall, for a last word on what it used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StallEnd {
    /// Begin and end on the agent's clock, in nanoseconds.
    pub begin_ns: u64,
    pub end_ns: u64,
    /// See [`EndReading`].
    pub has_rested: bool,
    pub was_ready: bool,
}

/// Follows the thread of one loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StallAccounting {
    stretch: Ticks,
    before: Option<Reading>,
    within: Option<Reading>,
    last: Option<Reading>,
    /// The reading before that.
    previous: Option<Reading>,
    /// The busy period before: its readings, and the first one after it.
    closed: Option<ClosedStretch>,
    /// For which the process stood still, and the machine was suspended, within the busy period.
    pub standstill_ns: u64,
    pub suspended_ns: u64,
    /// The same within the last gap alone.
    pub gap_standstill_ns: u64,
    pub gap_suspended_ns: u64,
}

impl StallAccounting {
    /// Takes one look: `reading` is the thread's, `None` where the kernel does not tell.
    pub(crate) fn look(&mut self, busy_since: Ticks, reading: Option<Reading>, gap: Gap) {
        let loop_ran_ns = match (self.last, reading) {
            (Some(last), Some(now)) => {
                let delta = |now: u64, last: u64| now.saturating_sub(last);
                delta(now.cpu_ns, last.cpu_ns) + delta(now.runqueue_ns, last.runqueue_ns)
            }
            _ => 0,
        };
        let Gap { length_ns, late_ns, runqueue_ns, suspended_ns } = gap;
        let interval = Interval { length_ns, late_ns, agent_runqueue_ns: runqueue_ns, loop_ran_ns };
        (self.gap_standstill_ns, self.gap_suspended_ns) = (standstill_ns(&interval), suspended_ns);
        if busy_since != self.stretch {
            let (before, within) = (self.before, self.within);
            self.closed =
                self.last.zip(reading).map(|(last, after)| ClosedStretch { before, within, last, after });
            self.stretch = busy_since;
            (self.before, self.within) = (self.last, reading);
            (self.standstill_ns, self.suspended_ns) = (0, 0);
        }
        self.standstill_ns += self.gap_standstill_ns;
        self.suspended_ns += self.gap_suspended_ns;
        if reading.is_some() {
            self.previous = std::mem::replace(&mut self.last, reading);
        }
    }

    /// Returns what the busy period that began at `begin_ns` on the agent's clock has used.
    pub(crate) fn used(&self, begin_ns: u64) -> Used {
        self.last.map_or(Used::default(), |last| used_since(begin_ns, self.before, self.within, last))
    }

    /// Returns what a busy period that is over and was no stall at the look before has used: at least, where it also began
    /// after that look, as the thread may have used the rest of the time otherwise. `None` where the kernel does not tell.
    pub(crate) fn used_unseen(&self, end: StallEnd) -> Option<Used> {
        let (from, to) = (self.previous?, self.last?);
        if end.begin_ns < from.at_ns {
            return self.used_at_end(end).filter(|_| self.closed.is_some_and(|closed| closed.after == to));
        }
        let length_ns = end.end_ns.saturating_sub(end.begin_ns);
        let other_ns = to.at_ns.saturating_sub(from.at_ns).saturating_sub(length_ns);
        let least = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns).saturating_sub(other_ns);
        let cpu_ns = least(from.cpu_ns, to.cpu_ns).min(length_ns);
        let runqueue_ns = least(from.runqueue_ns, to.runqueue_ns).min(length_ns - cpu_ns);
        Some(Used { watched_ns: length_ns, cpu_ns, runqueue_ns })
    }

    /// Returns what the busy period that was found to be over at this look had used at its end; `None` where the
    /// kernel does not tell any more.
    pub(crate) fn used_at_end(&self, end: StallEnd) -> Option<Used> {
        let ClosedStretch { before, within, last, after } = self.closed?;
        let until = used_since(end.begin_ns, before, within, last);
        let StallEnd { end_ns, has_rested, was_ready, .. } = end;
        let reading = EndReading { within: last, after, end_ns, has_rested, was_ready };
        (until.watched_ns > 0).then(|| used_at_end(until, &reading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_stretch_is_charged_with_its_own_time_only() {
        let mut meter = StallAccounting::default();
        let reading = |at: u64, cpu: u64| Some(Reading { at_ns: at * MS, cpu_ns: cpu * MS, runqueue_ns: 0 });
        let gap =
            |length: u64, late: u64| Gap { length_ns: length * MS, late_ns: late * MS, ..Gap::default() };
        meter.look(Ticks(0), reading(1_000, 500), gap(100, 0));
        // The busy period began at 1,010.
        meter.look(Ticks(7), reading(1_060, 550), gap(60, 0));
        meter.look(Ticks(7), reading(1_110, 600), gap(50, 0));
        let used =
            |watched: u64, cpu: u64| Used { watched_ns: watched * MS, cpu_ns: cpu * MS, runqueue_ns: 0 };
        assert_eq!(meter.used(1_010 * MS), used(100, 100));
        assert_eq!(meter.standstill_ns, 0);
        meter.look(Ticks(7), reading(4_110, 601), gap(3_000, 2_900));
        assert_eq!((meter.standstill_ns, meter.gap_standstill_ns), (2_900 * MS, 2_900 * MS));
        meter.look(Ticks(9), reading(4_200, 603), gap(90, 0));
        assert_eq!((meter.standstill_ns, meter.used(4_190 * MS)), (0, used(10, 2)));
        let (end, rest) =
            (StallEnd { begin_ns: 1_010 * MS, end_ns: 4_150 * MS, has_rested: true, was_ready: false }, 40);
        assert_eq!(meter.used_at_end(end), Some(used(4_190 - 1_010 - rest, 103)));
    }

    #[test]
    fn of_a_stretch_between_two_looks_is_told_what_it_used_at_least() {
        let mut meter = StallAccounting::default();
        let reading = |at: u64, cpu: u64, ready: u64| {
            Some(Reading { at_ns: at * MS, cpu_ns: cpu * MS, runqueue_ns: ready * MS })
        };
        let used = |begin: u64, end: u64, meter: &StallAccounting| {
            let end = StallEnd { begin_ns: begin * MS, end_ns: end * MS, has_rested: true, was_ready: false };
            meter
                .used_unseen(end)
                .map(|used| [used.watched_ns, used.cpu_ns, used.runqueue_ns].map(|ns| ns / MS))
        };
        meter.look(Ticks(0), reading(1_000, 500, 0), Gap::default());
        assert_eq!(used(900, 950, &meter), None);
        meter.look(Ticks(0), reading(1_200, 520, 150), Gap::default());
        assert_eq!(used(1_010, 1_190, &meter), Some([180, 0, 130]), "20 ms of either may be others'");
        assert_eq!(used(1_100, 1_150, &meter), Some([50, 0, 0]), "all of it may be");
        // It was busy at the look before, and no stall yet.
        meter.look(Ticks(7), reading(1_260, 525, 200), Gap::default());
        meter.look(Ticks(0), reading(1_400, 530, 330), Gap::default());
        assert_eq!(used(1_210, 1_400, &meter), Some([190, 10, 175]));
    }
}
