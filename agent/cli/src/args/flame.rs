//! Arguments and help of `loopscope flame`.

use crate::duration;
use clap::{Args, ValueEnum};
use loopscope_report::profiles;
use std::path::PathBuf;
use std::time::Duration;

const FLAME_HELP: &str = "\
Draws a flamegraph of where a loop's time went: look at the widest frame first. Colours are the loop's phases.
  callbacks  exact times, not samples: the probe times every callback, and the graph is the difference of two readings. \
Nothing is started in the watched process
  cpu        stacks of the loop's thread while it computes, sampled --hz times a second by the process's agent
  waits      stacks of a busy loop whose thread is asleep, with what it waits for: read(fd 3 -> pipe), a lock, a page
  stalls     stacks taken during stalls only
`--format trace` writes a timeline of iterations, phases, callbacks, drains and pool jobs. Callbacks and timelines \
of a process on this machine need no agent. A capture by an agent takes whole seconds. Ctrl-C ends any of them early, with what was \
recorded so far.

Examples:
  loopscope flame --for 10s                      the only instrumented process, to loopscope-PID.svg
  loopscope flame 4711 --of cpu --hz 499 -o cpu.svg
  loopscope flame 4711 --for 2s --format folded -o - | sort -nk2 | tail
  loopscope flame web -o before.folded; loopscope flame web --diff before.folded -o diff.svg --fail-above 10%
  loopscope flame after.folded --diff before.folded --normalize       two captures, compared later
  loopscope flame http://127.0.0.1:9464 --for 5s -o web.trace.json      open it at ui.perfetto.dev
  loopscope flame 4711 --incident 4711-3 -o stall.svg

Exit codes:
  0  written
  1  the file cannot be written, the URL did not answer, or the process has no agent and this needs one
  2  invalid command line, or TARGET matches several processes (they are listed)
  3  no such target, loop or incident, or nothing happened while it was watched (no file is written)
  4  --fail-above: a callback site grew by more than that (the file is written)";

/// Arguments of `flame`.
#[derive(Debug, Args)]
#[command(after_help = FLAME_HELP)]
pub struct FlameArguments {
    /// Pid, name of a process or loop, or URL of an agent; optional if there is only one process. With --diff also a
    /// folded file: the two files are compared, and nothing is captured
    pub target: Option<String>,
    /// How long to watch: 500ms, 10s, 2m [default: 10s]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What to draw [default: callbacks]
    #[arg(long, value_enum)]
    pub of: Option<OfArgument>,
    /// Output file, `-` for stdout [default: loopscope-PID.svg]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Output format [default: by the file's extension, else svg]
    #[arg(long, value_enum)]
    pub format: Option<FormatArgument>,
    /// Samples per second, for --of cpu, stalls and waits [default: 99]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(49..=997))]
    pub hz: Option<u32>,
    /// Only the loop of this name, such as `worker`, or `worker#2` for the second of that name
    #[arg(long = "loop", value_name = "NAME")]
    pub loop_name: Option<String>,
    /// Compare with this folded file: red takes more time than before, blue less
    #[arg(long, value_name = "BEFORE")]
    pub diff: Option<PathBuf>,
    /// With --diff: compare shares instead of times, as if both captures had the same total
    #[arg(long, requires = "diff")]
    pub normalize: bool,
    /// With --diff: exit with 4 if a callback site grew by more than this share of the larger total: 10%
    #[arg(long, value_name = "PERCENT", requires = "diff", value_parser = parse_percent)]
    pub fail_above: Option<f64>,
    /// Draw a past incident instead of watching: its id, `PID-NUMBER`
    #[arg(long, value_name = "ID", conflicts_with_all = ["of", "hz", "diff", "loop_name", "duration"])]
    pub incident: Option<String>,
    /// Print a summary as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Reads `10%` or `10` as a ratio.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let percent = number.ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a percentage: write it as 10%"))
}

/// What a flamegraph is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OfArgument {
    /// Exact time in callbacks, the jobs drained after them, and the spans inside them
    Callbacks,
    /// Processor time, sampled
    Cpu,
    /// Time in stalls beyond their threshold, sampled while they last
    Stalls,
    /// Time in which a busy loop's thread was asleep, sampled
    Waits,
}

impl From<OfArgument> for profiles::Of {
    fn from(of: OfArgument) -> profiles::Of {
        match of {
            OfArgument::Callbacks => profiles::Of::Callbacks,
            OfArgument::Cpu => profiles::Of::Cpu,
            OfArgument::Stalls => profiles::Of::Stalls,
            OfArgument::Waits => profiles::Of::Waits,
        }
    }
}

/// How a flamegraph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArgument {
    /// A picture for the browser: click to zoom, Ctrl-F to search
    Svg,
    /// One line per stack, for other tools: `frame;frame;frame microseconds`
    Folded,
    /// For `go tool pprof`, Pyroscope, Parca
    Pprof,
    /// JSON for speedscope.app
    Speedscope,
    /// JSON for profiler.firefox.com
    Firefox,
    /// A timeline as Chrome trace events, for ui.perfetto.dev and speedscope.app
    Trace,
}

impl From<FormatArgument> for profiles::Format {
    fn from(format: FormatArgument) -> profiles::Format {
        match format {
            FormatArgument::Svg => profiles::Format::Svg,
            FormatArgument::Folded => profiles::Format::Folded,
            FormatArgument::Pprof => profiles::Format::Pprof,
            FormatArgument::Speedscope => profiles::Format::Speedscope,
            FormatArgument::Firefox => profiles::Format::Firefox,
            FormatArgument::Trace => profiles::Format::Trace,
        }
    }
}
