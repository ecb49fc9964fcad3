//! Arguments and help of `loopscope threshold`.

use crate::duration;
use clap::Args;
use std::time::Duration;

const THRESHOLD_HELP: &str = "\
Shows or changes the stall thresholds of a running program: how long a loop may be busy before it counts as a stall \
(warning), and as a critical one. The process's agent applies the change at once, to one loop or to all; it lasts \
until the process exits.

Examples:
  loopscope threshold                                      the only instrumented process
  loopscope threshold 4711 --warning 50ms --critical 500ms
  loopscope threshold web --loop web --warning 20ms

Exit codes:
  0  shown or changed
  1  failed: the message on stderr says what, and how to fix it (no agent, or it refused)
  2  invalid command line: below 2ms, or warning above critical
  3  no such target or loop";

/// Arguments of `threshold`.
#[derive(Debug, Args)]
#[command(after_help = THRESHOLD_HELP)]
pub struct ThresholdArguments {
    /// Pid, name of a process or loop, or URL of an agent; optional if there is only one process
    pub target: Option<String>,
    /// Only the loop of this name, such as `worker`, or `worker#2` for the second of that name
    #[arg(long = "loop", value_name = "NAME")]
    pub loop_name: Option<String>,
    /// Stall threshold (warning): 2ms or more
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub warning: Option<Duration>,
    /// Critical stall threshold
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub critical: Option<Duration>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
