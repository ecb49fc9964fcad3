//! `loopscope doctor`: what is wrong with the loops of a process, in words.

pub mod report;
mod thread;
pub mod watch;

pub use watch::unix_ns;

use crate::args::{DoctorArguments, FailOn};
use crate::error::Failure;
use crate::output::{print, print_json};
use crate::paint::Paint;
use crate::target;
use loopscope_report::diagnose::{Finding, diagnose};
use std::process::ExitCode;
use std::time::Duration;

/// The exit code that says that something is wrong.
const EXIT_WRONG: u8 = 4;

const SHORTEST: Duration = Duration::from_millis(100);

/// Watches, judges and tells. Returns the exit code: 0 or [`EXIT_WRONG`].
///
/// # Errors
/// No such target, or its pages cannot be read.
pub fn run(options: &DoctorArguments) -> Result<ExitCode, Failure> {
    if options.duration < SHORTEST {
        let message = "--for must be at least 100ms (try 10s)";
        return Err(Failure::Usage(message.to_owned()));
    }
    let process = target::local(options.target.as_deref())?;
    let seen = watch::watch(&process, options.duration)?;
    let findings = diagnose(&seen.evidence);
    match options.json {
        true => print_json(&report::as_json(&process, &seen, &findings))?,
        false => print(&report::text(Paint::stdout(), &process, &seen, &findings, unix_ns()))?,
    }
    Ok(ExitCode::from(exit_code(&findings, options.fail_on)))
}

fn exit_code(findings: &[Finding], fail_on: FailOn) -> u8 {
    let fails = findings.iter().any(|finding| fail_on.is_met(finding.urgency));
    if fails { EXIT_WRONG } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::diagnose::{Certainty, Urgency};

    #[test]
    fn the_exit_code_says_whether_one_is_as_urgent_as_was_asked_for() {
        let finding = |urgency| Finding {
            rule: "blocked",
            r#loop: "web".to_owned(),
            urgency,
            certainty: Certainty::Certain,
            headline: String::new(),
            evidence: Vec::new(),
            remedy: String::new(),
            incidents: Vec::new(),
        };
        for (urgencies, warning, critical) in [
            (&[][..], 0, 0),
            (&[Urgency::Notice], 0, 0),
            (&[Urgency::Warning, Urgency::Notice], EXIT_WRONG, 0),
            (&[Urgency::Notice, Urgency::Critical], EXIT_WRONG, EXIT_WRONG),
        ] {
            let findings: Vec<Finding> = urgencies.iter().copied().map(finding).collect();
            let codes = [FailOn::Warning, FailOn::Critical].map(|fail_on| exit_code(&findings, fail_on));
            assert_eq!(codes, [warning, critical], "{urgencies:?}");
        }
    }
}
