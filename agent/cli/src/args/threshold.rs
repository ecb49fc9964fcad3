//! Arguments and help of `loopscope threshold`.

use crate::duration;
use clap::Args;
use std::time::Duration;

const THRESHOLD_HELP: &str = "\
Shows from which age on a busy stretch is a stall, and from which on a critical one; changes it while the program \
runs. The agent of the process makes the change, at once, for one loop or all of them; it lasts until the process ends.

Examples:
  loopscope threshold                                      those of the only instrumented process
  loopscope threshold 4711 --warning 50ms --critical 500ms
  loopscope threshold web --loop web --warning 20ms

Exit codes:
  0  shown, or changed
  1  failed: the message on stderr names the thing and the remedy (no agent, or it refused)
  2  the command line cannot be used: below 2ms, or a warning above the critical threshold
  3  no such target or loop";

/// Arguments of `threshold`.
#[derive(Debug, Args)]
#[command(after_help = THRESHOLD_HELP)]
pub struct ThresholdArguments {
    /// Pid, name of a process or loop, or URL of an agent; not needed where only one process is there
    pub target: Option<String>,
    /// Only this loop, by its name, such as `worker`, or `worker#2` for the second of two
    #[arg(long = "loop", value_name = "NAME")]
    pub loop_name: Option<String>,
    /// A busy stretch longer than this is a stall: 2ms or more
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub warning: Option<Duration>,
    /// A stall longer than this is critical
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub critical: Option<Duration>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
