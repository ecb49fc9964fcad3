//! Arguments and help of `loopscope doctor`.

use crate::duration;
use clap::{Args, ValueEnum};
use loopscope_report::diagnose::Urgency;
use std::time::Duration;

const DOCTOR_HELP: &str = "\
Watches the loops of a process for a while and says in words what is wrong: the worst first, each with how sure it is \
(certain, likely, possible), the figures that show it, and what to do.
It reads shared memory and /proc and disturbs nobody; the process needs no agent. Where it has one, its incidents \
bring the guilty functions. Ctrl-C ends the watch early, and what was seen until then is judged.

Examples:
  loopscope doctor                      the only instrumented process, for 10 s
  loopscope doctor 4711 --for 1m
  loopscope doctor --for 30s --fail-on critical         for CI, beside a load test
  loopscope doctor web --json | jq -r '.findings[] | \"\\(.urgency) \\(.headline)\"'

Exit codes:
  0  nothing wrong (notices may be printed: nobody has to act on them)
  1  failed: the message on stderr names the thing and the remedy
  2  the command line cannot be used, or TARGET fits several processes (they are listed)
  3  no such target
  4  something is wrong: at least one finding is critical or a warning (--fail-on critical: is critical)";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArguments {
    /// Pid, name of a process or loop, or URL of an agent on this machine; not needed where only one process is there
    pub target: Option<String>,
    /// How long to watch: 500ms, 10s, 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// How bad a finding must be for exit code 4
    #[arg(long, value_enum, value_name = "URGENCY", default_value_t = FailOn::Warning)]
    pub fail_on: FailOn,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// From which urgency on a finding is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Findings that will be noticed, and worse
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
