//! What the loop's thread used, and for how long nobody could run, within the busy stretch under way.

use loopscope_probe::Ticks;
use loopscope_report::compute::class::{Interval, Reading, standstill_ns, used_since};

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

/// Follows the thread of one loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StallAccounting {
    stretch: Ticks,
    before: Option<Reading>,
    within: Option<Reading>,
    last: Option<Reading>,
    /// For which the process stood still, and the machine was suspended, within the stretch.
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
            self.stretch = busy_since;
            (self.before, self.within) = (self.last, reading);
            (self.standstill_ns, self.suspended_ns) = (0, 0);
        }
        self.standstill_ns += self.gap_standstill_ns;
        self.suspended_ns += self.gap_suspended_ns;
        self.last = reading.or(self.last);
    }

    /// Returns what the stretch that began at `begin_ns` on the agent's clock has used: watched, processor and ready
    /// time, in nanoseconds.
    pub(crate) fn used(&self, begin_ns: u64) -> (u64, u64, u64) {
        self.last.map_or((0, 0, 0), |last| used_since(begin_ns, self.before, self.within, last))
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
        // The stretch began at 1,010.
        meter.look(Ticks(7), reading(1_060, 550), gap(60, 0));
        meter.look(Ticks(7), reading(1_110, 600), gap(50, 0));
        assert_eq!(meter.used(1_010 * MS), (100 * MS, 100 * MS, 0));
        assert_eq!(meter.standstill_ns, 0);
        meter.look(Ticks(7), reading(4_110, 601), gap(3_000, 2_900));
        assert_eq!((meter.standstill_ns, meter.gap_standstill_ns), (2_900 * MS, 2_900 * MS));
        meter.look(Ticks(9), reading(4_200, 603), gap(90, 0));
        assert_eq!((meter.standstill_ns, meter.used(4_190 * MS)), (0, (10 * MS, 2 * MS, 0)));
    }
}
