//! Arguments and help of `loopscope top`.

use crate::duration;
use clap::Args;
use std::time::Duration;

const TOP_HELP: &str = "\
Shows all loops of this machine, or those of a TARGET, as they are now: what each one runs and for how long, while it is \
blocked, too; busy time, lag, stalls, the pool, the worst sites, and the incidents of late.
It reads shared memory and disturbs nobody. Figures are those of the interval between two looks.
Keys: arrows or j k to choose a loop, Enter for everything about it, s to sort by another column, r to reverse, / to \
filter by process or loop, w to show each worker of a runtime, space to pause, ? for help, q to quit.
Where stdout is no terminal, or the terminal is a dumb one, the table is printed once.

Examples:
  loopscope top
  loopscope top web --every 250ms
  loopscope top --once --json | jq '.processes[].loops[] | select(.state.kind == \"stalled\")'

Exit codes:
  0  ended by q, Ctrl-C or SIGTERM; or printed once
  1  failed: the message on stderr names the thing and the remedy
  2  the command line cannot be used
  3  no such target";

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct TopArguments {
    /// Pid, or name of a process or loop; all where it is not given
    pub target: Option<String>,
    /// Time between two looks, from 100ms
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
        false => Err("looks closer together than 100ms show nothing that an eye could follow".to_owned()),
    }
}
