//! `loopscope threshold`: from which age on a busy period is a stall, shown and changed while the program runs.

use crate::agent::{self, Change, Thresholds};
use crate::args::ThresholdArguments;
use crate::duration::show;
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::output::{print, print_json};
use crate::target::Target;
use loopscope_report::duration::show_ns;
use std::time::Duration;

/// No threshold may be lower: the agent looks at a busy loop once a threshold.
const LOWEST: Duration = Duration::from_millis(2);

/// Shows the thresholds, or changes them and shows what they are then.
///
/// # Errors
/// No such target or loop, no agent, or thresholds that make no sense.
pub fn run(options: &ThresholdArguments) -> Result<(), Failure> {
    check(options)?;
    let target = Target::find(options.target.as_deref())?;
    let is_change = options.warning.is_some() || options.critical.is_some();
    let agents = match &target {
        Target::Url(url) => vec![Endpoint::given(url)],
        Target::Process(process) => process.agents(),
    };
    if let (Target::Process(process), true) = (&target, agents.is_empty()) {
        return Err(Failure::system(
            &format!("ask {} for its thresholds", process.label()),
            "it has no agent that listens; start one in it (`loopscope_agent::Agent::builder().start()`)",
        ));
    }
    let mut told = agents.iter().map(agent::thresholds).collect::<Result<Vec<Thresholds>, Failure>>()?;
    let has_loop = |thresholds: &Thresholds| {
        options
            .loop_name
            .as_ref()
            .is_none_or(|name| thresholds.loops.iter().any(|entry| entry.is_called(name)))
    };
    if let Some(name) = options.loop_name.as_ref().filter(|_| !told.iter().any(has_loop)) {
        return Err(Failure::NotFound(no_such_loop(name, &joined(told))));
    }
    if is_change {
        let change = Change {
            loop_name: options.loop_name.as_deref(),
            warning: options.warning,
            critical: options.critical,
        };
        let mut changed: Vec<String> = Vec::new();
        for (endpoint, told) in agents.iter().zip(&mut told).filter(|(_, told)| has_loop(told)) {
            let answer = agent::set_thresholds(endpoint, &change);
            *told = answer.map_err(|failure| half_made(failure, endpoint, &changed))?;
            let loops = told.loops.iter().filter(|entry| change.is_of(entry));
            changed.extend(loops.map(|entry| entry.r#loop.clone()));
        }
    }
    let mut thresholds = joined(told);
    if let Some(name) = &options.loop_name {
        thresholds.loops.retain(|entry| entry.is_called(name));
    }
    match options.json {
        true => print_json(&serde_json::to_value(&thresholds).unwrap_or_default()),
        false => print(&table(&thresholds, is_change)),
    }
}

/// Adds to a failure which loops other agents of the process have changed before.
fn half_made(failure: Failure, endpoint: &Endpoint, changed: &[String]) -> Failure {
    if changed.is_empty() {
        return failure;
    }
    let (url, because) = match failure {
        Failure::Remote { url, because } => (url, because),
        failure => (endpoint.to_string(), failure.to_string()),
    };
    let because =
        format!("{because}; changed before that, by another agent of the process: {}", changed.join(", "));
    Failure::Remote { url, because }
}

/// Joins what the agents of a process tell, each of its own loops.
fn joined(told: Vec<Thresholds>) -> Thresholds {
    let mut told = told.into_iter();
    let mut first = told.next().unwrap_or_default();
    first.loops.extend(told.flat_map(|other| other.loops));
    first
}

fn check(options: &ThresholdArguments) -> Result<(), Failure> {
    for (name, value) in [("--warning", options.warning), ("--critical", options.critical)] {
        if let Some(value) = value.filter(|value| *value < LOWEST) {
            let message = format!("{name} {}: the lowest threshold is {}", show(value), show(LOWEST));
            return Err(Failure::Usage(message));
        }
    }
    match (options.warning, options.critical) {
        (Some(warning), Some(critical)) if warning > critical => Err(Failure::Usage(format!(
            "--warning {} must not be above --critical {}",
            show(warning),
            show(critical)
        ))),
        _ => Ok(()),
    }
}

fn no_such_loop(name: &str, thresholds: &Thresholds) -> String {
    let names: Vec<&str> = thresholds.loops.iter().map(|entry| entry.r#loop.as_str()).collect();
    format!("no loop `{name}`; there are:\n  {}", names.join("\n  "))
}

fn table(thresholds: &Thresholds, was_changed: bool) -> String {
    let names = thresholds.loops.iter().map(|entry| entry.r#loop.chars().count());
    let width = names.max().unwrap_or(0).max(4);
    let mut text = if was_changed { "Changed; now:\n".to_owned() } else { String::new() };
    text += &format!("{:width$}  {:>8}  {:>8}\n", "LOOP", "WARNING", "CRITICAL");
    for entry in &thresholds.loops {
        let (warning, critical) = (show_ns(entry.warning_ns), show_ns(entry.critical_ns));
        text += &format!("{:width$}  {warning:>8}  {critical:>8}\n", entry.r#loop);
    }
    if thresholds.loops.is_empty() {
        text += "The process has no loops now.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::LoopThresholds;

    fn options(warning_ms: Option<u64>, critical_ms: Option<u64>) -> ThresholdArguments {
        ThresholdArguments {
            target: None,
            loop_name: None,
            warning: warning_ms.map(Duration::from_millis),
            critical: critical_ms.map(Duration::from_millis),
            json: false,
        }
    }

    #[test]
    fn thresholds_that_make_no_sense_are_refused() {
        for (warning, critical) in [(None, None), (Some(2), None), (Some(50), Some(50)), (None, Some(2))] {
            assert!(check(&options(warning, critical)).is_ok());
        }
        for (warning, critical, part) in [
            (Some(1), None, "--warning 1ms: the lowest threshold is 2ms"),
            (None, Some(0), "--critical 0s"),
            (Some(60), Some(50), "--warning 60ms must not be above --critical 50ms"),
        ] {
            let failure = check(&options(warning, critical)).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
    }

    #[test]
    fn thresholds_are_a_table_that_lines_up() {
        let entry = |name: &str, warning_ns| LoopThresholds {
            r#loop: name.to_owned(),
            group: String::new(),
            name: name.to_owned(),
            warning_ns,
            critical_ns: 1_000_000_000,
        };
        let thresholds = Thresholds {
            loops: vec![entry("web", 50_000_000), entry("worker#2", 5_000_000)],
            ..Thresholds::default()
        };
        let text = table(&thresholds, true);
        assert_eq!(
            text,
            "Changed; now:\nLOOP       WARNING  CRITICAL\nweb          50 ms     1.0 s\nworker#2    5.0 ms     1.0 s\n"
        );
        assert!(no_such_loop("x", &thresholds).ends_with("`x`; there are:\n  web\n  worker#2"));
    }
}
