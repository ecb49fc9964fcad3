//! Where incidents come from: agents, directories of files, and the pages of processes that have no agent (any more).

use super::kept;
use crate::args::list_word;
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::pages::{LoopPage, Process};
use crate::target::Reached;
use crate::{agent, target};
use loopscope_probe::raw::clock;
use loopscope_probe::raw::directory::runtime_directory;
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::printable::printable;
use loopscope_report::diagnose::{reconstruct, under_way};
use loopscope_report::incident::{Incident, IncidentKind};
use std::fs;
use std::path::{Path, PathBuf};

/// No incident file is longer than this; a directory may hold anything.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where one incident was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the list of this agent, without its long parts.
    Agent(Endpoint),
    /// In a file, in full.
    File(PathBuf),
    /// In a file that it left beside its pages, in full but for the begin of its records.
    Kept,
    /// On the page of a process that has ended.
    PageOfTheDead,
    /// On the page of a process that lives and has no agent to ask.
    Page,
}

impl Origin {
    /// Returns the word that stands for it in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Origin::Agent(_) => "agent",
            Origin::File(_) => "file",
            Origin::Kept => "kept",
            Origin::PageOfTheDead | Origin::Page => "page",
        }
    }
}

/// An incident and where it was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub incident: Incident,
    pub origin: Origin,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct IncidentSet {
    /// Newest first.
    pub found: Vec<Found>,
    /// What ended processes did last that was no incident.
    pub quiet: Vec<Found>,
    /// What could not be read or asked, a sentence each.
    pub notes: Vec<String>,
    /// A list says of `quiet` only how many they are.
    pub hides_quiet: bool,
    /// What pages call incidents that are told as their agents kept them, and what those call them: a server of the
    /// host, which has the page only, tells the former.
    pub(super) other_ids: Vec<(IncidentId, IncidentId)>,
}

/// Which incidents are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Those of this loop or runtime.
    pub loop_name: Option<&'a str>,
    /// Those of this class, or `pool`.
    pub class: Option<&'a str>,
    /// Those that were not over before, in nanoseconds since 1970.
    pub since_unix_ns: Option<u64>,
}

/// Returns the word that lists and `--class` have: the first of its class, or that of its kind where a class says nothing.
pub fn class_word(incident: &Incident) -> &'static str {
    match incident.kind {
        // A full pool is no time of the loop's thread, which a class would be of.
        IncidentKind::Pool => "pool",
        _ => list_word(incident.class.name()),
    }
}

impl Filter<'_> {
    fn keeps(&self, incident: &Incident) -> bool {
        let end = incident.begin_unix_ns.saturating_add(incident.duration_ns);
        self.loop_name.is_none_or(|name| incident.is_of(name))
            && self.class.is_none_or(|class| class_word(incident) == class)
            && self.since_unix_ns.is_none_or(|since| end >= since)
    }
}

/// Asks the processes that fit `target`, all of them where it is not given.
///
/// # Errors
/// Nothing fits; or only one process was asked, and it does not answer.
pub fn of_processes(target: Option<&str>) -> Result<IncidentSet, Failure> {
    let mut catch = IncidentSet::default();
    match target::reach(target)? {
        Reached::Url(url) => catch.ask(&Endpoint::given(&url))?,
        Reached::Processes(processes) => catch = of_found(&processes)?,
    }
    catch.sort();
    Ok(catch)
}

/// As [`of_processes`], with what processes have kept beside their pages: also those that are gone.
///
/// # Errors
/// As there, where nothing was kept either.
pub fn of_processes_and_kept(target: Option<&str>) -> Result<IncidentSet, Failure> {
    let mut kept = kept::incidents(&runtime_directory(), clock::unix_ns());
    kept.retain(|incident| is_of(incident, target));
    let mut catch = IncidentSet::default();
    match target::reach(target) {
        Ok(Reached::Url(url)) => catch.ask(&Endpoint::given(&url))?,
        Ok(Reached::Processes(processes)) => {
            catch = match of_found(&processes) {
                // Of one that does not answer, what it has kept is known all the same.
                Err(failure) if !kept.is_empty() => IncidentSet { notes: vec![failure.to_string()], ..catch },
                caught => caught?,
            };
            catch.add_kept(kept, &processes);
        }
        // A process that is gone, and its pages with it.
        Err(Failure::NotFound(_)) if !kept.is_empty() => catch.add_kept(kept, &[]),
        Err(failure) => return Err(failure),
    }
    catch.sort();
    Ok(catch)
}

/// Asks these processes.
///
/// # Errors
/// There is only one, and it does not answer.
pub fn of_found(processes: &[Process]) -> Result<IncidentSet, Failure> {
    let mut catch = IncidentSet::default();
    for process in processes {
        catch.notes.extend(process.unreadable());
        match catch.look_at(process) {
            Err(failure) if processes.len() == 1 => return Err(failure),
            Err(failure) => catch.notes.push(format!("{}: cannot ask its agent: {failure}", process.label())),
            Ok(()) => {}
        }
    }
    catch.sort();
    Ok(catch)
}

/// Reads a directory of incident files.
///
/// # Errors
/// It cannot be read.
pub fn of_directory(directory: &Path, target: Option<&str>) -> Result<IncidentSet, Failure> {
    let refused = |error| Failure::Input { path: directory.to_owned(), error };
    let mut catch = IncidentSet::default();
    for entry in fs::read_dir(directory).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        match read(&path) {
            Ok(incident) if is_of(&incident, target) => {
                catch.found.push(Found { incident, origin: Origin::File(path) });
            }
            Ok(_) => {}
            Err(because) => catch.notes.push(format!("{} skipped: {because}", path.display())),
        }
    }
    catch.sort();
    Ok(catch)
}

fn read(path: &Path) -> Result<Incident, String> {
    let facts = fs::metadata(path).map_err(|error| error.to_string())?;
    if !facts.is_file() || facts.len() > FILE_BYTES_MAX {
        return Err(format!("not a regular file of at most {} MiB", FILE_BYTES_MAX >> 20));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    Incident::parse(&text).map_err(|error| error.to_string())
}

fn is_of(incident: &Incident, target: Option<&str>) -> bool {
    target.is_none_or(|target| {
        incident.pid.to_string() == target || incident.process == target || incident.is_of(target)
    })
}

/// Tells whether both are of the one stall or full pool that a loop was in when its process ended. The moment since 1970 is
/// known from two clocks.
fn is_same_stall(of_page: &Incident, kept: &Incident) -> bool {
    const CLOCKS_APART_NS: u64 = 1_000_000_000;
    let is_pool = |incident: &Incident| incident.kind == IncidentKind::Pool;
    !kept.is_over
        && of_page.loop_id.agrees_with(kept.loop_id)
        && is_pool(of_page) == is_pool(kept)
        && of_page.begin_unix_ns.abs_diff(kept.begin_unix_ns) < CLOCKS_APART_NS
}

/// Returns the incident of a page with what only its agent knew. It is called as the agent called it.
fn joined(of_page: &Incident, kept: Incident) -> Incident {
    // Of a page alone there are no stacks.
    let note =
        |note: &String| note.replace(": there are no stacks, and it", ", with what its agent had kept: it");
    Incident {
        id: kept.id,
        class: kept.class,
        waiting_in: kept.waiting_in,
        cpu_ns: kept.cpu_ns,
        runqueue_ns: kept.runqueue_ns,
        watched_ns: kept.watched_ns,
        stacks: kept.stacks,
        stacks_in: kept.stacks_in,
        captures_failed: kept.captures_failed,
        captures_suppressed: kept.captures_suppressed,
        jobs_captured: kept.jobs_captured,
        before: kept.before,
        notes: kept.notes.into_iter().chain(of_page.notes.iter().map(note)).collect(),
        ..of_page.clone()
    }
}

impl Found {
    /// Returns the same with an incident that may be shown: it may be an agent's or a file's, and hold anything.
    pub fn printable(&self) -> Found {
        Found { incident: self.incident.printable(), origin: self.origin.clone() }
    }

    fn in_full(&self) -> Result<Found, Failure> {
        let id = self.incident.id;
        let incident = match &self.origin {
            // What was given may be a server of many processes, which calls it so.
            Origin::Agent(endpoint) if endpoint.is_given() => {
                Incident { id, ..agent::incident(endpoint, id)? }
            }
            // To its agent it is the only one of its number, and one of another version may know no longer ids.
            Origin::Agent(endpoint) => Incident { id, ..agent::incident(endpoint, id.short())? },
            _ => self.incident.clone(),
        };
        Ok(Found { incident, origin: self.origin.clone() })
    }
}

impl IncidentSet {
    fn ask(&mut self, endpoint: &Endpoint) -> Result<(), Failure> {
        let incidents = agent::incidents(endpoint)?;
        let found = |incident| Found { incident, origin: Origin::Agent(endpoint.clone()) };
        self.found.extend(incidents.into_iter().map(found));
        Ok(())
    }

    fn look_at(&mut self, process: &Process) -> Result<(), Failure> {
        let agents = if process.is_alive { process.agents() } else { Vec::new() };
        let has_no_agent = "no agent that listens: only stalls that are in progress are known";
        if agents.is_empty() {
            for page in &process.loops {
                self.reconstruct(process, page);
            }
            if process.is_alive && !process.loops.is_empty() {
                self.notes.push(format!("{} has {has_no_agent}", process.label()));
            }
            return Ok(());
        }
        let answers = agents.iter().map(|endpoint| self.ask(endpoint)).collect::<Vec<_>>();
        if answers.iter().all(Result::is_err) {
            return answers.into_iter().collect();
        }
        for (endpoint, failure) in
            agents.iter().zip(answers).filter_map(|(at, answer)| Some((at, answer.err()?)))
        {
            let loops = process.loops_watched_from(endpoint);
            loops.iter().for_each(|page| self.reconstruct(process, page));
            let of = match loops.is_empty() {
                true => String::new(),
                false => format!(" (of {} only stalls that are in progress are known)", labels(&loops)),
            };
            self.notes.push(format!("{}: cannot ask one of its agents{of}: {failure}", process.label()));
        }
        let without_agent = process.loops_without_agent();
        for page in &without_agent {
            self.reconstruct(process, page);
        }
        if !without_agent.is_empty() {
            self.notes.push(format!("{}: {} has {has_no_agent}", process.label(), labels(&without_agent)));
        }
        Ok(())
    }

    /// Adds what processes have kept of their incidents: what is not known from their agents and pages.
    fn add_kept(&mut self, kept: Vec<Incident>, processes: &[Process]) {
        for incident in kept {
            let alive = processes.iter().find(|process| process.is_alive && process.is_of(&incident));
            let is_known = |found: &&mut Found| found.incident.identity().agrees_with(incident.identity());
            if self.found.iter_mut().find(is_known).is_some() {
                continue;
            }
            // The file has the stacks, the page the last moment.
            let is_last = |found: &&mut Found| {
                found.origin == Origin::PageOfTheDead && is_same_stall(&found.incident, &incident)
            };
            if let Some(last) = self.found.iter_mut().find(is_last) {
                self.other_ids.push((last.incident.identity(), incident.identity()));
                last.incident = joined(&last.incident, incident);
                continue;
            }
            // What is under way in a living process is told by its agent or its page.
            if alive.is_none() || incident.is_over {
                self.found.push(Found { incident, origin: Origin::Kept });
            }
        }
    }

    fn reconstruct(&mut self, process: &Process, entry: &LoopPage) {
        let Ok(page) = entry.read() else { return };
        let clock = entry.clock();
        let found = match process.is_alive {
            true => {
                Found { incident: under_way(&page, clock, clock.now(), &entry.name()), origin: Origin::Page }
            }
            false => Found {
                incident: reconstruct(&page, clock, entry.last_moment(&page), &entry.name()),
                origin: Origin::PageOfTheDead,
            },
        };
        match (found.incident.is_beyond_threshold(), process.is_alive) {
            (true, _) => self.found.push(found),
            (false, false) => self.quiet.push(found),
            (false, true) => {}
        }
    }

    /// Leaves out what is not wanted.
    pub fn keep(&mut self, filter: &Filter<'_>) {
        self.found.retain(|found| filter.keeps(&found.incident));
        self.quiet.retain(|found| filter.keeps(&found.incident));
    }

    /// Returns the same with incidents that may be shown.
    pub fn printable(&self) -> IncidentSet {
        let shown = |found: &Vec<Found>| found.iter().map(Found::printable).collect();
        let notes = self.notes.iter().map(|note| printable(note).into_owned()).collect();
        let (hides_quiet, other_ids) = (self.hides_quiet, self.other_ids.clone());
        IncidentSet { found: shown(&self.found), quiet: shown(&self.quiet), notes, hides_quiet, other_ids }
    }

    /// Sorts, and gives each the shortest id that means no other one.
    fn sort(&mut self) {
        self.found
            .sort_by_key(|found| std::cmp::Reverse((found.incident.begin_unix_ns, found.incident.number())));
        let all = self.found.iter_mut().chain(&mut self.quiet).map(|found| &mut found.incident);
        Incident::name_all(&mut all.collect::<Vec<_>>());
    }

    /// Finds the incident that `id` means: in full, or the part after the pid, or `last`. Fetches what a list left out.
    ///
    /// # Errors
    /// There is none; or several that two agents of one process call so; or its agent does not answer any more.
    pub fn pick(&self, id: &str) -> Result<Found, Failure> {
        let (whole, number) = (id.parse::<IncidentId>(), id.parse::<u64>());
        let is_meant = |found: &&Found| match (&whole, &number) {
            (Ok(id), _) => found.incident.identity().agrees_with(self.kept_as(*id)),
            (_, Ok(number)) => found.incident.number() == *number,
            _ => false,
        };
        let newest = self.found.first().filter(|_| id == "last");
        let meant: Vec<&Found> = match newest {
            Some(newest) => vec![newest],
            None => self.found.iter().chain(&self.quiet).filter(is_meant).collect(),
        };
        let Some(found) = meant.first() else { return Err(Failure::NotFound(self.missing(id))) };
        let process = found.incident.process_id();
        let of_process: Vec<&Found> =
            meant.iter().copied().filter(|other| other.incident.process_id() == process).collect();
        match of_process.len() {
            1 => found.in_full(),
            _ => Err(Failure::Ambiguous(ambiguous(id, &of_process))),
        }
    }

    /// Returns what an incident is called here that a page calls `id`.
    fn kept_as(&self, id: IncidentId) -> IncidentId {
        let kept = self.other_ids.iter().find(|(of_page, _)| of_page.agrees_with(id));
        kept.map_or(id, |(_, kept)| *kept)
    }

    /// Returns the newest `most` with their long parts.
    ///
    /// # Errors
    /// An agent does not answer any more.
    pub fn in_full(&self, most: usize) -> Result<Vec<Found>, Failure> {
        self.found.iter().take(most).map(Found::in_full).collect()
    }

    fn missing(&self, id: &str) -> String {
        let ids: Vec<_> = self.found.iter().take(10).map(|found| found.incident.id.to_string()).collect();
        match ids.as_slice() {
            [] if id == "last" => "there are no incidents".to_owned(),
            [] => format!("no incident `{id}`: there are no incidents"),
            ids => format!("no incident `{id}`; there are:\n  {}", ids.join("\n  ")),
        }
    }
}

fn labels(loops: &[&LoopPage]) -> String {
    loops.iter().map(|page| &*page.called.label).collect::<Vec<_>>().join(", ")
}

/// Says which incidents of one process are called so.
fn ambiguous(id: &str, found: &[&Found]) -> String {
    let line = |Found { incident, .. }: &&Found| {
        format!("{}  {}: {}", incident.id, incident.loop_words(), incident.summary)
    };
    let lines: Vec<String> = found.iter().map(line).collect();
    format!(
        "`{id}` means {} incidents, because their process has several agents: give the whole id\n  {}",
        found.len(),
        lines.join("\n  ")
    )
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
