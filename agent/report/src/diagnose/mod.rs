//! What is wrong with a loop, in words: the doctor's rules.
//!
//! ```text
//!   page, first copy ->  EvidenceCollector  <- looks at the page between, incidents
//!   page, last copy  ->       |
//!                             v
//!                        LoopEvidence ---> RULES (a table) ---> findings, the worst first
//! ```
//!
//! Beside it, [`reconstruct`] tells from the page of an ended process what it was in the middle of.
//!
//! Arithmetic on values, like `compute`: who reads pages, asks an agent and waits is the caller. A rule looks at one
//! loop's evidence, and either keeps silent or says what is wrong, how sure that is, the figures that show it, and what
//! to do about it.

mod blackbox;
mod blocking;
mod blocking_calls;
mod capacity;
mod collections;
mod evidence;
mod evidence_collector;
mod finding;
mod group_class;
mod growth;
mod hooks;
mod machine;
mod pool;
mod rules;
mod tasks;

pub use blackbox::{LoopName, last_moment, reconstruct, under_way};
pub use evidence::{LoopEvidence, Quota};
pub use evidence_collector::{EvidenceCollector, PageSample, Surroundings, ThreadSample};
pub use finding::{Certainty, Finding, Urgency};
pub use rules::{RULES, Rule};

/// Applies all rules to all loops. The most urgent finding is first; of equally urgent ones, the surest.
pub fn diagnose(loops: &[LoopEvidence]) -> Vec<Finding> {
    let of_loop = |evidence| RULES.iter().flat_map(move |rule: &Rule| rule.apply(evidence));
    let mut findings: Vec<Finding> = loops.iter().flat_map(of_loop).collect();
    findings.extend(of_runtimes(loops));
    findings.extend(tasks::one_worker(loops));
    // Stable: within a rank, loops and rules keep their order.
    findings.sort_by_key(|finding| (finding.urgency, finding.certainty));
    findings
}

/// Says what is wrong with runtimes of several workers as a whole.
fn of_runtimes(loops: &[LoopEvidence]) -> Vec<Finding> {
    let mut groups: Vec<&str> =
        loops.iter().map(|evidence| &*evidence.group).filter(|group| !group.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    let of_group = |group: &str| {
        let workers: Vec<&LoopEvidence> = loops.iter().filter(|evidence| evidence.group == group).collect();
        capacity::overload_of_workers(&workers)
    };
    let found = groups.into_iter().flat_map(of_group);
    found.map(|finding| Finding { rule: "overload", ..finding }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn worker(number: u32, active_ns: u64) -> LoopEvidence {
        LoopEvidence {
            name: format!("rt/{number}"),
            group: "rt".to_owned(),
            watched_ns: 10 * S,
            active_ns,
            ..LoopEvidence::default()
        }
    }

    #[test]
    fn one_busy_worker_of_several_is_no_overload_and_all_of_them_are_one() {
        assert_eq!(diagnose(&[worker(0, 10 * S), worker(1, S), worker(2, 0)]), []);
        let found = diagnose(&[worker(0, 10 * S), worker(1, 9 * S), worker(2, 10 * S)]);
        let told: Vec<_> =
            found.iter().map(|found| (found.rule, found.headline.as_str(), &*found.r#loop)).collect();
        assert_eq!(
            told,
            [("overload", "the 3 loops of rt are busy for 97 % of the time, near the limit", "rt")]
        );
    }
}
