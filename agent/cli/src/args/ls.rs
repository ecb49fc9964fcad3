//! Arguments and help of `loopscope ls`.

use clap::Args;

const LS_HELP: &str = "\
Shows for each loop: pid and name of the process, loop and runtime, busy share since it started, address of the \
agent, and what it is doing now: idle, running a callback, or STALLED, with the place in the code. A runtime with \
several workers is one line, with the state of its worst worker; --workers shows each.
It only reads shared memory, so it works for blocked loops too, and the processes do not notice it. Processes that \
were killed are listed as `ended`, with their last activity and its time; those that were idle are only counted, \
unless --all is given.
Processes of this user are found by their pages in $LOOPSCOPE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/loopscope, else \
/dev/shm/loopscope-UID. A directory owned by another user is not used.

Examples:
  loopscope ls
  loopscope ls --json | jq '.processes[].loops[] | select(.state.kind == \"stalled\")'

Exit codes:
  0  listed, even if the list is empty
  1  the runtime directory cannot be read
  2  invalid command line";

/// Arguments of `ls`.
#[derive(Debug, Args)]
#[command(after_help = LS_HELP)]
pub struct LsArguments {
    /// Show each worker of runtimes with several workers
    #[arg(long)]
    pub workers: bool,
    /// Also list processes that exited while idle
    #[arg(long)]
    pub all: bool,
    /// Print JSON instead of a table, always with all processes
    #[arg(long)]
    pub json: bool,
}
