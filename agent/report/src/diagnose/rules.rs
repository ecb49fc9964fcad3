//! The table of rules.

use crate::diagnose::evidence::LoopEvidence;
use crate::diagnose::finding::Finding;
use crate::diagnose::{blocking, blocking_calls, capacity, collections, growth, hooks, machine, pool, tasks};
use loopscope_probe::description::Fact;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as findings and JSON tell it.
    pub name: &'static str,
    /// What it looks at, in a few words.
    pub looks_at: &'static str,
    /// It says nothing of a loop whose runtime does not fill all of these.
    needs: &'static [Fact],
    check: fn(&LoopEvidence) -> Vec<Finding>,
}

impl Rule {
    /// Applies the rule to one loop. Usually nothing, or one finding; a few where several sites do the same.
    pub fn apply(&self, evidence: &LoopEvidence) -> Vec<Finding> {
        if !self.is_answered(evidence) {
            return Vec::new();
        }
        let mut findings = (self.check)(evidence);
        for finding in &mut findings {
            finding.rule = self.name;
        }
        findings
    }

    /// Tells whether the loop's runtime fills what the rule looks at. Where it does not, silence means nothing.
    pub fn is_answered(&self, evidence: &LoopEvidence) -> bool {
        self.needs.iter().all(|fact| evidence.knows(*fact))
    }
}

const fn rule(name: &'static str, looks_at: &'static str, check: fn(&LoopEvidence) -> Vec<Finding>) -> Rule {
    Rule { name, looks_at, needs: &[], check }
}

impl Rule {
    const fn needs(self, needs: &'static [Fact]) -> Rule {
        Rule { needs, ..self }
    }
}

/// All rules. Of equally urgent and sure findings, the earlier rule's comes first.
pub static RULES: &[Rule] = &[
    rule("blocked", "stalls by one long callback that computes", blocking::blocked),
    rule("waiting", "stalls by one callback in a blocking call", blocking::waiting),
    rule("blocking_calls", "blocking calls while requests are served", blocking_calls::blocking_calls),
    rule("microtask_flood", "stalls by the queue `microtask`", blocking::microtask_flood),
    rule("nexttick_flood", "stalls by the queue `nexttick`", blocking::nexttick_flood),
    rule("immediate_flood", "stalls by many immediates", blocking::immediate_flood),
    rule("many_callbacks", "stalls by many short callbacks", blocking::many_callbacks),
    rule("lock_held", "stalls waiting for a lock", tasks::lock_held),
    rule("self_waking", "a task that keeps waking itself", tasks::self_waking).needs(&[Fact::Callbacks]),
    rule("stalls_unseen", "stalls that were counted but not examined", blocking::stalls_unseen),
    rule("pool_stuck", "pool jobs that never finish", pool::stuck),
    rule("pool_saturated", "waiting for the thread pool", pool::saturated),
    rule("pool_behind_slow_jobs", "short pool jobs queued behind long ones", pool::behind_slow_jobs)
        .needs(&[Fact::PoolWait, Fact::PoolRun]),
    rule("collecting", "time in garbage collection", collections::collecting),
    rule("operation_hooks", "hooks that are called for each operation", hooks::operation_hooks),
    rule("overload", "high utilization without stalls", capacity::overload).needs(&[Fact::Time]),
    rule("timers_late", "late timers, and what ran meanwhile", blocking::timers_late)
        .needs(&[Fact::QueueDelay, Fact::Callbacks]),
    rule("starved_of_cpu", "time runnable but not scheduled", machine::starved_of_cpu),
    rule("panics", "runs and pool jobs that failed", capacity::panics),
    rule("accept_storm", "connections accepted per second", capacity::accept_storm).needs(&[Fact::Callbacks]),
    rule("many_events", "events per poll", capacity::many_events).needs(&[Fact::PollEvents]),
    rule("handles_growing", "handles that are never closed", growth::handles_growing).needs(&[Fact::Handles]),
    rule("timers_growing", "timers that are started but never fire", growth::timers_growing)
        .needs(&[Fact::Timers]),
    rule("stood_still", "suspends, SIGSTOP, debuggers", machine::stood_still),
    rule("agent_late", "ticks of the agent", machine::agent_late),
    rule("expected_blocks", "blocks announced by the program", capacity::expected_blocks),
    rule("sites_overflow", "full tables of sites", capacity::sites_overflow),
];

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
