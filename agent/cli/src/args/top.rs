//! Arguments and help of `loopscope top`.

use crate::duration;
use clap::Args;
use std::time::Duration;

const TOP_HELP: &str = "\
Live view of all loops of this machine, or of a TARGET: the running callback and for how long, busy share, lag, \
stalls, pool, heaviest sites and recent incidents. It works for blocked loops too.
It only reads shared memory. Figures cover the time since the previous refresh.
Keys: arrows or j k to choose a loop, Enter for its details, s to sort by another column, r to reverse, / to \
filter by process or loop, w to show each worker of a runtime, a to list processes that exited while idle, too, \
space to pause, ? for help, q to quit.
If stdout is not a terminal, or TERM is dumb, the table is printed once.

Examples:
  loopscope top
  loopscope top web --every 250ms
  loopscope top --once --json | jq '.processes[].loops[] | select(.state.kind == \"stalled\")'

Exit codes:
  0  stopped by q, Ctrl-C or SIGTERM; or printed once
  1  failed: the message on stderr says what, and how to fix it
  2  invalid command line
  3  no such target";

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct TopArguments {
    /// Pid, or name of a process or loop [default: all]
    pub target: Option<String>,
    /// Time between two refreshes, 100ms or more
    #[arg(long, value_name = "DURATION", value_parser = parse_every, default_value = "500ms")]
    pub every: Duration,
    /// Print the table once and end
    #[arg(long)]
    pub once: bool,
    /// With --once: print JSON instead of a table
    #[arg(long, requires = "once")]
    pub json: bool,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = duration::parse(text)?;
    match every >= Duration::from_millis(100) {
        true => Ok(every),
        false => Err("--every must be at least 100ms".to_owned()),
    }
}
