//! The command line: what each subcommand shows, with examples, so that `--help` teaches.

use crate::duration;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on stderr names the thing and the remedy
  2  the command line cannot be used
  3  the target was not found, or there was nothing to capture";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "loopscope",
    version,
    about = "See what an event loop is doing now, what blocks it, and which line is guilty",
    long_about = "See what an event loop is doing now, what blocks it, and which line is guilty.\n\n\
        Programs with loopscope's probe in their event loop are found by themselves: no port, no restart, no flag.\n\
        To see it at work, run `loopscope demo --trouble block` in one terminal and `loopscope ls` in another.",
    after_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every instrumented process of this machine, and what its loops are doing now
    Ls(LsArguments),
    /// Draw where a loop's time goes: by loop, phase, callback site and span
    Flame(FlameArguments),
    /// Run a real HTTP service on our loop, under load and with trouble on request
    Demo(DemoArguments),
}

const LS_HELP: &str = "\
Shows, for each loop: pid and name of the process, loop and runtime, how much of its time it has been busy since it \
started, the address of its agent, and what it does at this moment: idle, running a callback, or STALLED, with the \
place in the code.
It reads shared memory and disturbs nobody; a blocked loop answers like any other. Processes that were killed are \
listed as `ended`, with what they were doing last.

Examples:
  loopscope ls
  loopscope ls --json | jq '.processes[].loops[] | select(.state == \"stalled\")'

Exit codes:
  0  listed, also when the list is empty
  1  the runtime directory cannot be read
  2  the command line cannot be used";

/// Arguments of `ls`.
#[derive(Debug, Args)]
#[command(after_help = LS_HELP)]
pub struct LsArguments {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

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

const DEMO_HELP: &str = "\
Shows a small HTTP/1.1 service on loopscope's own event loop, kept busy by a second loop in the same process and \
open to curl and wrk too.
With --trouble it misbehaves every two seconds, in functions with telling names, so that metrics, `loopscope ls` \
and `loopscope flame` have something to find:
  block       parse_invoices computes for 300 ms inside one timer callback
  microtasks  retry_promise queues itself again, as a microtask, for 300 ms
  nexttick    defer_again queues itself again, as a tick, for 300 ms
  pool        40 jobs of resize_image, 150 ms each, on a pool of 4 threads
  timers      500 timers of expire_session, 1 ms each, due at the same moment
  mixed       one after the other

Examples:
  loopscope demo --trouble block
  loopscope demo --trouble mixed --for 30s --listen 127.0.0.1:8080

Exit codes:
  0  ended by --for or Ctrl-C, with a summary
  1  an address is in use, or the machine refused something
  2  the command line cannot be used";

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub struct DemoArguments {
    /// Address of the service; port 0 for any [default: next free port from 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// Address of the agent, /metrics and more; port 0 for any [default: next free port from 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub metrics_listen: Option<SocketAddr>,
    /// End after this time: 500ms, 10s, 2m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What goes wrong every two seconds
    #[arg(long, value_enum, default_value_t = Trouble::None)]
    pub trouble: Trouble,
    /// Requests per second that the demo sends to itself; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub rate: u32,
    /// Print no line per second
    #[arg(long)]
    pub quiet: bool,
}

/// What goes wrong in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Trouble {
    /// Nothing
    None,
    /// One callback that computes for 300 ms
    Block,
    /// Microtasks that keep queueing themselves
    Microtasks,
    /// Ticks that keep queueing themselves
    NextTick,
    /// More jobs than the thread pool can take
    Pool,
    /// More timers than can be run in time
    Timers,
    /// All of these in turn
    Mixed,
}

/// Reads `host:port` with a numeric host or `localhost`, `:port`, or `port`.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").or(text.strip_prefix(':')).unwrap_or(text);
    let on_loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    port.parse().map(on_loopback).or_else(|_| text.parse()).map_err(|_| {
        format!("`{text}` is not an address: write it as 127.0.0.1:8080, [::1]:8080, localhost:8080 or 8080")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_arguments_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn addresses_are_read_in_all_documented_forms() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":0", "127.0.0.1:0"),
            ("localhost:80", "127.0.0.1:80"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(parse_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "x", "127.0.0.1", "65536", "localhost:", "example.org:80"] {
            assert!(parse_address(text).unwrap_err().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn every_trouble_is_explained_in_the_help() {
        for trouble in Trouble::value_variants() {
            let name = trouble.to_possible_value().unwrap().get_name().to_owned();
            assert!(*trouble == Trouble::None || DEMO_HELP.contains(&format!("\n  {name} ")), "{name}");
        }
    }
}
