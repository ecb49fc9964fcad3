//! Arguments and help of `loopscope man`.

use clap::Args;
use std::path::PathBuf;

const MAN_HELP: &str = "\
Prints a manual page, or writes all of them to a directory.

Examples:
  loopscope man | man -l -
  loopscope man flame | man -l -
  loopscope man -o ~/.local/share/man/man1      after that: man loopscope-flame

Exit codes:
  0  printed or written
  1  stdout or a file cannot be written
  2  invalid command line";

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub struct ManArguments {
    /// Subcommand whose page to print [default: the page of loopscope itself]
    #[arg(value_name = "COMMAND")]
    pub subcommand: Option<String>,
    /// Write all pages to this directory; it is created if it does not exist
    #[arg(short, long, value_name = "DIRECTORY", conflicts_with = "subcommand")]
    pub output: Option<PathBuf>,
}
