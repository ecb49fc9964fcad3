//! The rule about hooks that a runtime calls for each of its asynchronous operations: a cost that no stall and no site shows.
//!
//! A runtime tells their number by one of its own, named `operation_hooks`.

use crate::diagnose::evidence::LoopEvidence;
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::words::{count, percent};
use loopscope_probe::Snapshot;
use loopscope_probe::description::Trouble;

const HOOKS: &str = "operation_hooks";

/// A loop that is busy for less of its time has no use for what hooks cost.
const BUSY_SHARE: f64 = 0.2;

/// Returns how many hooks are installed; 0 where nobody knows.
pub(super) fn hooks(last: &Snapshot) -> u64 {
    last.gauges.iter().find(|gauge| gauge.name == HOOKS).map_or(0, |gauge| gauge.value)
}

/// Hooks are called for each operation of a loop that is busy.
pub(crate) fn operation_hooks(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(remedy) = evidence.runtime.remedy_for(Trouble::OperationHooks) else { return Vec::new() };
    if evidence.hooks == 0 || evidence.utilization() < BUSY_SHARE {
        return Vec::new();
    }
    let headline = format!(
        "{} calls {} for each asynchronous operation",
        evidence.named(),
        count(evidence.hooks, "hook")
    );
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because(format!(
            "it is busy for {} of the time; how much of that they take was not measured",
            percent(evidence.utilization())
        ))
        .remedy(remedy);
    vec![finding]
}
