//! Arguments and help of `loopscope incidents`.

use crate::duration;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::{Class, IncidentKind};
use std::path::PathBuf;
use std::time::Duration;

const INCIDENTS_HELP: &str = "\
Lists incidents, newest first: stalls, starvation, saturated pools. With an ID, shows one in full: the cause, the \
stacks, what ran during it, and the callbacks before it.
Incidents come from the agents of running processes; from a directory that an agent writes them to (--dir), even \
after its process exited; and from the pages of processes that were killed during a stall. The latter have no \
stacks, but show what the loop was doing, for how long, and the last callbacks.
Without a TARGET, incidents of all processes of this user are listed.

Examples:
  loopscope incidents                        everything, newest first
  loopscope incidents web last               the newest one of process or loop `web`, in full
  loopscope incidents 4711 --loop api        those of all workers of runtime `api`
  loopscope incidents 4711-3 --flame stall.svg --trace stall.json
  loopscope incidents --dir /var/lib/app/incidents --json | jq -r '.incidents[].headline'
  loopscope incidents --since 10m --class computing --json | jq '.summary[0]'      the site that took the most time

Exit codes:
  0  listed, even if there are none
  1  failed: the message on stderr says what, and how to fix it
  2  invalid command line
  3  no such target or incident";

/// Returns what lists, which have little room, call the class of this name in JSON.
pub fn list_word(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// Takes the words of lists, and the names of JSON and runbooks, for which it returns those of lists.
fn class_parser() -> impl TypedValueParser<Value = String> {
    let classes = [
        Class::Computing,
        Class::Waiting,
        Class::StarvedOfCpu,
        Class::Stopped,
        Class::Suspended,
        Class::Debugger,
        Class::Unknown,
    ];
    let names = classes.map(Class::name).into_iter().chain([IncidentKind::Pool.name()]);
    PossibleValuesParser::new(names.map(|name| PossibleValue::new(list_word(name)).alias(name)))
        .map(|class| list_word(&class).to_owned())
}

/// Arguments of `incidents`.
#[derive(Debug, Args)]
#[command(after_help = INCIDENTS_HELP)]
pub struct IncidentsArguments {
    /// Pid, name of a process or loop, or URL of an agent; also of a process that has exited
    pub target: Option<String>,
    /// Incident to show in full: PID-NUMBER, its NUMBER alone after a TARGET, or `last`
    pub id: Option<String>,
    /// Only incidents of this loop, or of all workers of this runtime; the name is as in `ls`
    #[arg(long = "loop", value_name = "NAME")]
    pub loop_name: Option<String>,
    /// Only incidents that ended within this time: 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub since: Option<Duration>,
    /// Only incidents of this class; `starved` (`starved_of_cpu` in JSON) means the thread had no processor, not starvation of the loop
    #[arg(long, value_name = "CLASS", value_parser = class_parser())]
    pub class: Option<String>,
    /// Also list the last activity of processes that exited without an incident
    #[arg(long)]
    pub all: bool,
    /// Print JSON instead of text: the incidents, and a summary by loop and site
    #[arg(long)]
    pub json: bool,
    /// Show every frame of the incident's stacks, without folding those of libraries
    #[arg(long)]
    pub all_frames: bool,
    /// List at most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: u32,
    /// Write a flamegraph of the incident, or of all listed ones; the format follows the extension: svg, folded, pprof ...
    #[arg(long, value_name = "FILE")]
    pub flame: Option<PathBuf>,
    /// Write a timeline of the incident as Chrome trace events, for Perfetto and speedscope
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Read incidents from this directory, where an agent wrote them, instead of asking agents
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
    use crate::args::{Arguments, Command};
    use clap::Parser;

    #[test]
    fn a_class_goes_by_the_word_of_json_too() {
        let class = |word: &str| {
            let arguments = Arguments::try_parse_from(["loopscope", "incidents", "--class", word]).ok()?;
            match arguments.command {
                Command::Incidents(incidents) => incidents.class,
                _ => None,
            }
        };
        for (word, kept) in [
            ("starved_of_cpu", Some("starved")),
            ("starved", Some("starved")),
            ("pool", Some("pool")),
            ("starvation", None),
        ] {
            assert_eq!(class(word).as_deref(), kept, "{word}");
        }
    }

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
                all_frames: false,
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
