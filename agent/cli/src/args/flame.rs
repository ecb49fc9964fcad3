//! Arguments and help of `loopscope flame`.

use crate::duration;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const FLAME_HELP: &str = "\
Shows the time that passed inside callbacks: the widest frame is where the time went.
The probe keeps exact times, so this is a difference of two readings, not a sampling: nothing is started in the \
watched process, and what is shown is complete. Ctrl-C ends a capture early and writes what there is; the agent at \
a URL watches whole seconds, and answers at the end only.

Examples:
  loopscope flame --for 10s                      the only instrumented process, to loopscope-PID.svg
  loopscope flame 4711 --for 2s --format folded -o - | sort -nk2 | tail
  loopscope flame http://127.0.0.1:9464 -o web.svg

Exit codes:
  0  written
  1  the file cannot be written, or the URL did not answer
  2  the command line cannot be used, or TARGET fits several processes (they are listed)
  3  no such target, or its loops did nothing while they were watched (no file is written)";

/// Arguments of `flame`.
#[derive(Debug, Args)]
#[command(after_help = FLAME_HELP)]
pub struct FlameArguments {
    /// Pid, name of a process or loop, or URL of an agent; not needed where only one process is there
    pub target: Option<String>,
    /// How long to watch: 500ms, 10s, 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// What to draw
    #[arg(long, value_enum, default_value_t = Of::Callbacks)]
    pub of: Of,
    /// File to write, `-` for stdout [default: loopscope-PID.svg]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format of the file [default: by its ending, else svg]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Print the result's summary as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// What a flamegraph is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// Exact time in callbacks, the jobs drained after them, and the spans inside them
    Callbacks,
}

/// How a flamegraph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A picture for the browser: click to zoom, Ctrl-F to search
    Svg,
    /// One line per stack, for other tools: `frame;frame;frame microseconds`
    Folded,
}

impl Format {
    /// Returns the format's name in URLs, which is also the ending of its files.
    pub fn name(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Folded => "folded",
        }
    }
}
