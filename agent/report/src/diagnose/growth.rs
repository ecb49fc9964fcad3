//! Rules about what grows and does not come back: handles and timers.

use crate::diagnose::evidence::LoopEvidence;
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::words::count;
use loopscope_probe::description::Fact;

/// Growth by less than this many within the time watched may be anything.
const HANDLES_LEAST: u64 = 10;
const TIMERS_LEAST: u64 = 50;

/// Handles are opened and not closed.
pub(crate) fn handles_growing(evidence: &LoopEvidence) -> Vec<Finding> {
    let grown: Vec<String> = evidence
        .handles
        .iter()
        .filter(|(_, trend)| trend.grows(HANDLES_LEAST))
        .map(|(kind, trend)| format!("{}: {}, never falling", kind.name(), trend.words(evidence.watched_ns)))
        .collect();
    if grown.is_empty() {
        return Vec::new();
    }
    let headline = format!("open handles of {} grow: a leak, or rising load", evidence.named());
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Possible, headline)
        .because_of(grown)
        .remedy(
            "watch again for longer (`--for 5m`); if they still grow, look for handles that are never closed",
        );
    vec![finding]
}

/// Timers are armed and do not fire.
pub(crate) fn timers_growing(evidence: &LoopEvidence) -> Vec<Finding> {
    if !evidence.timers.grows(TIMERS_LEAST) {
        return Vec::new();
    }
    let headline = format!("pending timers of {} pile up", evidence.named());
    let fired = evidence.timer_lateness.count();
    let fired =
        evidence.knows(Fact::QueueDelay).then(|| format!("{} fired meanwhile", count(fired, "timer")));
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Possible, headline)
        .because(format!("pending: {}, never falling", evidence.timers.words(evidence.watched_ns)))
        .because_of(fired)
        .remedy("look for timers that are started for each event and never cancelled");
    vec![finding]
}
