//! Arguments and help of `loopscope serve`.

use super::demo::parse_address;
use crate::duration;
use clap::Args;
use loopscope_agent::Listen;
use std::path::PathBuf;
use std::time::Duration;

const SERVE_HELP: &str = "\
Serves all loops of this host over HTTP from one process: one scrape, one page, one list of incidents.
It discovers instrumented programs, with or without an agent, by their pages in shared memory. It only reads these \
pages, so it works for blocked loops too, and the programs do not notice it.
  /metrics                            the metrics of all loops, with the labels pid, name, loop and runtime
  /sd                                 the agents of this host, for Prometheus's http_sd_configs
  /debug/loopscope/incidents          incidents of all processes, including stalls of killed ones
  /debug/loopscope/flamegraph?pid=N   a capture, by that process's agent
Counters of a process that exited are kept for --keep, so that a last scrape sees them. Metrics that only an agent \
has (incidents by kind, captures, the program's own metrics) are on the agents' own /metrics.
A server that authenticates its own clients (--guard-token-file, users in --web-config, or a socket file to listen \
on) reaches the agents of this user's processes by their socket files, which need no token. Any other server uses \
the addresses on their pages, and gets what agents show without a token: otherwise tunnels and proxies that run as \
this user would bypass the agents' tokens. --token-file has the same condition; its token is sent only over TLS, to \
agents with a certificate signed by --ca-file.
This user and root may read everything; other users get health and metrics only.

Examples:
  loopscope serve
  loopscope serve --listen 127.0.0.1:9500 --keep 5m
  loopscope flame http://127.0.0.1:9463/process/4711     that process's agent, through this server
  loopscope serve --dir '/dev/shm/loopscope-*' --dir '/run/user/*/loopscope'      all users' processes, if their \
pages can be read

Exit codes:
  0  stopped by Ctrl-C or SIGTERM
  1  the address is in use, or a system call failed
  2  invalid command line";

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct ServeArguments {
    /// Address to listen on, port 0 for any free port, or unix:PATH [default: 127.0.0.1:9463, one below the agents' ports]
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Option<Listen>,
    /// Retention of counters after a process exits: 500ms, 10s, 2m [default: 150s, enough for two scrapes a minute apart]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub keep: Option<Duration>,
    /// Export histograms with 9 classic buckets instead of up to 25: a third to a half fewer samples
    #[arg(long)]
    pub few_buckets: bool,
    /// Directory of pages, `*` matches any name; repeatable [default: this user's runtime directory]
    #[arg(long = "dir", value_name = "DIRECTORY")]
    pub directories: Vec<PathBuf>,
    /// Token file: clients must send this bearer token for incidents and captures; required unless on loopback
    #[arg(long, value_name = "FILE")]
    pub guard_token_file: Option<PathBuf>,
    /// Host name that clients may use, besides IP addresses and localhost; repeatable
    #[arg(long = "host-name", value_name = "NAME")]
    pub host_names: Vec<String>,
    /// TLS, users and headers, in the format of Prometheus's --web.config.file
    #[arg(long, value_name = "FILE")]
    pub web_config: Option<PathBuf>,
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(Listen::Unix(path.into())),
        None => parse_address(text).map(Listen::Exactly),
    }
}
