//! Arguments and help of `loopscope serve`.

use super::demo::parse_address;
use crate::duration;
use clap::Args;
use loopscope_agent::Listen;
use std::path::PathBuf;
use std::time::Duration;

const SERVE_HELP: &str = "\
Serves every loop of this host over HTTP, from one process: one scrape, one page, one list of incidents.
It finds instrumented programs by their pages in shared memory, with or without an agent in them, as they come and go; \
it only reads, so nobody notices it, and a blocked loop is seen like any other.
  /metrics                            the metrics of all loops, with the labels pid, name, loop and runtime
  /sd                                 the agents of this host, for Prometheus's http_sd_configs
  /debug/loopscope/incidents          incidents of all processes, also what killed ones were in the middle of
  /debug/loopscope/flamegraph?pid=N   a capture, by that process's agent
The counters of a process that ended stay for --keep, so that the last scrape sees them, and then leave. What an agent \
alone knows (incidents by kind, captures, the program's own metrics) is on the agents' pages, and not on this one.
Agents of this user's processes are asked by their socket files, and need no token there. Those of other users, where \
pages of theirs can be read, are asked with --token-file if they have TLS and --ca-file signed their certificate; no token \
is shown to others. With --token-file, --guard-token-file is needed, too, or a socket file: else tunnels and proxies of \
this user would get past the agents' token.
Everything is answered to this user and to root; other users get health and numbers.

Examples:
  loopscope serve
  loopscope serve --listen 127.0.0.1:9500 --keep 5m
  loopscope flame http://127.0.0.1:9463/process/4711     through it, as if it were that process's agent
  loopscope serve --dir '/dev/shm/loopscope-*' --dir '/run/user/*/loopscope'      those of all users, if it may read them

Exit codes:
  0  ended by Ctrl-C or SIGTERM
  1  the address is in use, or the machine refused something
  2  the command line cannot be used";

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct ServeArguments {
    /// Address to answer on, port 0 for any, or unix:PATH [default: 127.0.0.1:9463, one below the agents' ports]
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Option<Listen>,
    /// How long the counters of what has ended stay: 500ms, 10s, 2m [default: 150s, over two scrapes a minute apart]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub keep: Option<Duration>,
    /// Write histograms with nine classic bounds instead of up to 25: a third to a half fewer samples
    #[arg(long)]
    pub few_buckets: bool,
    /// Directory of pages, `*` for any name; may be given several times [default: this user's runtime directory]
    #[arg(long = "dir", value_name = "DIRECTORY")]
    pub directories: Vec<PathBuf>,
    /// File with a token that clients must show for incidents and captures; needed where others reach the address
    #[arg(long, value_name = "FILE")]
    pub guard_token_file: Option<PathBuf>,
    /// Name that clients may call this server by, besides IP addresses and localhost; may be given several times
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
