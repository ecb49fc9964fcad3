//! Arguments and help of `loopscope ls`.

use clap::Args;

const LS_HELP: &str = "\
Shows, for each loop: pid and name of the process, loop and runtime, how much of its time it has been busy since it \
started, the address of its agent, and what it does at this moment: idle, running a callback, or STALLED, with the \
place in the code. A runtime of several workers is one line, with the state of its worst worker; --workers shows each.
It reads shared memory and disturbs nobody; a blocked loop answers like any other. Processes that were killed are \
listed as `ended`, with what they were doing last and when; those that were idle then are counted, and listed with --all.
Processes of this user are found by their pages, in $LOOPSCOPE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/loopscope, else \
/dev/shm/loopscope-UID. A directory that belongs to another user is not used.

Examples:
  loopscope ls
  loopscope ls --json | jq '.processes[].loops[] | select(.state.kind == \"stalled\")'

Exit codes:
  0  listed, also when the list is empty
  1  the runtime directory cannot be read
  2  the command line cannot be used";

/// Arguments of `ls`.
#[derive(Debug, Args)]
#[command(after_help = LS_HELP)]
pub struct LsArguments {
    /// Show also each worker of runtimes that have several
    #[arg(long)]
    pub workers: bool,
    /// List also processes that ended while they were idle
    #[arg(long)]
    pub all: bool,
    /// Print JSON instead of a table, of all processes
    #[arg(long)]
    pub json: bool,
}
