//! Arguments and help of `loopscope attach`.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

const ATTACH_HELP: &str = "\
Loads the addon into a running Node program, even into one that is stuck in an endless loop, and first prints the \
function that is running. On SIGUSR1, Node opens its inspector on loopback; attach closes it again at once. The program \
prints three lines about its debugger on standard error. Its worker threads are watched, too, including those that \
start later.
It refuses a process of another user or container, one that is stopped, one that handles SIGUSR1 itself or was \
started with --disable-sigusr1 or --permission, and one whose inspector is already open. If it cannot read the \
process's memory, it cannot tell that the program handles SIGUSR1, and that handler runs.
--detach removes the hooks, the page and the agent, also from a program started by `loopscope run`.

Examples:
  loopscope attach 4711
  loopscope attach 4711 --detach

Exit codes:
  0  attached, detached, or attached already
  1  refused: the message says why
  2  invalid command line
  3  no such process, it exited meanwhile, or there is nothing to detach";

/// Arguments of `attach`.
#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP)]
pub struct AttachArguments {
    /// Pid of the process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,
    /// Detach: remove the addon's hooks, page and agent
    #[arg(long, conflicts_with_all = ["listen", "warning", "incidents_dir"])]
    pub detach: bool,
    /// Address of its agent: 127.0.0.1:9464, unix:/path or off [default: next free port from 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", value_parser = super::run::parse_listen)]
    pub listen: Option<String>,
    /// Stall threshold: how long a loop may go without polling; critical is ten times this. LOOPSCOPE_THRESHOLDS of the program wins [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = super::run::parse_warning)]
    pub warning: Option<Duration>,
    /// Also write every incident to this directory, for `loopscope incidents --dir`
    #[arg(long, value_name = "DIRECTORY")]
    pub incidents_dir: Option<PathBuf>,
}
