//! Arguments and help of `loopscope doctor`.

use crate::duration;
use clap::{Args, ValueEnum};
use loopscope_report::diagnose::Urgency;
use std::time::Duration;

const DOCTOR_HELP: &str = "\
Watches the loops of a process for a while and reports what is wrong, the worst first: each finding with its \
confidence (certain, likely, possible), the evidence, and how to fix it.
It only reads shared memory and /proc, so the process does not notice it and needs no agent. With an agent, \
findings also name the guilty functions, from its incidents. Ctrl-C stops early and reports what was seen so far.

Examples:
  loopscope doctor                      the only instrumented process, for 10 s
  loopscope doctor 4711 --for 1m
  loopscope doctor --for 30s --fail-on critical         for CI, during a load test
  loopscope doctor web --json | jq -r '.findings[] | \"\\(.urgency) \\(.headline)\"'

Exit codes:
  0  nothing wrong (notices may be printed: they need no action)
  1  failed: the message on stderr says what, and how to fix it
  2  invalid command line, or TARGET matches several processes (they are listed)
  3  no such target
  4  something is wrong: at least one finding is critical or a warning (with --fail-on critical: only if critical)";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArguments {
    /// Pid, name of a process or loop, or URL of an agent on this machine; optional if there is only one process
    pub target: Option<String>,
    /// How long to watch: 500ms, 10s, 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Exit with 4 if a finding is at least this urgent
    #[arg(long, value_enum, value_name = "URGENCY", default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// From which urgency on a finding is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Findings that users will notice, and worse
    Warning,
    /// Only findings that users notice now
    Critical,
}

impl FailOn {
    /// Tells whether a finding of this urgency is a failure.
    pub fn is_met(self, urgency: Urgency) -> bool {
        match self {
            FailOn::Warning => urgency <= Urgency::Warning,
            FailOn::Critical => urgency <= Urgency::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_never_a_failure_and_a_warning_only_where_that_is_wanted() {
        let met = |fail_on: FailOn| {
            [Urgency::Critical, Urgency::Warning, Urgency::Notice].map(|of| fail_on.is_met(of))
        };
        assert_eq!(met(FailOn::Warning), [true, true, false]);
        assert_eq!(met(FailOn::Critical), [true, false, false]);
    }
}
