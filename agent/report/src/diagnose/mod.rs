//! What is wrong with a loop, in words: the doctor's rules.
//!
//! ```text
//!   page, first copy ->  Examination  <- looks at the page between, incidents
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
mod capacity;
mod evidence;
mod examination;
mod finding;
mod growth;
mod machine;
mod pool;
mod rules;
mod tasks;

pub use blackbox::{LoopName, last_moment, reconstruct, under_way};
pub use evidence::LoopEvidence;
pub use examination::{Examination, Look, Surroundings};
pub use finding::{Certainty, Finding, Urgency};
pub use rules::{RULES, Rule};

/// Applies all rules to all loops. The most urgent finding is first; of equally urgent ones, the surest.
pub fn diagnose(loops: &[LoopEvidence]) -> Vec<Finding> {
    let of_loop = |evidence| RULES.iter().flat_map(move |rule: &Rule| rule.apply(evidence));
    let mut findings: Vec<Finding> = loops.iter().flat_map(of_loop).collect();
    findings.extend(tasks::one_worker(loops));
    // Stable: within a rank, loops and rules keep their order.
    findings.sort_by_key(|finding| (finding.urgency, finding.certainty));
    findings
}
