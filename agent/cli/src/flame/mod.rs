//! `loopscope flame`: where a loop's time went, as a picture, a profile for another tool, or a timeline.

mod capture;
mod plan;

use crate::args::FlameArguments;
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::incidents::source;
use crate::output::{Destination, print, print_json, tell};
use crate::target::Target;
use crate::{agent, duration};
use capture::{Capture, Ended};
use loopscope_probe::raw::incident_id::{IncidentId, IncidentIdError};
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Incident;
use loopscope_report::profiles;
use loopscope_report::profiles::widest::SiteTime;
use loopscope_report::profiles::{FlameError, Format, Of, SiteChange};
use plan::Plan;
use serde_json::{Value, json};
use std::path::Path;

/// How many sites the summary names, and how many that have changed.
const SITES_SHOWN: usize = 5;
const CHANGES_SHOWN: usize = 10;

/// Captures, writes the file, and says what is in it.
///
/// # Errors
/// See [`Failure`]: the target is not there, nothing happened in it, or the file cannot be written.
pub fn run(options: &FlameArguments) -> Result<(), Failure> {
    let plan = Plan::new(options)?;
    if let Some((after, file)) = &plan.after {
        let path = options.output.clone().unwrap_or_else(|| plan.path_of(&file.to_string_lossy()));
        let destination = Destination::open(&path)?;
        return finish(options, &plan, &path, destination, &capture::of_files(after, file, &plan)?);
    }
    if let Some(id) = &options.incident {
        let path = options.output.clone().unwrap_or_else(|| plan.path_of(id));
        return draw_incident(options.target.as_deref(), id, &plan, &path);
    }
    let target = Target::find(options.target.as_deref())?;
    let path = options.output.clone().unwrap_or_else(|| plan.default_path(&target));
    let sampler = || agents_of(&target, plan.loop_name.as_deref(), "stacks are sampled by");
    let needs_agent = plan.of.is_sampled().then(sampler).transpose()?;
    // Before the capture: nobody should wait ten seconds to learn that the file cannot be written.
    let destination = Destination::open(&path)?;
    let capture = match (&target, needs_agent) {
        (_, Some(agents)) => capture::of_agent(only_agent(&agents, plan.loop_name.as_deref())?, &plan)?,
        (Target::Process(process), None) => capture::of_process(process, &plan)?,
        (Target::Url(url), None) => capture::of_agent(&Endpoint::given(url), &plan)?,
    };
    finish(options, &plan, &path, destination, &capture)
}

/// Writes the file, says what is in it, and fails where a site grew by more than is allowed.
fn finish(
    options: &FlameArguments,
    plan: &Plan,
    path: &Path,
    destination: Destination,
    capture: &Capture,
) -> Result<(), Failure> {
    destination.write(&capture.file)?;
    let summary = CaptureSummary { capture, path, plan };
    match (options.json, path == Path::new("-")) {
        (true, _) => print_json(&summary.json())?,
        (false, true) => tell(&summary.text()),
        (false, false) => print(&summary.text())?,
    }
    let grown = |change: &&SiteChange| plan.fail_above.is_some_and(|most| change.change_ratio > most);
    match capture.changes.iter().find(grown) {
        None => Ok(()),
        Some(change) => Err(Failure::Grown(format!(
            "{} grew by {:.1}% of the larger total, more than --fail-above {}%",
            change.site,
            change.change_ratio * 100.0,
            plan.fail_above.unwrap_or_default() * 100.0
        ))),
    }
}

/// Returns where the target's agents are, which are needed for what a page does not tell: at least one. With a loop's name,
/// those that watch one so called, where any does.
fn agents_of(
    target: &Target,
    loop_name: Option<&str>,
    needed_because: &str,
) -> Result<Vec<Endpoint>, Failure> {
    let process = match target {
        Target::Url(url) => return Ok(vec![Endpoint::given(url)]),
        Target::Process(process) => process,
    };
    let of_loop = loop_name.map(|name| process.agents_of(name)).filter(|agents| !agents.is_empty());
    let agents = of_loop.unwrap_or_else(|| process.agents());
    match agents.is_empty() {
        false => Ok(agents),
        true => Err(Failure::system(
            &format!("ask the agent of {}", process.label()),
            format!(
                "{needed_because} the agent in the process, and it has none that listens; start one in it \
                 (`loopscope_agent::Agent::builder().start()`). Callbacks and timelines need none"
            ),
        )),
    }
}

/// Returns the agent that samples: each samples the threads of its own loops.
fn only_agent<'a>(agents: &'a [Endpoint], loop_name: Option<&str>) -> Result<&'a Endpoint, Failure> {
    let [agent] = agents else {
        let urls: Vec<&str> = agents.iter().map(Endpoint::url).collect();
        let (count, urls) = (agents.len(), urls.join("\n  "));
        return Err(Failure::Ambiguous(match loop_name {
            None => format!(
                "the process has {count} agents, and each samples its own loops: choose by --loop, or give the URL of one\n  {urls}"
            ),
            Some(name) => format!(
                "the process has {count} agents, and `{name}` is not of one of them only: give the URL of one\n  {urls}"
            ),
        }));
    };
    Ok(agent)
}

/// Finds an incident: asks the agents for it, and looks at what processes that are gone have kept.
fn incident_meant(target: Option<&str>, id: &str) -> Result<Incident, Failure> {
    let of_agents = Target::find(target)
        .and_then(|target| incident_of(&agents_of(&target, None, "incidents are kept by")?, id));
    match of_agents {
        Err(failure @ Failure::NotFound(_)) => {
            let kept = source::of_processes_and_kept(target).and_then(|all| all.pick(id));
            kept.map(|found| found.incident).map_err(|_| failure)
        }
        told => told,
    }
}

/// Asks for an incident: the only one that is called so, where several agents are asked.
fn incident_of(agents: &[Endpoint], id: &str) -> Result<Incident, Failure> {
    let wanted: IncidentId =
        id.parse().map_err(|error: IncidentIdError| Failure::Usage(format!("--incident: {error}")))?;
    let answers = agents.iter().map(|endpoint| agent::incident(endpoint, wanted));
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(incident) => found.push(incident),
            Err(failure) => failures.push(failure),
        }
    }
    let Some(first) = found.pop() else {
        // Who does not answer may have it, which the "not found" of another one does not rule out.
        let is_no_answer = |failure: &Failure| !matches!(failure, Failure::NotFound(_));
        let at = failures.iter().position(is_no_answer).unwrap_or(0);
        return Err(failures.swap_remove(at));
    };
    if found.is_empty() {
        return Ok(first);
    }
    found.push(first);
    let ids = found.iter().map(|incident| incident.identity().short_with_loop().to_string());
    Err(Failure::Ambiguous(format!(
        "`{id}` means several incidents, because their process has several agents: give the whole id\n  {}",
        ids.collect::<Vec<_>>().join("\n  ")
    )))
}

fn draw_incident(target: Option<&str>, id: &str, plan: &Plan, path: &Path) -> Result<(), Failure> {
    let destination = Destination::open(path)?;
    let incident = incident_meant(target, id)?;
    // The formats have filters of their own.
    let drawn = profiles::of_incident(&incident, plan.format);
    let incident = incident.printable();
    let file = drawn.map_err(|error| match error {
        FlameError::Empty => Failure::NothingCaptured(format!(
            "incident {id} cannot be drawn as {}: {}",
            plan.format.name(),
            incident.captures_failed.first().map_or("no stack was captured in it", String::as_str)
        )),
        error => Failure::system("draw the incident", error),
    })?;
    destination.write(&file)?;
    let lasted = show_ns(incident.duration_ns);
    let text = format!("Incident {id}, {lasted}: {}.\n{}", incident.summary, written_to(path, plan.format));
    if path == Path::new("-") {
        tell(&text);
        return Ok(());
    }
    print(&text)
}

/// Says where the file is and what opens it; nothing for stdout.
fn written_to(path: &Path, format: Format) -> String {
    if path == Path::new("-") {
        return String::new();
    }
    let path = path.display();
    let hint = match format {
        Format::Svg => "; open it in a browser".to_owned(),
        Format::Folded => String::new(),
        Format::Pprof => format!("; open it with `go tool pprof -http=: {path}`"),
        Format::Speedscope => "; open it at https://www.speedscope.app".to_owned(),
        Format::Firefox => "; open it at https://profiler.firefox.com".to_owned(),
        Format::Trace => "; open it at https://ui.perfetto.dev or https://www.speedscope.app".to_owned(),
    };
    format!("Written to {path}{hint}.\n")
}

struct CaptureSummary<'a> {
    capture: &'a Capture,
    path: &'a Path,
    plan: &'a Plan,
}

impl CaptureSummary<'_> {
    fn text(&self) -> String {
        let capture = self.capture;
        let lasted = show_ns(capture.lasted_ns);
        let mut text = match capture.ended {
            Ended::InTime => String::new(),
            Ended::Interrupted => {
                format!("Interrupted after {lasted} of {}.\n", duration::show(self.plan.length))
            }
            Ended::ProcessGone => {
                format!("The process exited after {lasted}; this is what it did until then.\n")
            }
        };
        if let Some(sites) = &capture.sites {
            text += &widest_text(sites, self.plan.of, capture.lasted_ns);
        }
        text += &changes_text(&capture.changes);
        for note in &capture.notes {
            text += &format!("{note}.\n");
        }
        text + &written_to(self.path, self.plan.format)
    }

    fn json(&self) -> Value {
        let capture = self.capture;
        let site = |site: &SiteTime| {
            json!({
                "loop": site.loop_name, "phase": site.phase, "site": site.frame, "job": site.job, "seconds": site.ns as f64 / 1e9,
            })
        };
        let ended = match capture.ended {
            Ended::InTime => "in_time",
            Ended::Interrupted => "interrupted",
            Ended::ProcessGone => "process_ended",
        };
        // Files do not tell how they were captured.
        let is_captured = self.plan.after.is_none();
        json!({
            "file": self.path.to_string_lossy(),
            "of": is_captured.then(|| self.plan.of.name()),
            "format": self.plan.format.name(),
            "seconds": is_captured.then_some(capture.lasted_ns as f64 / 1e9),
            "ended": is_captured.then_some(ended),
            "notes": capture.notes,
            "changes": capture.changes.iter().map(change_json).collect::<Vec<_>>(),
            "sites": capture.sites.as_ref().map(|sites| sites.iter().map(site).collect::<Vec<_>>()),
        })
    }
}

fn change_json(change: &SiteChange) -> Value {
    json!({
        "site": change.site,
        "before_seconds": change.before_ns as f64 / 1e9,
        "after_seconds": change.after_ns as f64 / 1e9,
        "change_ratio": change.change_ratio,
    })
}

/// Says what has changed by more than the noise, the greatest change first.
fn changes_text(changes: &[SiteChange]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let told: Vec<&SiteChange> =
        changes.iter().filter(|change| change.change_ratio.abs() >= 0.005).take(CHANGES_SHOWN).collect();
    if told.is_empty() {
        return "No change of 0.5% of the larger total or more.\n".to_owned();
    }
    let mut text = "Changes, as share of the larger of both totals:\n".to_owned();
    for change in told {
        let (before, after) = (show_ns(change.before_ns), show_ns(change.after_ns));
        let percent = change.change_ratio * 100.0;
        text += &format!("{percent:+6.1}%  {before:>7} -> {after:>7}  {}\n", change.site);
    }
    text
}

fn widest_text(sites: &[SiteTime], of: Of, lasted_ns: u64) -> String {
    let busy_ns = sites.iter().fold(0, |sum: u64, site| sum.saturating_add(site.ns));
    let of_time = busy_ns as f64 * 100.0 / lasted_ns.max(1) as f64;
    let (busy, lasted, words) = (show_ns(busy_ns), show_ns(lasted_ns), of.words());
    let mut text = format!("{busy} {words} within {lasted} ({of_time:.0}% of one core). The widest:\n");
    // What an agent told beyond the first has no name.
    for site in sites.iter().filter(|site| !site.frame.is_empty()).take(SITES_SHOWN) {
        let percent = site.ns as f64 * 100.0 / busy_ns.max(1) as f64;
        text += &format!("{percent:6.1}%  {:>7}  {}\n", show_ns(site.ns), site.label());
    }
    text
}
