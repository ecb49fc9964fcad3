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
    /// The first reading with the times of the last one: the kernel adds time without a processor only when it is over.
    moved: Option<Reading>,
    /// When the thread was last seen asleep within the stretch, on the agent's clock.
    asleep_at_ns: u64,
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
            (self.standstill_ns, self.suspended_ns, self.asleep_at_ns) = (0, 0, 0);
        }
        self.standstill_ns += self.gap_standstill_ns;
        self.suspended_ns += self.gap_suspended_ns;
        let times = |reading: Reading| (reading.cpu_ns, reading.runqueue_ns);
        if let Some(now) = reading
            && self.moved.map(times) != Some(times(now))
        {
            self.moved = reading;
        }
        self.last = reading.or(self.last);
    }

    /// Returns for how long the thread, which was found in this state now, has been ready without a processor until now, in
    /// nanoseconds, where the kernel has not counted that yet: it has neither run nor slept since.
    pub(crate) fn ready_ns(&mut self, is_asleep: Option<bool>) -> u64 {
        let (Some(last), Some(moved)) = (self.last, self.moved) else { return 0 };
        if is_asleep != Some(false) {
            self.asleep_at_ns = last.at_ns;
        }
        last.at_ns.saturating_sub(moved.at_ns.max(self.asleep_at_ns))
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
    fn a_thread_that_waits_for_a_processor_right_now_is_ready_though_the_kernel_counts_it_later() {
        let reading =
            |at: u64, ready: u64| Some(Reading { at_ns: at * MS, cpu_ns: 5, runqueue_ns: ready * MS });
        let mut meter = StallAccounting::default();
        for at in [1_000, 1_100, 1_250] {
            meter.look(Ticks(7), reading(at, 3), Gap::default());
        }
        assert_eq!(meter.ready_ns(Some(false)), 250 * MS);
        meter.look(Ticks(7), reading(1_300, 303), Gap::default());
        assert_eq!(meter.ready_ns(Some(false)), 0, "the kernel has counted it");
        // One that was asleep was not ready before it woke up.
        meter.look(Ticks(7), reading(1_400, 303), Gap::default());
        assert_eq!(meter.ready_ns(Some(true)), 0);
        meter.look(Ticks(7), reading(1_450, 303), Gap::default());
        assert_eq!(meter.ready_ns(Some(false)), 50 * MS);
        assert_eq!(meter.ready_ns(None), 0, "nobody knows");
    }

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
