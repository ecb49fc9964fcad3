//! `loopscope doctor`: what is wrong with the loops of a process, in words.

pub mod report;
mod thread;
pub mod watch;

pub use watch::unix_ns;

use crate::args::DoctorArguments;
use crate::error::Failure;
use crate::output::{print, print_json};
use crate::paint::Paint;
use crate::target;
use loopscope_report::diagnose::diagnose;
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
    let fails = findings.iter().any(|finding| options.fail_on.is_met(finding.urgency));
    Ok(if fails { ExitCode::from(EXIT_WRONG) } else { ExitCode::SUCCESS })
}
