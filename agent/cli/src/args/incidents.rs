//! Arguments and help of `loopscope incidents`.

use crate::duration;
use clap::Args;
use loopscope_probe::raw::incident_id::IncidentId;
use std::path::PathBuf;
use std::time::Duration;

const INCIDENTS_HELP: &str = "\
Lists what went wrong, newest first: stalls, starvation, saturated pools. With an ID, one of them in full: who is to \
blame, the stacks, what ran in it, the callbacks before it.
Incidents come from the agents of living processes; from a directory where an agent writes them (--dir), also after \
its process ended; and from the pages of processes that were killed in the middle of a block: those have no stacks, \
but they tell what the loop was doing, since when, and the last callbacks.
Without a TARGET, all processes of this machine and user are listed.

Examples:
  loopscope incidents                        everything, newest first
  loopscope incidents web last               the newest of process or loop `web`, in full
  loopscope incidents 4711 --loop api        those of all workers of runtime `api`
  loopscope incidents 4711-3 --flame stall.svg --trace stall.json
  loopscope incidents --dir /var/lib/app/incidents --json | jq -r '.incidents[].headline'
  loopscope incidents --since 10m --class computing --json | jq '.summary[0]'      the site that took most

Exit codes:
  0  listed, also when there are none
  1  failed: the message on stderr names the thing and the remedy
  2  the command line cannot be used
  3  no such target, or it has no such incident";

/// Arguments of `incidents`.
#[derive(Debug, Args)]
#[command(after_help = INCIDENTS_HELP)]
pub struct IncidentsArguments {
    /// Pid, name of a process or loop, or URL of an agent; also of a process that has ended
    pub target: Option<String>,
    /// Incident to show in full: PID-NUMBER, its NUMBER alone after a TARGET, or `last`
    pub id: Option<String>,
    /// Only those of this loop, or of all workers of this runtime: its name as `ls` shows it
    #[arg(long = "loop", value_name = "NAME")]
    pub loop_name: Option<String>,
    /// Only those that were not over so long ago: 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub since: Option<Duration>,
    /// Only those of this class, as the list shows it
    #[arg(long, value_name = "CLASS", value_parser = ["computing", "waiting", "starved", "stopped", "suspended", "debugger", "unknown", "pool"])]
    pub class: Option<String>,
    /// List also what processes did last that ended without an incident, instead of their number
    #[arg(long)]
    pub all: bool,
    /// Print JSON instead of text: the incidents, and a summary by loop and site
    #[arg(long)]
    pub json: bool,
    /// List at most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: u32,
    /// Draw where the time of the incident, or of all that are listed, went: svg, folded, pprof ... by the ending
    #[arg(long, value_name = "FILE")]
    pub flame: Option<PathBuf>,
    /// Write what ran around the incident as Chrome trace events, which Perfetto and speedscope open
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Read the incidents that an agent wrote to this directory, instead of asking agents
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
}

impl IncidentsArguments {
    /// Returns TARGET and ID as they are meant: `4711-3` alone is an incident and not the name of a process, and
    /// `last` alone is the newest of all.
    pub fn meant(&self) -> (Option<&str>, Option<&str>) {
        match (self.target.as_deref(), self.id.as_deref()) {
            (Some("last"), None) => (None, Some("last")),
            (Some(text), None) if text.parse::<IncidentId>().is_ok() => {
                (text.split_once('-').map(|(pid, _)| pid), Some(text))
            }
            both => both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_alone_names_its_process_too() {
        let meant = |target: &str, id: Option<&str>| {
            let arguments = IncidentsArguments {
                target: Some(target.to_owned()),
                id: id.map(str::to_owned),
                loop_name: None,
                json: false,
                since: None,
                class: None,
                all: false,
                last: 20,
                flame: None,
                trace: None,
                dir: None,
            };
            let (target, id) = arguments.meant();
            (target.map(str::to_owned), id.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(meant("4711-3", None), (some("4711"), some("4711-3")));
        assert_eq!(meant("4711-3@50-7", None), (some("4711"), some("4711-3@50-7")));
        assert_eq!(meant("4711-web", None), (some("4711-web"), None));
        assert_eq!(meant("web-1", None), (some("web-1"), None));
        assert_eq!(meant("last", None), (None, some("last")));
        assert_eq!(meant("web", Some("3")), (some("web"), some("3")));
    }
}
