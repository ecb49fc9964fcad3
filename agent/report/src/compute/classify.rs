//! What the time of a stall went to: judged from what the kernel counted for the loop's thread, and from whether the
//! agent's own thread could run meanwhile.

use crate::incident::Class;

/// What was measured of one stall until now. All in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Age of the stall.
    pub age_ns: u64,
    /// The threshold that it crossed; 0 where not known.
    pub threshold_ns: u64,
    /// For how much of it the thread's times were watched.
    pub watched_ns: u64,
    /// Processor time of the loop's thread within that.
    pub cpu_ns: u64,
    /// Time within that in which the thread was ready and had no processor, as far as that had ended.
    pub runqueue_ns: u64,
    /// The machine was suspended for so long of the stall.
    pub suspended_ns: u64,
    /// The process stood still for so long of the stall.
    pub standstill_ns: u64,
    /// The kernel says that the loop's thread is stopped now.
    pub is_stopped: bool,
    /// A debugger is attached to the thread.
    pub is_traced: bool,
    /// A debugger of the runtime's own has paused the program within it: then the thread sleeps.
    pub is_paused: bool,
    /// The thread has given the loop's work to another one: what it used and how it was found is nothing of the loop's.
    pub is_elsewhere: bool,
    /// Of the time in which processors had work, the share that the hypervisor gave to others, 0 to 1.
    pub steal_ratio: f64,
    /// How the thread was found at the last look while the stall lasted; `None` where nobody could.
    pub found: Option<FoundState>,
    /// It was found asleep at that look or an earlier one.
    pub was_asleep: bool,
    /// The stall is over, and the times are those of its end: no wait for a processor is left that is in no account yet.
    pub is_over: bool,
}

impl Evidence {
    /// Returns what is left where the thread does not do the loop's work: what is known of the machine and the process.
    pub fn of_nobody(self) -> Evidence {
        Evidence { watched_ns: 0, cpu_ns: 0, runqueue_ns: 0, found: None, was_asleep: false, ..self }
    }
}

/// How a thread was found at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// Asleep in the kernel.
    Asleep,
    /// On a processor.
    OnProcessor,
    /// Ready to run; it did not get on with its work meanwhile.
    Ready,
}

/// Judges the evidence. The first rule that applies decides:
///
/// 1. For half of the stall or more the machine was suspended, or the process stood still: nobody's code.
/// 2. The thread's own processor time passes the threshold, and it is not known to have slept for longer: it computed for too
///    long, whatever it was starved of beside that. What the hypervisor may have taken of that time does not count.
/// 3. The hypervisor took half of the machine's time or more, and the thread wanted to run: starved. Who sleeps is kept from
///    nothing, and where little else runs either, a little steal is a large share.
/// 4. The thread computed for half of the watched time or more.
/// 5. Else the largest of computing, ready without a processor, and the rest. Of the rest:
///    - where a debugger is attached and the thread was not found asleep, the debugger held it;
///    - where the hypervisor took a tenth or more and the thread was found ready to run, it was stolen: kernels do not count
///      that to the thread;
///    - where it was found asleep, it waited, or a debugger had paused the program;
///    - while the stall lasts, a thread that has no processor now is starved: a wait for one is in no account before it has
///      ended;
///    - nobody knows. Who was never found asleep is not waiting: what is in no account may as well have been stolen.
pub fn classify(evidence: &Evidence) -> Class {
    let half = |ns: u64, of_ns: u64| ns > 0 && ns >= of_ns / 2;
    let stopped = if evidence.is_traced { Class::Debugger } else { Class::Stopped };
    if half(evidence.suspended_ns, evidence.age_ns) {
        return Class::Suspended;
    }
    if evidence.is_stopped || half(evidence.standstill_ns, evidence.age_ns) {
        return stopped;
    }
    let is_asleep = evidence.found.map(|found| found == FoundState::Asleep);
    if evidence.watched_ns == 0 {
        return match evidence.found {
            Some(FoundState::Asleep) => asleep(evidence),
            Some(FoundState::OnProcessor) => Class::Computing,
            Some(FoundState::Ready) => Class::StarvedOfCpu,
            None => Class::Unknown,
        };
    }
    let wanted_ns = evidence.cpu_ns.saturating_add(evidence.runqueue_ns);
    let rest_ns = evidence.watched_ns.saturating_sub(wanted_ns);
    let own_cpu_ns = (evidence.cpu_ns as f64 * (1.0 - evidence.steal_ratio.clamp(0.0, 1.0))) as u64;
    let asleep_ns = if was_asleep(evidence) { rest_ns } else { 0 };
    if evidence.threshold_ns > 0 && own_cpu_ns > evidence.threshold_ns && own_cpu_ns >= asleep_ns {
        return Class::Computing;
    }
    let wants_to_run = is_asleep.map_or(half(wanted_ns, evidence.watched_ns), |is_asleep| !is_asleep);
    if evidence.steal_ratio >= 0.5 && wants_to_run {
        return Class::StarvedOfCpu;
    }
    if half(evidence.cpu_ns, evidence.watched_ns) {
        Class::Computing
    } else if evidence.runqueue_ns >= rest_ns.max(evidence.cpu_ns) {
        Class::StarvedOfCpu
    } else if evidence.cpu_ns >= rest_ns {
        Class::Computing
    } else {
        class_of_rest(evidence)
    }
}

/// Judges time that is in neither account.
fn class_of_rest(evidence: &Evidence) -> Class {
    match evidence.found {
        Some(_) if evidence.is_traced && !was_asleep(evidence) => Class::Debugger,
        Some(FoundState::OnProcessor | FoundState::Ready) if evidence.steal_ratio >= 0.1 => {
            Class::StarvedOfCpu
        }
        _ if was_asleep(evidence) => asleep(evidence),
        Some(FoundState::Ready) if !evidence.is_over => Class::StarvedOfCpu,
        _ => Class::Unknown,
    }
}

/// Judges time in which the thread slept.
fn asleep(evidence: &Evidence) -> Class {
    if evidence.is_paused { Class::Debugger } else { Class::Waiting }
}

fn was_asleep(evidence: &Evidence) -> bool {
    evidence.was_asleep || evidence.found == Some(FoundState::Asleep)
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

/// Returns what a stall that began at `begin_ns` has used until `last`. `before` is
/// the last reading before it began, `within` the first after; the one nearer to the begin counts.
pub fn used_since(begin_ns: u64, before: Option<Reading>, within: Option<Reading>, last: Reading) -> Used {
    let nearest = [before, within].into_iter().flatten().filter(|reading| reading.at_ns < last.at_ns);
    let Some(from) = nearest.min_by_key(|reading| reading.at_ns.abs_diff(begin_ns)) else {
        return Used::default();
    };
    // The last one may be from before the begin, where nobody has come to read since.
    let watched_ns = last.at_ns.saturating_sub(from.at_ns.max(begin_ns));
    let cpu_ns = last.cpu_ns.saturating_sub(from.cpu_ns).min(watched_ns);
    let runqueue_ns = last.runqueue_ns.saturating_sub(from.runqueue_ns).min(watched_ns - cpu_ns);
    Used { watched_ns, cpu_ns, runqueue_ns }
}

/// What a thread used within a stall: times in nanoseconds, of which the last two together are at most the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// For how much of the stall the thread's times were watched.
    pub watched_ns: u64,
    /// On a processor within that.
    pub cpu_ns: u64,
    /// Ready and without a processor within that.
    pub runqueue_ns: u64,
}

/// The first reading after a stall's end, and what may be in it that is not the stall's.
#[derive(Clone, Copy, Debug)]
pub struct EndReading {
    /// The last reading within the stall.
    pub within: Reading,
    /// The first one after it.
    pub after: Reading,
    /// When the stall ended, on the agent's clock.
    pub end_ns: u64,
    /// The loop has been in its poll since then: nothing else ran.
    pub has_rested: bool,
    /// The thread was ready to run at the last look within: what was unaccounted for then may be a wait for a processor.
    pub was_ready: bool,
}

/// Returns what a stall had used at its end, from what it had used at the last reading within.
pub fn used_at_end(until: Used, reading: &EndReading) -> Used {
    let EndReading { within, after, end_ns, has_rested, was_ready } = *reading;
    let tail_ns = end_ns.clamp(within.at_ns, after.at_ns.max(within.at_ns)) - within.at_ns;
    let (cpu_ns, runqueue_ns) =
        (after.cpu_ns.saturating_sub(within.cpu_ns), after.runqueue_ns.saturating_sub(within.runqueue_ns));
    let later_ns = if has_rested { 0 } else { after.at_ns.saturating_sub(end_ns) };
    // As before, where something else ran since and may have used it.
    let share = |ns: u64| u128::from(tail_ns) * u128::from(ns) / u128::from(until.watched_ns.max(1));
    let usual = |ns: u64, most_ns: u64, ran_ns: u64| {
        let least_ns = ran_ns.saturating_sub(later_ns).min(most_ns);
        u64::try_from(share(ns)).unwrap_or(u64::MAX).clamp(least_ns, most_ns)
    };
    let tail_cpu_ns = usual(until.cpu_ns, cpu_ns.min(tail_ns), cpu_ns);
    let rest_ns = until.watched_ns.saturating_sub(until.cpu_ns.saturating_add(until.runqueue_ns));
    let room_ns = (tail_ns - tail_cpu_ns).saturating_add(if was_ready { rest_ns } else { 0 });
    let most_ns = runqueue_ns.min(room_ns);
    let tail_runqueue_ns = match was_ready {
        // It had to end before the thread could go on.
        true => most_ns,
        false => usual(until.runqueue_ns, most_ns, runqueue_ns),
    };
    Used {
        watched_ns: until.watched_ns.saturating_add(tail_ns),
        cpu_ns: until.cpu_ns.saturating_add(tail_cpu_ns),
        runqueue_ns: until.runqueue_ns.saturating_add(tail_runqueue_ns),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
