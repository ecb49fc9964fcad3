//! The rule about blocking calls of the runtime's while it serves a request: for runtimes that say what such calls and such
//! stacks look like ([`Sign`](loopscope_probe::description::Sign)).
//!
//! Known only by stacks. A stack on which no function of the runtime's serves a request says nothing: the same call at the
//! start, or in a program that serves nobody, is in order.

use crate::diagnose::evidence::LoopEvidence;
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::incident::{Frame, Incident, StackCount};
use crate::model::frame_owner::FrameOwner;
use crate::words::count;
use loopscope_probe::description::{Description, Trouble};

/// At most so many calls are told, those of most stacks first.
const CALLS_TOLD: usize = 3;

/// A blocking call, and where it was seen.
struct Call<'a> {
    name: &'a str,
    /// Its name without what it is known by: the call that does not block.
    other: &'a str,
    /// Who calls it, by the first stack.
    caller: &'a Frame,
    stacks: u64,
    incidents: Vec<&'a Incident>,
}

/// Requests wait for calls that return only when they are done.
pub(crate) fn blocking_calls(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(remedy) = evidence.runtime.remedy_for(Trouble::BlockingCall) else { return Vec::new() };
    let finding = |call: &Call<'_>| {
        let longest_ns = call.incidents.iter().map(|incident| incident.duration_ns).max().unwrap_or(0);
        let is_long = longest_ns > evidence.critical_ns;
        let urgency = if is_long { Urgency::Critical } else { Urgency::Warning };
        let headline = format!("{} calls {} while it serves requests", evidence.named(), call.name);
        let caller = call.caller.named_at(call.caller.place().as_deref());
        let mut finding = Finding::new(&evidence.name, urgency, Certainty::Certain, headline)
            .because(format!(
                "called by {caller}, in {} of {}, the longest {}",
                count(call.stacks, "stack"),
                count(call.incidents.len() as u64, "stall"),
                show_ns(longest_ns)
            ))
            .because_of(evidence.lag_words())
            .remedy(remedy.replace("{call}", call.name).replace("{other}", call.other));
        finding.incidents = call.incidents.iter().map(|incident| incident.id.to_string()).collect();
        finding
    };
    calls(evidence).iter().take(CALLS_TOLD).map(finding).collect()
}

/// Returns the calls, that of most stacks first.
fn calls(evidence: &LoopEvidence) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    for incident in &evidence.incidents {
        for stack in &incident.stacks {
            let Some((caller, name, other)) = call_of(stack, &evidence.runtime) else { continue };
            let known = calls.iter().position(|call| call.name == name);
            let at = known.unwrap_or_else(|| {
                calls.push(Call { name, other, caller, stacks: 0, incidents: Vec::new() });
                calls.len() - 1
            });
            calls[at].stacks = calls[at].stacks.saturating_add(stack.count);
            if !calls[at].incidents.iter().any(|known| known.id == incident.id) {
                calls[at].incidents.push(incident);
            }
        }
    }
    calls.sort_by_key(|call| std::cmp::Reverse(call.stacks));
    calls
}

/// Returns the blocking call that a stack is in, with the program's function that called it, where a request is served.
fn call_of<'a>(stack: &'a StackCount, runtime: &Description) -> Option<(&'a Frame, &'a str, &'a str)> {
    let guilty = stack.guilty?;
    let (inner, outer) = (stack.frames.get(..guilty)?, stack.frames.get(guilty..)?);
    let is_runtimes = |frame: &&Frame| frame.owner == FrameOwner::Runtime;
    // The one that the program, or a library for it, has called: what that does inside is no matter.
    let called = inner.iter().rev().find(is_runtimes)?;
    let other = runtime.blocking_call(&called.function)?;
    let serves = |frame: &Frame| frame.file.as_deref().is_some_and(|file| runtime.serves_in(file));
    outer.iter().filter(is_runtimes).any(serves).then_some((outer.first()?, &*called.function, other))
}
