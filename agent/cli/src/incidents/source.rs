//! Where incidents come from: agents, directories of files, and the pages of processes that have no agent (any more).

use super::kept;
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
        _ => incident.class.name().split('_').next().unwrap_or_default(),
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
mod tests {
    use super::*;
    use loopscope_probe::raw::loop_id::LoopId;
    use loopscope_probe::raw::process_id::ProcessId;
    use loopscope_report::incident::Class;

    fn catch() -> IncidentSet {
        let found = |id: &str, begin_unix_ns| Found {
            incident: Incident { id: id.parse().unwrap(), pid: 47, begin_unix_ns, ..Incident::default() },
            origin: Origin::Page,
        };
        let mut catch = IncidentSet {
            found: vec![found("47-1", 5), found("47-3", 9), found("47-2", 9)],
            quiet: vec![found("47-7", 9)],
            ..IncidentSet::default()
        };
        catch.sort();
        catch
    }

    #[test]
    fn incidents_of_processes_with_one_pid_are_told_apart_and_each_is_opened_by_its_name() {
        let of = |start: u64, begin_unix_ns| {
            let loop_id = LoopId::new(ProcessId::new(1, start, 7, 9), 0);
            let incident = Incident { id: "1-3".parse().unwrap(), loop_id, pid: 1, ..Incident::default() };
            Found { incident: Incident { begin_unix_ns, ..incident }, origin: Origin::Page }
        };
        let mut catch = IncidentSet { found: vec![of(50, 5), of(60, 9)], ..IncidentSet::default() };
        catch.sort();
        let ids: Vec<String> = catch.found.iter().map(|found| found.incident.id.to_string()).collect();
        assert_eq!(ids, ["1-3@60", "1-3@50"]);
        for (id, begin) in [("1-3@60", 9), ("1-3@50", 5), ("1-3@50-7-00000000000000000000000000000009", 5)] {
            assert_eq!(catch.pick(id).unwrap().incident.begin_unix_ns, begin);
        }
        assert!(catch.pick("1-3@70").unwrap_err().to_string().contains("1-3@50"));
    }

    #[test]
    fn incidents_of_two_agents_of_a_process_are_told_apart_by_their_loops() {
        let process = ProcessId::new(47, 50, 7, 9);
        let of = |number: u64, ordinal, begin_unix_ns| Incident {
            id: IncidentId::new(process, number).short(),
            loop_id: LoopId::new(process, ordinal),
            pid: 47,
            process: "web".into(),
            r#loop: format!("loop {ordinal}"),
            begin_unix_ns,
            is_over: true,
            ..Incident::default()
        };
        let found = |incident| Found { incident, origin: Origin::Page };
        let mut catch = IncidentSet {
            found: vec![found(of(1, 0, 5)), found(of(1, 2, 9)), found(of(2, 0, 7))],
            ..IncidentSet::default()
        };
        // The file of an incident that its agent told of is not another one; that of the other agent is.
        catch.add_kept(vec![of(1, 0, 5), of(2, 3, 8)], &[]);
        catch.sort();
        let ids: Vec<String> = catch.found.iter().map(|found| found.incident.id.to_string()).collect();
        assert_eq!(ids, ["47-1.2", "47-2.3", "47-2.0", "47-1.0"], "in order of time");
        for (id, begin) in [("47-1.2", 9), ("47-1.0", 5), ("47-2.3", 8), ("47-1.0@50", 5), ("last", 9)] {
            assert_eq!(catch.pick(id).unwrap().incident.begin_unix_ns, begin, "{id}");
        }
        for id in ["47-1", "1"] {
            let failure = catch.pick(id).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            let told = failure.to_string();
            assert!(told.contains("47-1.2  loop 2: ") && told.contains("47-1.0  loop 0: "), "{told}");
        }
        assert_eq!(catch.pick("47-1.1").unwrap_err().exit_code(), 3);
        // By the loop one of them is meant.
        catch.keep(&Filter { loop_name: Some("loop 2"), ..Filter::default() });
        assert_eq!(catch.pick("47-1").unwrap().incident.begin_unix_ns, 9);
    }

    #[test]
    fn the_incidents_of_a_runtime_are_those_of_all_its_workers() {
        let of = |id: &str, label: &str, group: &str, worker| Found {
            incident: Incident {
                id: id.parse().unwrap(),
                r#loop: label.into(),
                group: group.into(),
                worker,
                ..Incident::default()
            },
            origin: Origin::Page,
        };
        let kept = |name: &str| {
            let all =
                [("47-1", "a", "web", Some(0)), ("47-2", "b", "web", Some(1)), ("47-3", "main", "", None)];
            let found = all.map(|(id, label, group, worker)| of(id, label, group, worker)).to_vec();
            let mut catch = IncidentSet { found, ..IncidentSet::default() };
            catch.keep(&Filter { loop_name: Some(name), ..Filter::default() });
            catch.found.iter().map(|found| found.incident.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(kept("web"), ["47-1", "47-2"]);
        assert_eq!(
            (kept("web/1"), kept("b"), kept("main")),
            (vec!["47-2".to_owned()], vec!["47-2".to_owned()], vec!["47-3".to_owned()])
        );
        assert!(kept("").is_empty() && kept("web/2").is_empty());
    }

    #[test]
    fn what_a_killed_process_kept_is_told_once_with_its_last_moment() {
        let process = ProcessId::new(47, 50, 7, 9);
        let of = |number: u64, begin_unix_ns, duration_ns, is_over| Incident {
            id: IncidentId::new(process, number).short(),
            loop_id: LoopId::new(process, 0),
            pid: 47,
            begin_unix_ns,
            duration_ns,
            is_over,
            ..Incident::default()
        };
        let page = Found { incident: of(13, 5_000_000_000, 900, false), origin: Origin::PageOfTheDead };
        let mut catch = IncidentSet { found: vec![page], ..IncidentSet::default() };
        let mut kept =
            vec![of(1, 1_000, 300, true), of(2, 2_000, 300, true), of(3, 5_000_000_500, 700, false)];
        (kept[2].stacks_in, kept[2].captures_suppressed) = (Some(1), 1);
        catch.add_kept(kept.clone(), &[]);
        catch.add_kept(kept, &[]);
        catch.sort();
        let told: Vec<_> = catch
            .found
            .iter()
            .map(|found| (found.incident.number(), found.incident.duration_ns, found.origin == Origin::Kept))
            .collect();
        assert_eq!(told, [(3, 900, false), (2, 300, true), (1, 300, true)]);
        // What only its agent knew is there, too: where a stack of the same culprit is.
        let last = &catch.found[0].incident;
        assert_eq!((last.stacks_in, last.captures_suppressed), (Some(1), 1));
        // Who read the page, as a server of the host does, calls it by that number.
        assert_eq!(catch.pick("47-13").unwrap().incident.number(), 3);
    }

    #[test]
    fn filters_keep_what_is_of_the_class_and_not_older() {
        let of = |id: &str, class, begin_s: u64| Found {
            incident: Incident {
                id: id.parse().unwrap(),
                class,
                begin_unix_ns: begin_s * 1_000_000_000,
                duration_ns: 1_000_000_000,
                ..Incident::default()
            },
            origin: Origin::Page,
        };
        let kept = |filter: Filter<'_>| {
            let found = vec![
                of("47-1", Class::Computing, 10),
                of("47-2", Class::StarvedOfCpu, 20),
                of("47-3", Class::Computing, 30),
            ];
            let mut catch = IncidentSet { found, ..IncidentSet::default() };
            catch.keep(&filter);
            catch.found.iter().map(|found| found.incident.number()).collect::<Vec<_>>()
        };
        assert_eq!(kept(Filter { class: Some("starved"), ..Filter::default() }), [2]);
        // One that had begun before, and was not over.
        assert_eq!(kept(Filter { since_unix_ns: Some(20_500_000_000), ..Filter::default() }), [2, 3]);
        assert_eq!(kept(Filter::default()), [1, 2, 3]);
    }

    #[test]
    fn an_incident_is_picked_by_id_number_or_as_the_last() {
        for (id, picked) in [("47-1", "47-1"), ("1", "47-1"), ("last", "47-3"), ("7", "47-7")] {
            assert_eq!(catch().pick(id).unwrap().incident.id.to_string(), picked);
        }
        let failure = catch().pick("9").unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains("`9`; there are:\n  47-3\n  47-2"), "{failure}");
        assert!(IncidentSet::default().pick("last").unwrap_err().to_string().contains("no incident"));
    }
}
