//! Rules about what is around the program: processors, suspends, and the agent itself.

use crate::diagnose::evidence::{LoopEvidence, Quota};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::incident::{Class, Incident};
use crate::words::{count, percent, share};

/// An agent that has not looked at a busy loop for so long is late, in nanoseconds. It should look every 25 ms.
const AGENT_LATE_NS: u64 = 500_000_000;

/// Shares of the time watched, and of the time the thread wanted a processor, from which on the lack of one is told.
const STARVED_OF_WATCHED: f64 = 0.05;
const STARVED_OF_WANTED: f64 = 0.2;

/// The loop's thread has to wait for a processor. Who has it is not known, save where it is nobody: a CPU quota.
pub(crate) fn starved_of_cpu(evidence: &LoopEvidence) -> Vec<Finding> {
    let incidents = of_class(evidence, |class| class == Class::StarvedOfCpu);
    let waited = evidence.cpu.and_then(|cpu| {
        let part = share(cpu.runqueue_ns, cpu.run_ns.saturating_add(cpu.runqueue_ns));
        let of_watched = share(cpu.runqueue_ns, evidence.watched_ns);
        (part >= STARVED_OF_WANTED && of_watched >= STARVED_OF_WATCHED).then_some((cpu.runqueue_ns, part))
    });
    if waited.is_none() && incidents.is_empty() {
        return Vec::new();
    }
    let quota = quota_to_blame(evidence);
    let (headline, remedy) = match quota {
        Some(_) => (
            format!("{} is held back by the CPU quota of its cgroup", evidence.named()),
            "raise the quota (`cpu.max`, or `cpu.cfs_quota_us`; in Kubernetes the CPU limit), or let fewer threads compute at \
             once; durations told above include this waiting",
        ),
        None => (
            format!("{} had to wait for a processor", evidence.named()),
            "look at what else runs here (`top`), at its nice value, and at steal time; durations told above include this \
             waiting, and lag does not where the loop was about to leave its poll",
        ),
    };
    let waited = waited.map(|(runqueue_ns, part)| {
        format!(
            "its thread was ready to run and had no processor for {} of {}: {} of what it wanted",
            show_ns(runqueue_ns),
            show_ns(evidence.watched_ns),
            percent(part)
        )
    });
    let used_up = quota.map(|quota| {
        format!(
            "the quota was used up in {} of {}, which held the process back for {}",
            quota.throttled_periods,
            count(quota.periods, "period"),
            show_ns(quota.throttled_ns)
        )
    });
    let processors = (evidence.processors > 0)
        .then(|| format!("the process may use {}", count(evidence.processors, "processor")));
    let stalls = (evidence.stalls() > 0).then(|| {
        let longest = evidence.stalls.iter().max_by_key(|stall| stall.ns);
        let longest = longest.map(|stall| format!(", the longest {} in {}", show_ns(stall.ns), stall.label));
        format!("{} meanwhile{}", count(evidence.stalls(), "stall"), longest.unwrap_or_default())
    });
    let blamed = (!incidents.is_empty())
        .then(|| format!("{} for want of a processor", count(incidents.len() as u64, "incident")));
    let mut finding = Finding::new(&evidence.name, Urgency::Warning, Certainty::Certain, headline)
        .because_of(waited)
        .because_of(used_up)
        .because_of(blamed)
        .because_of(processors)
        .because_of(stalls)
        .remedy(remedy);
    finding.incidents = incidents;
    vec![finding]
}

/// Returns the CPU quota where it explains why the thread had no processor: it held the process back for half of that time or more,
/// or most of the incidents say so.
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
    let incidents = of_class(evidence, |class| !class.may_be_code());
    let is_such = |incident: &&Incident| !incident.class.may_be_code();
    let Some(longest) = evidence.incidents.iter().filter(is_such).max_by_key(|incident| incident.duration_ns)
    else {
        return Vec::new();
    };
    let why = match longest.class {
        Class::Suspended => "the machine was suspended",
        Class::Debugger => "a debugger held the process",
        _ => "the process was stopped (SIGSTOP, or the cgroup freezer), or its virtual machine was",
    };
    let headline = format!("{} stood still, and its code is not to blame: {why}", evidence.named());
    let mut finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because(format!(
            "{}, the longest {}",
            count(incidents.len() as u64, "time"),
            show_ns(longest.duration_ns)
        ))
        .remedy("nothing in the program");
    finding.incidents = incidents;
    vec![finding]
}

fn of_class(evidence: &LoopEvidence, is_wanted: impl Fn(Class) -> bool) -> Vec<String> {
    let wanted = evidence.incidents.iter().filter(|incident| is_wanted(incident.class));
    wanted.map(|incident| incident.id.to_string()).collect()
}

/// The agent does not look as often as it should.
pub(crate) fn agent_late(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(late_ns) = evidence.agent_late_ns.filter(|ns| *ns >= AGENT_LATE_NS) else { return Vec::new() };
    let headline =
        format!("the agent is late itself: it did not look at {} for {}", evidence.named(), show_ns(late_ns));
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because(
            "while one is busy it looks every 25 ms; counters on the page are exact all the same".to_owned(),
        )
        .remedy(
            "see whether the machine is short of processor time; stacks and live gauges come late until then",
        );
    vec![finding]
}
