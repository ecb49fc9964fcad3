//! Arguments and help of `loopscope demo`.

use crate::duration;
use clap::{Args, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What the demo does when asked, with its figures.
pub const DEMO_HELP: &str = "\
Runs a small HTTP/1.1 service on loopscope's own event loop, with load from a second loop in the same process. Send \
it requests of your own with curl or wrk.
With --trouble it misbehaves every two seconds, in functions named after what they do, so that metrics, `loopscope \
ls` and `loopscope flame` have something to find:
  block       parse_invoices computes for 300 ms inside one timer callback
  microtasks  retry_promise queues itself again, as a microtask, for 300 ms
  nexttick    defer_again queues itself again, as a tick, for 300 ms
  pool        40 jobs of resize_image, 150 ms each, on a pool of 4 threads
  timers      500 timers of expire_session, 1 ms each, due at the same moment
  mixed       one after the other

Examples:
  loopscope demo --trouble block
  loopscope demo --node --trouble mixed
  loopscope demo --trouble mixed --for 30s --listen 127.0.0.1:8080

Exit codes:
  0  stopped by --for or Ctrl-C, after printing a summary
  1  an address is in use, or a system call failed
  2  invalid command line";

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
    /// Stop after this time: 500ms, 10s, 2m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// Fault to inject every two seconds
    #[arg(long, value_enum, default_value_t = Trouble::None)]
    pub trouble: Trouble,
    /// Requests per second that the demo sends to itself; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub rate: u32,
    /// Also write every incident to this directory, for `loopscope incidents --dir`
    #[arg(long, value_name = "DIRECTORY")]
    pub incidents_dir: Option<PathBuf>,
    /// Run the service on the installed Node, with the addon, instead of on loopscope's own loop
    #[arg(long)]
    pub node: bool,
    /// Do not print a line every second
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
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
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
