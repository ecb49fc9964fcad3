//! Rules about tasks that wake themselves, about locks, and about one worker that has all the work: for runtimes that
//! have a remedy against them.

use crate::compute::verdict::Cause;
use crate::diagnose::evidence::{LoopEvidence, SeenStall};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::incident::Incident;
use crate::words::{count, percent, rate, share};
use loopscope_probe::description::Trouble;

/// A run as short as this has done little, in nanoseconds.
const SHORT_NS: u64 = 20_000;

/// Events do not come as often as this to one place, in runs a second.
const OFTEN: u64 = 20_000;

/// A loop that is busy for this share of its time has no other work that would explain it.
const BUSY_SHARE: f64 = 0.9;

/// One place has run again and again, shortly, and kept the loop busy with it.
pub(crate) fn self_waking(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(remedy) = evidence.runtime.remedy_for(Trouble::SelfWaking) else { return Vec::new() };
    let Some(site) = evidence.sites.first() else { return Vec::new() };
    let mean_ns = site.run_ns / site.calls.max(1);
    let is_often =
        u128::from(site.calls) * 1_000_000_000 > u128::from(OFTEN) * u128::from(evidence.watched_ns);
    let is_most = u128::from(site.calls) * 2 > u128::from(evidence.callbacks);
    if !is_often || !is_most || mean_ns > SHORT_NS || evidence.utilization() < BUSY_SHARE {
        return Vec::new();
    }
    let nouns = evidence.runtime.callback();
    let headline = format!("{} is kept busy by {}, which may be waking itself", evidence.named(), site.label);
    let finding = Finding::new(&evidence.name, Urgency::Warning, Certainty::Possible, headline)
        .because(format!(
            "{} per second of {} each, {} of all {}",
            rate(site.calls, evidence.watched_ns),
            show_ns(mean_ns),
            percent(share(site.calls, evidence.callbacks)),
            nouns.many
        ))
        .because(format!("it was busy for {} of the time", percent(evidence.utilization())))
        .remedy(remedy);
    vec![finding]
}

/// Tells whether a system call, as the kernel or an incident names it, is waiting for a lock.
fn is_lock(call: &str) -> bool {
    call.starts_with("futex")
}

/// A thread was asleep for a lock in the middle of a run.
pub(crate) fn lock_held(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(remedy) = evidence.runtime.remedy_for(Trouble::LockHeld) else { return Vec::new() };
    let waits = |stall: &&SeenStall| {
        let is_about = |incident: &&Incident| incident.culprit.label == stall.label;
        let told = evidence.incidents.iter().filter(is_about).filter_map(|one| one.waiting_in.as_deref());
        let is_single = !stall.is_flood && matches!(stall.cause, Cause::Callback | Cause::Io | Cause::Timer);
        let is_asleep = stall.looks_asleep * 2 > stall.looks;
        let seen = stall.asleep_in.as_deref().filter(|_| is_asleep);
        is_single && told.chain(seen).any(is_lock)
    };
    let stalls: Vec<&SeenStall> = evidence.stalls.iter().filter(waits).collect();
    let Some(longest) = stalls.iter().max_by_key(|stall| stall.ns) else { return Vec::new() };
    let headline = format!("{} waited for a lock in {}", evidence.named(), longest.label);
    let finding = Finding::new(&evidence.name, Urgency::Warning, Certainty::Possible, headline)
        .because(format!(
            "its thread slept in futex {}, the longest time for {}",
            count(stalls.len() as u64, "stall"),
            show_ns(longest.ns)
        ))
        .remedy(remedy);
    vec![finding]
}

/// A worker is idle, beside one that is not, where it is busy for less than this share of its time.
const IDLE_SHARE: f64 = 0.5;

/// One worker of a runtime is busy all the time, and the others are not: what has to run on it waits for it.
pub(crate) fn one_worker(loops: &[LoopEvidence]) -> Vec<Finding> {
    let tell = |busy: &LoopEvidence| {
        let remedy = busy.runtime.remedy_for(Trouble::OneWorker)?;
        let is_other = |other: &&LoopEvidence| {
            (&other.group, other.pid) == (&busy.group, busy.pid) && other.is_worker && other.name != busy.name
        };
        let others: Vec<&LoopEvidence> = loops.iter().filter(is_other).collect();
        let most = others
            .iter()
            .map(|other| other.utilization())
            .fold(None, |most: Option<f64>, part| Some(most.map_or(part, |most| most.max(part))))?;
        let is_alone = busy.utilization() >= BUSY_SHARE && most < IDLE_SHARE;
        let headline = format!("{} is busy while the others of {} are idle", busy.named(), busy.group);
        is_alone.then(|| {
            let mut finding = Finding::new(&busy.name, Urgency::Warning, Certainty::Possible, headline)
                .because(format!(
                    "it was busy {} of the time, none of {} more than {}",
                    percent(busy.utilization()),
                    count(others.len() as u64, "other"),
                    percent(most)
                ))
                .because_of(busy.heaviest(2))
                .remedy(remedy);
            finding.rule = "one_worker";
            finding
        })
    };
    loops.iter().filter(|evidence| evidence.is_worker).filter_map(tell).collect()
}
