//! Rules about what is around the program: processors, suspends, and the agent itself.

use crate::diagnose::evidence::{LoopEvidence, Quota, SeenStall};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::incident::{Class, Incident};
use crate::words::{count, percent, share};

/// An agent that has not looked at a busy loop for so long is late, in nanoseconds. It should look every 25 ms.
const AGENT_LATE_NS: u64 = 500_000_000;

/// Shares of the time watched, and of the time the thread wanted a processor, from which on the lack of one is told.
const STARVED_OF_WATCHED: f64 = 0.05;
const STARVED_OF_WANTED: f64 = 0.2;

/// Returns for how long the thread had to wait for a processor, and which share of the time that it wanted one; `None`
/// where that is little.
fn waited_for_cpu(evidence: &LoopEvidence) -> Option<(u64, f64)> {
    let cpu = evidence.cpu?;
    let part = share(cpu.runqueue_ns, cpu.run_ns.saturating_add(cpu.runqueue_ns));
    let of_watched = share(cpu.runqueue_ns, evidence.watched_ns);
    (part >= STARVED_OF_WANTED && of_watched >= STARVED_OF_WATCHED).then_some((cpu.runqueue_ns, part))
}

/// Tells whether the lack of processors explains what else is wrong.
pub(crate) fn is_starved(evidence: &LoopEvidence) -> bool {
    waited_for_cpu(evidence).is_some_and(|(_, part)| part >= 0.5)
}

/// Stalls that were seen, and went to this.
fn seen_as(evidence: &LoopEvidence, class: Class) -> u64 {
    evidence.stalls.iter().filter(|stall| stall.class(evidence.warning_ns) == class).count() as u64
}

/// The loop's thread has to wait for a processor. Who has it is not known, save where it is nobody: a CPU quota.
pub(crate) fn starved_of_cpu(evidence: &LoopEvidence) -> Vec<Finding> {
    let incidents = of_class(evidence, |class| class == Class::StarvedOfCpu);
    let waited = waited_for_cpu(evidence);
    // The same stall may be both.
    let agreeing = seen_as(evidence, Class::StarvedOfCpu).max(incidents.len() as u64);
    if waited.is_none() && agreeing == 0 {
        return Vec::new();
    }
    let quota = quota_to_blame(evidence);
    let (headline, remedy) = match quota {
        Some(_) => (
            format!("{} is throttled by the CPU quota of its cgroup", evidence.named()),
            "raise the quota (`cpu.max`, or `cpu.cfs_quota_us`; in Kubernetes the CPU limit), or use fewer compute \
             threads; the durations above include this waiting time",
        ),
        None => (
            format!("{} had to wait for a CPU", evidence.named()),
            "check what else runs here (`top`), its nice value, and steal time; the durations above include this \
             waiting time, lag does not if the loop was about to return from its poll",
        ),
    };
    let certainty = match (waited, agreeing) {
        (Some(_), _) => Certainty::Certain,
        (None, 1) => Certainty::Possible,
        _ => Certainty::Likely,
    };
    let waited = waited.map(|(runqueue_ns, part)| {
        format!(
            "its thread was runnable but not scheduled for {} of {}: {} of the CPU time it wanted",
            show_ns(runqueue_ns),
            show_ns(evidence.watched_ns),
            percent(part)
        )
    });
    let used_up = quota.map(used_up);
    let processors = (evidence.processors > 0)
        .then(|| format!("the process may use {}", count(evidence.processors, "CPU")));
    let stalls = (evidence.stalls() > 0).then(|| {
        let longest = evidence.stalls.iter().max_by_key(|stall| stall.ns);
        let longest = longest.map(|stall| format!(", the longest {} in {}", show_ns(stall.ns), stall.label));
        format!("{} meanwhile{}", count(evidence.stalls(), "stall"), longest.unwrap_or_default())
    });
    let blamed = (!incidents.is_empty())
        .then(|| format!("{} waiting for a CPU", count(incidents.len() as u64, "incident")));
    let mut finding = Finding::new(&evidence.name, Urgency::Warning, certainty, headline)
        .because_of(waited)
        .because_of(used_up)
        .because_of(blamed)
        .because_of(processors)
        .because_of(stalls)
        .remedy(remedy);
    finding.incidents = incidents;
    vec![finding]
}

fn used_up(quota: Quota) -> String {
    format!(
        "the quota was used up in {} of {}, throttling the process for {}",
        quota.throttled_periods,
        count(quota.periods, "period"),
        show_ns(quota.throttled_ns)
    )
}

/// Returns the CPU quota where it explains why the thread had no processor: it held the process back for half of that
/// time or more, or most of the incidents say so.
fn quota_to_blame(evidence: &LoopEvidence) -> Option<Quota> {
    let starved = || evidence.incidents.iter().filter(|incident| incident.class == Class::StarvedOfCpu);
    let told = starved().filter(|incident| incident.is_throttled()).count();
    let is_told = told > 0 && told * 2 >= starved().count();
    let is_seen = |quota: &Quota| {
        let waited_ns = evidence.cpu.map_or(u64::MAX, |cpu| cpu.runqueue_ns);
        quota.throttled_periods > 0 && quota.throttled_ns.saturating_mul(2) >= waited_ns
    };
    evidence.quota.filter(|quota| quota.throttled_periods > 0 && (is_told || is_seen(quota)))
}

/// The process or the machine stood still.
pub(crate) fn stood_still(evidence: &LoopEvidence) -> Vec<Finding> {
    if let Some(ns) = evidence.stopped_ns {
        return vec![stopped_now(evidence, ns)];
    }
    let incidents = of_class(evidence, |class| !class.may_be_code());
    let is_such = |incident: &&Incident| !incident.class.may_be_code();
    let told = evidence.incidents.iter().filter(is_such).max_by_key(|incident| incident.duration_ns);
    // Without an agent: the kernel said so.
    let is_stopped = |stall: &&SeenStall| stall.class(evidence.warning_ns) == Class::Stopped;
    let seen = evidence.stalls.iter().filter(is_stopped).map(|stall| stall.ns).max();
    let Some(longest_ns) = told.map(|incident| incident.duration_ns).max(seen) else { return Vec::new() };
    let count_of = incidents.len().max(evidence.stalls.iter().filter(is_stopped).count()) as u64;
    let why = match told.map_or(Class::Stopped, |incident| incident.class) {
        Class::Suspended => "the machine was suspended",
        Class::Debugger => "a debugger stopped the process",
        _ => "the process, or its virtual machine, was stopped (SIGSTOP, cgroup freezer, debugger)",
    };
    let headline = format!("{} was stopped, not blocked by its code: {why}", evidence.named());
    let mut finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because(format!("{}, the longest {}", count(count_of, "time"), show_ns(longest_ns)))
        .remedy("none needed in the program");
    finding.incidents = incidents;
    vec![finding]
}

/// It is stopped, whether that fell into a busy period or into a poll, where nobody else notices.
fn stopped_now(evidence: &LoopEvidence, ns: u64) -> Finding {
    let headline = format!("{} is stopped: its process runs nothing until it is continued", evidence.named());
    let mut finding = Finding::new(&evidence.name, Urgency::Critical, Certainty::Certain, headline)
        .because(format!("its thread was found stopped, for at least {}", show_ns(ns)))
        .remedy(format!("continue it: `kill -CONT {}`, or from its debugger", evidence.pid));
    finding.incidents = of_class(evidence, |class| !class.may_be_code());
    finding
}

fn of_class(evidence: &LoopEvidence, is_wanted: impl Fn(Class) -> bool) -> Vec<String> {
    let wanted = evidence.incidents.iter().filter(|incident| is_wanted(incident.class));
    wanted.map(|incident| incident.id.to_string()).collect()
}

/// The agent does not look as often as it should. One that was stopped with its process is not late.
pub(crate) fn agent_late(evidence: &LoopEvidence) -> Vec<Finding> {
    if !stood_still(evidence).is_empty() {
        return Vec::new();
    }
    let Some(late_ns) = evidence.agent_late_ns.filter(|ns| *ns >= AGENT_LATE_NS) else { return Vec::new() };
    let headline =
        format!("the agent itself was late: it did not check {} for {}", evidence.named(), show_ns(late_ns));
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because("it ticks every 25 ms while there is work; counters on the page stay exact".to_owned())
        .remedy(
            "check whether the machine is short of CPU time; until then, stacks and live gauges are late",
        );
    vec![finding]
}
