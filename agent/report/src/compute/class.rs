//! What the time of a stall went to: judged from what the kernel counted for the loop's thread, and from whether the
//! agent's own thread could run meanwhile.

use crate::incident::Class;

/// What was measured of one stall until now. All in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Age of the stall.
    pub age_ns: u64,
    /// For how much of it the thread's times were watched.
    pub watched_ns: u64,
    /// Processor time of the loop's thread within that.
    pub cpu_ns: u64,
    /// Time within that in which the thread was ready and had no processor.
    pub runqueue_ns: u64,
    /// The machine was suspended for so long of the stall.
    pub suspended_ns: u64,
    /// The process stood still for so long of the stall.
    pub standstill_ns: u64,
    /// The kernel says that the loop's thread is stopped now.
    pub is_stopped: bool,
    /// A debugger is attached to the process.
    pub is_traced: bool,
    /// Of the time in which processors had work, the share that the hypervisor gave to others, 0 to 1.
    pub steal_ratio: f64,
    /// The thread was found asleep (true) or running (false); `None` where nobody looked.
    pub is_asleep: Option<bool>,
}

/// Judges the evidence. The first rule that applies decides:
///
/// 1. For half of the stall or more the machine was suspended, or the process stood still: nobody's code.
/// 2. The hypervisor took half of the machine's time or more, and the thread wanted to run: starved. Who sleeps is kept from
///    nothing, and where little else runs either, a little steal is a large share.
/// 3. The thread computed for half of the watched time or more.
/// 4. Else the largest of computing, ready without a processor, and the rest. That is waiting; but where the hypervisor took
///    a tenth or more and the thread was found running, the rest was stolen: kernels do not book that to the thread.
pub fn classify(evidence: &Evidence) -> Class {
    let half = |ns: u64, of_ns: u64| ns > 0 && ns >= of_ns / 2;
    let stopped = if evidence.is_traced { Class::Debugger } else { Class::Stopped };
    if half(evidence.suspended_ns, evidence.age_ns) {
        return Class::Suspended;
    }
    if evidence.is_stopped || half(evidence.standstill_ns, evidence.age_ns) {
        return stopped;
    }
    if evidence.watched_ns == 0 {
        return match evidence.is_asleep {
            Some(true) => Class::Waiting,
            Some(false) => Class::Computing,
            None => Class::Unknown,
        };
    }
    let wanted_ns = evidence.cpu_ns.saturating_add(evidence.runqueue_ns);
    let wants_to_run =
        evidence.is_asleep.map_or(half(wanted_ns, evidence.watched_ns), |is_asleep| !is_asleep);
    if evidence.steal_ratio >= 0.5 && wants_to_run {
        return Class::StarvedOfCpu;
    }
    let rest_ns = evidence.watched_ns.saturating_sub(wanted_ns);
    if half(evidence.cpu_ns, evidence.watched_ns) {
        Class::Computing
    } else if evidence.runqueue_ns >= rest_ns.max(evidence.cpu_ns) {
        Class::StarvedOfCpu
    } else if evidence.cpu_ns >= rest_ns {
        Class::Computing
    } else if evidence.steal_ratio >= 0.1 && evidence.is_asleep == Some(false) {
        Class::StarvedOfCpu
    } else {
        Class::Waiting
    }
}

/// Lateness below this, in nanoseconds, is that of any timer on a busy machine.
const LATE_NS: u64 = 50_000_000;

/// One interval between two looks, as the agent's and the loop's thread spent it. All in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    pub length_ns: u64,
    /// How much later than planned it ended.
    pub late_ns: u64,
    /// In which the agent's thread was ready and had no processor.
    pub agent_runqueue_ns: u64,
    /// Processor time of the loop's thread, and time in which it was ready and had no processor.
    pub loop_ran_ns: u64,
}

/// Returns for how long the whole process stood still in an interval: the agent was late without having waited for a
/// processor, and the loop's thread did nothing either. A stop cannot be told from this while the loop's thread would
/// have slept anyway and the agent is late for some other reason, but the agent has no other.
pub fn standstill_ns(interval: &Interval) -> u64 {
    let unexplained_ns = interval.late_ns.saturating_sub(interval.agent_runqueue_ns);
    let still_ns = unexplained_ns.min(interval.length_ns.saturating_sub(interval.loop_ran_ns));
    if still_ns >= LATE_NS && still_ns >= interval.late_ns / 2 { still_ns } else { 0 }
}

/// Two moments of a stall at which its thread's times were read: as a begin for the watched time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// On the agent's clock.
    pub at_ns: u64,
    pub cpu_ns: u64,
    pub runqueue_ns: u64,
}

/// Returns what a stall that began at `begin_ns` has used until `last`: watched, processor and ready time. `before` is
/// the last reading before it began, `within` the first after; the one nearer to the begin counts.
pub fn used_since(
    begin_ns: u64,
    before: Option<Reading>,
    within: Option<Reading>,
    last: Reading,
) -> (u64, u64, u64) {
    let nearest = [before, within].into_iter().flatten().filter(|reading| reading.at_ns < last.at_ns);
    let Some(from) = nearest.min_by_key(|reading| reading.at_ns.abs_diff(begin_ns)) else { return (0, 0, 0) };
    let watched_ns = last.at_ns - from.at_ns.max(begin_ns);
    let cpu_ns = last.cpu_ns.saturating_sub(from.cpu_ns).min(watched_ns);
    let runqueue_ns = last.runqueue_ns.saturating_sub(from.runqueue_ns).min(watched_ns - cpu_ns);
    (watched_ns, cpu_ns, runqueue_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_table_of_classes() {
        let base = Evidence { age_ns: 100 * MS, watched_ns: 80 * MS, ..Evidence::default() };
        let traced = Evidence { is_traced: true, ..base };
        for (evidence, class) in [
            (Evidence { cpu_ns: 79 * MS, ..base }, Class::Computing),
            (Evidence { cpu_ns: 40 * MS, runqueue_ns: 40 * MS, ..base }, Class::Computing),
            (Evidence { cpu_ns: 30 * MS, runqueue_ns: 50 * MS, ..base }, Class::StarvedOfCpu),
            (Evidence { cpu_ns: 30 * MS, runqueue_ns: 25 * MS, ..base }, Class::Computing),
            (Evidence { cpu_ns: MS, ..base }, Class::Waiting),
            (Evidence { cpu_ns: MS, is_traced: true, ..base }, Class::Waiting),
            (Evidence { cpu_ns: 79 * MS, steal_ratio: 0.6, ..base }, Class::StarvedOfCpu),
            (Evidence { cpu_ns: MS, steal_ratio: 0.6, ..base }, Class::Waiting),
            (Evidence { cpu_ns: MS, steal_ratio: 0.6, is_asleep: Some(true), ..base }, Class::Waiting),
            (
                Evidence { cpu_ns: 14 * MS, steal_ratio: 0.3, is_asleep: Some(false), ..base },
                Class::StarvedOfCpu,
            ),
            (Evidence { cpu_ns: 14 * MS, steal_ratio: 0.3, is_asleep: Some(true), ..base }, Class::Waiting),
            (Evidence { cpu_ns: 14 * MS, is_asleep: Some(false), ..base }, Class::Waiting),
            (Evidence { cpu_ns: 79 * MS, suspended_ns: 50 * MS, ..base }, Class::Suspended),
            (Evidence { standstill_ns: 50 * MS, ..base }, Class::Stopped),
            (Evidence { standstill_ns: 49 * MS, ..base }, Class::Waiting),
            (Evidence { standstill_ns: 90 * MS, ..traced }, Class::Debugger),
            (Evidence { is_stopped: true, ..base }, Class::Stopped),
            (Evidence { is_stopped: true, ..traced }, Class::Debugger),
            (Evidence { watched_ns: 0, ..base }, Class::Unknown),
            (Evidence { watched_ns: 0, is_asleep: Some(true), ..base }, Class::Waiting),
            (Evidence { watched_ns: 0, is_asleep: Some(false), ..base }, Class::Computing),
        ] {
            assert_eq!(classify(&evidence), class, "{evidence:?}");
        }
    }

    #[test]
    fn the_table_of_standstills() {
        let stopped = Interval { length_ns: 5_000 * MS, late_ns: 4_900 * MS, ..Interval::default() };
        for (interval, still_ms) in [
            (stopped, 4_900),
            // The timer's usual lateness.
            (Interval { length_ns: 149 * MS, late_ns: 49 * MS, ..stopped }, 0),
            // The agent waited for a processor.
            (Interval { agent_runqueue_ns: 4_900 * MS, ..stopped }, 0),
            // The loop ran meanwhile: the agent alone was held up.
            (Interval { loop_ran_ns: 4_950 * MS, ..stopped }, 0),
            (Interval { loop_ran_ns: 100 * MS, ..stopped }, 4_900),
            (Interval { agent_runqueue_ns: 1_000 * MS, ..stopped }, 3_900),
        ] {
            assert_eq!(standstill_ns(&interval), still_ms * MS, "{interval:?}");
        }
    }

    #[test]
    fn the_reading_nearest_to_the_begin_counts() {
        let at = |ms: u64, cpu_ms: u64, ready_ms: u64| Reading {
            at_ns: ms * MS,
            cpu_ns: cpu_ms * MS,
            runqueue_ns: ready_ms * MS,
        };
        let last = at(200, 150, 20);
        for (before, within, expected) in [
            // Watched from its begin; what the thread did in the 5 ms before cannot exceed the stall.
            (Some(at(95, 48, 0)), Some(at(160, 112, 8)), (100, 100, 0)),
            (Some(at(95, 58, 19)), None, (100, 92, 1)),
            (Some(at(20, 30, 0)), Some(at(110, 90, 5)), (90, 60, 15)),
            (None, Some(last), (0, 0, 0)),
            (None, None, (0, 0, 0)),
        ] {
            let (watched, cpu, ready) = used_since(100 * MS, before, within, last);
            assert_eq!((watched / MS, cpu / MS, ready / MS), expected);
        }
    }
}
