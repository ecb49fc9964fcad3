//! What the host's thread knows: the registry, and what it counted itself.

use crate::followed_loop::FollowedLoop;
use crate::loop_registry::LoopRegistry;
use crate::paths::PATHS;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::directory;
use loopscope_probe::raw::directory::PageFile;
use loopscope_probe::raw::loop_id::{Called, called};
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_probe::{Page, Ticks};
use loopscope_report::diagnose::{reconstruct, under_way};
use loopscope_report::incident::Incident;
use loopscope_report::live::{LOOPS_MAX, LoopSample, Recent};
use loopscope_report::metrics::format::MetricsFormat;
use loopscope_report::metrics::loop_metrics::{AgentMetrics, HostMetrics, Outcomes, Overflow};
use loopscope_report::metrics::render::{Rendered, render_host};
use loopscope_report::metrics::self_metrics::SelfMetrics;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks while a loop does something: as long as the shortest stall that most thresholds know.
const BUSY: Duration = Duration::from_millis(100);

/// Time between two looks while all loops idle, and between two looks at the directory.
const IDLE: Duration = Duration::from_secs(1);

const FOLLOW_NS: u64 = IDLE.as_nanos() as u64;

/// What the mutex of the host guards.
#[derive(Debug)]
pub(crate) struct HostState {
    pub registry: LoopRegistry,
    pub forwards: Outcomes,
    pub accounts: SelfMetrics,
    /// For who opens the live page.
    pub recent: Recent,
    followed: Option<Ticks>,
    last_tick: Ticks,
    /// What pages of the dead tell, by their path: it does not change any more.
    told: HashMap<PathBuf, Option<Arc<Incident>>>,
    /// Processes of whose agents it was said that they tell nothing.
    said_untold: HashSet<ProcessId>,
}

/// Where a living process can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub pid: u32,
    /// The same, for good.
    pub process: ProcessId,
    pub name: String,
    /// Where its agent is, if one listens.
    pub address: Option<AgentAddress>,
    /// Where its agent has its socket file; `None` where that is not known.
    pub socket: Option<PathBuf>,
    /// The user that its pages belong to; `None` where that cannot be told.
    pub user: Option<u32>,
    pub loops: Vec<AskedLoop>,
}

/// What a loop of a living process is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AskedLoop {
    /// Its label, which no other loop of the process has.
    pub label: String,
    /// The name that the program gave it, which others may have, too.
    pub name: String,
    /// The label of the runtime that it is a worker of; empty for a loop by itself.
    pub group: String,
    /// What runs it, such as `tokio`.
    pub runtime: String,
}

impl AskedLoop {
    fn of(entry: &FollowedLoop) -> AskedLoop {
        let called = &entry.watch.called;
        AskedLoop {
            label: called.label.clone(),
            name: entry.facts.name.clone(),
            group: entry.facts.worker.map_or_else(String::new, |_| called.runtime.clone()),
            runtime: entry.facts.runtime.clone(),
        }
    }

    /// Tells whether this is the loop, or a worker of the runtime, that a client calls `name`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.label == name || self.name == name || (!self.group.is_empty() && self.group == name)
    }
}

impl HostState {
    pub(crate) fn new(registry: LoopRegistry) -> HostState {
        HostState {
            registry,
            forwards: Outcomes::default(),
            accounts: SelfMetrics::new(&PATHS, AgentMetrics::default()),
            recent: Recent::default(),
            followed: None,
            last_tick: Ticks::NONE,
            told: HashMap::new(),
            said_untold: HashSet::new(),
        }
    }

    /// Takes one look when its time has come, as [`HostState::look`], and says so: nobody who asks can say that the loops
    /// are still followed.
    pub(crate) fn tick(&mut self, now: Ticks) -> (Duration, Vec<String>) {
        let seen = self.look(now);
        if self.recent.is_due(now.0) {
            self.record_recent(now);
        }
        self.accounts.note_tick(unix_ns());
        self.last_tick = now;
        seen
    }

    /// Takes a sample of the living loops, the first ones, for who opens the live page later.
    fn record_recent(&mut self, now: Ticks) {
        let mut seen = Vec::new();
        let mut room = LOOPS_MAX;
        self.registry.read_wanted(
            |entry| entry.end.is_none(),
            |entry, reading| {
                let Some(left) = room.checked_sub(1) else { return };
                room = left;
                let Ok(reading) = reading else { return };
                let one = LoopSample::of(reading.page, reading.clock, reading.at);
                seen.push(one.called(&entry.watch.called).numbered(entry.number));
            },
        );
        self.recent.record(seen, now.0, unix_ns());
    }

    /// Takes one look; `now` is a moment on the monotonic clock. Returns how long the loops can be left alone, and what
    /// is to be said.
    pub(crate) fn look(&mut self, now: Ticks) -> (Duration, Vec<String>) {
        let mut notes = Vec::new();
        if self.followed.is_none_or(|followed| now.since(followed) >= FOLLOW_NS) {
            self.followed = Some(now);
            notes = self.registry.follow(now.0);
            self.forget_told();
        }
        let (is_busy, more) = self.registry.look(now.0);
        notes.extend(more);
        (if is_busy { BUSY } else { IDLE }, notes)
    }

    /// Writes the page of metrics, and tells how full it is. `agent` completes what the host's thread knows of itself.
    pub(crate) fn metrics(
        &mut self,
        format: MetricsFormat,
        complete: impl FnOnce(&mut AgentMetrics),
    ) -> Rendered {
        let views = self.registry.views();
        let Overflow { loops, sites, workers, .. } = self.registry.left_out();
        let overflow = &mut self.accounts.agent.overflow;
        (overflow.loops, overflow.sites, overflow.workers) = (loops, sites, workers);
        let (alive, ended) = self.registry.processes();
        let skipped = self.registry.refused();
        let host = HostMetrics { alive, ended, skipped, forwards: self.forwards };
        let mut agent = self.accounts.view();
        complete(&mut agent);
        render_host(format, &views, &host, &agent)
    }

    pub(crate) fn last_tick(&self) -> Ticks {
        self.last_tick
    }

    /// Returns the living processes, each with its first agent where it has several.
    pub(crate) fn living(&self) -> Vec<Asked> {
        let mut living: Vec<Asked> = Vec::new();
        for process in self.living_loops().chunk_by(|one, next| one.process() == next.process()) {
            let first = agents_of(process).into_iter().next();
            let loops = process.iter().map(|entry| AskedLoop::of(entry)).collect();
            living.extend(first.map(|first| Asked { loops, ..first }));
        }
        living
    }

    /// Returns the agents of the living processes, each with the loops that it watches: a program with two versions of loopscope
    /// in it has two. A process without an agent is there once, too.
    pub(crate) fn agents(&self) -> Vec<Asked> {
        let loops = self.living_loops();
        loops.chunk_by(|one, next| one.process() == next.process()).flat_map(agents_of).collect()
    }

    fn living_loops(&self) -> Vec<&FollowedLoop> {
        self.registry.entries().iter().filter(|entry| entry.end.is_none()).collect()
    }

    /// Returns what pages alone tell of incidents: what killed processes were in the middle of, and what the loops of
    /// processes without an agent are in the middle of now.
    pub(crate) fn incidents_of_pages(&mut self) -> Vec<Arc<Incident>> {
        let (mut found, told) = (Vec::new(), &mut self.told);
        self.registry.read_each(|entry, reading| {
            let Ok(reading) = reading else { return };
            match entry.end {
                Some(end) if end.is_orderly => {}
                Some(_) => {
                    let incident = told.entry(entry.path.clone()).or_insert_with(|| {
                        reported(reconstruct(reading.page, reading.clock, reading.at, &entry.name()))
                    });
                    found.extend(incident.clone());
                }
                None if entry.address.is_some() => {}
                None => {
                    found.extend(reported(under_way(reading.page, reading.clock, reading.at, &entry.name())))
                }
            }
        });
        let mut page = directory::blank_page();
        for files in self.registry.left().chunk_by(|one, next| one.owner == next.owner) {
            if files.iter().any(|file| !self.told.contains_key(&file.path)) {
                self.told.extend(left_behind(files, &mut page));
            }
            found.extend(files.iter().filter_map(|file| self.told.get(&file.path)?.clone()));
        }
        found
    }

    /// Returns what pages tell in place of these processes' agents: what their loops are in the middle of now. The second
    /// are lines for the log, one for each process and once: why its agent tells nothing.
    pub(crate) fn in_place_of_agents(&mut self, untold: &[Untold]) -> (Vec<Arc<Incident>>, Vec<String>) {
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        if untold.is_empty() {
            return (found, notes);
        }
        let of = |entry: &FollowedLoop| untold.iter().find(|untold| untold.is_of(entry));
        // One that was killed after its agent was asked is told by its page, too: it was not while the agent seemed to live.
        let is_wanted =
            |entry: &FollowedLoop| entry.end.is_none_or(|end| !end.is_orderly) && of(entry).is_some();
        self.registry.read_wanted(is_wanted, |entry, reading| {
            let (Some(untold), Ok(reading)) = (of(entry), reading) else { return };
            if entry.end.is_some() {
                let incident = reconstruct(reading.page, reading.clock, reading.at, &entry.name());
                return found.extend(reported(incident));
            }
            let because = untold.because.as_deref().unwrap_or("too many requests to agents in progress");
            let incident = under_way(reading.page, reading.clock, reading.at, &entry.name());
            let note = format!("read live from the page, without its agent: {because}");
            found.extend(reported(Incident { notes: vec![note], ..incident }));
        });
        let living = self.registry.entries().iter().filter(|entry| entry.end.is_none());
        let living: HashMap<u32, ProcessId> =
            living.map(|entry| (entry.owner.pid, entry.process())).collect();
        self.said_untold.retain(|process| living.get(&process.pid()) == Some(process));
        for Untold { pid, name, because, .. } in untold {
            if let (Some(process), Some(because)) = (living.get(pid), because)
                && self.said_untold.insert(*process)
            {
                notes.push(format!("incidents of {pid} {name} are read from its page only: {because}"));
            }
        }
        (found, notes)
    }

    fn forget_told(&mut self) {
        let paths = self.registry.left().iter().map(|file| &file.path);
        // What lives may have been taken for ended before its page was complete.
        let ended = self.registry.entries().iter().filter(|entry| entry.end.is_some());
        let paths: Vec<_> = paths.chain(ended.map(|entry| &entry.path)).collect();
        self.told.retain(|path, _| paths.contains(&path));
    }
}

/// A process whose agent told nothing of its incidents.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untold {
    pub pid: u32,
    pub name: String,
    /// Which of its agents.
    pub address: Option<AgentAddress>,
    /// Why, a clause; `None` where this server was too busy to ask.
    pub because: Option<String>,
}

impl Untold {
    /// This agent told nothing.
    pub(crate) fn of(Asked { pid, name, address, .. }: &Asked, because: Option<&str>) -> Untold {
        Untold {
            pid: *pid,
            name: name.clone(),
            address: address.clone(),
            because: because.map(str::to_owned),
        }
    }

    /// Tells whether the agent watches this loop, or may have watched it when it was asked: one that stops takes its address
    /// from the page.
    fn is_of(&self, entry: &FollowedLoop) -> bool {
        self.pid == entry.owner.pid && (entry.address.is_none() || self.address == entry.address)
    }
}

/// Returns the agents of one process, whose loops these are.
fn agents_of(loops: &[&FollowedLoop]) -> Vec<Asked> {
    // What tells an agent from another: its address, or its socket file where it could not have one.
    let place = |entry: &FollowedLoop| {
        let socket = || entry.told_agent_socket().filter(|_| entry.address.is_none());
        (entry.address.clone(), socket())
    };
    let mut places = Vec::new();
    for found in loops.iter().map(|entry| place(entry)).filter(|found| *found != (None, None)) {
        if !places.contains(&found) {
            places.push(found);
        }
    }
    if places.is_empty() {
        places.push((None, None));
    }
    // The one that is beside the pages without being told is the only agent's.
    let is_file_told = loops.iter().any(|entry| entry.told_agent_socket().is_some());
    let agent = |of: (Option<AgentAddress>, Option<PathBuf>)| {
        let own: Vec<&FollowedLoop> = loops.iter().copied().filter(|entry| place(entry) == of).collect();
        let first = own.first()?;
        let beside = || (!is_file_told).then(|| first.agent_socket());
        let is_of_one_user = own.iter().all(|entry| entry.user == first.user);
        Some(Asked {
            pid: first.owner.pid,
            process: first.process(),
            name: first.facts.process.clone(),
            address: of.0,
            socket: own.iter().find_map(|entry| entry.told_agent_socket()).or_else(beside),
            user: first.user.filter(|_| is_of_one_user),
            loops: own.iter().map(|entry| AskedLoop::of(entry)).collect(),
        })
    };
    places.into_iter().filter_map(agent).collect()
}

fn reported(incident: Incident) -> Option<Arc<Incident>> {
    incident.is_beyond_threshold().then(|| Arc::new(incident))
}

/// Reads what a process left that had ended before anybody followed it, from all of its pages.
fn left_behind(files: &[PageFile], page: &mut Page) -> Vec<(PathBuf, Option<Arc<Incident>>)> {
    let mut known: Vec<Called> = Vec::new();
    let mut tell = |file: &PageFile| {
        let mut entry = FollowedLoop::open(file, directory::pid_namespace(), page).ok()?;
        entry.watch.called = called(&entry.facts.name, &entry.facts.group, known.iter());
        known.push(entry.watch.called.clone());
        entry.end(page, 0).ok()?;
        let (at, clock) = entry.read(page).ok()?;
        reported(reconstruct(page, clock, at, &entry.name()))
    };
    files.iter().map(|file| (file.path.clone(), tell(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::Gathered;
    use loopscope_probe::raw::registry::{self, Controller};
    use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, Writer};
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;
    use std::path::Path;

    /// A state that follows one loop, which has been blocked for longer than its threshold and has an agent.
    fn blocked(directory: &Path) -> (HostState, Writer, Controller) {
        let mut writer = Writer::builder("stops").clock(Clock::monotonic()).directory(directory).build();
        let page = registry::pages().into_iter().find(|page| page.is_called("stops")).unwrap();
        let control = page.take_control().unwrap();
        control.set_thresholds(1, 2);
        control.set_address(Some(&"127.0.0.1:1".parse().unwrap()));
        writer.resume();
        writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
        let mut state = HostState::new(LoopRegistry::new(vec![directory.to_owned()], 0, 64));
        state.look(Ticks(1_000_000_000));
        (state, writer, control)
    }

    #[test]
    fn a_stall_is_listed_whose_agent_stops_while_it_is_asked() {
        let directory = PathBuf::from(format!("/dev/shm/loopscope-host-state-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let (mut state, writer, control) = blocked(&directory);
        let [agent]: [Asked; 1] = state.agents().try_into().unwrap();
        let Asked { pid, name, address, .. } = agent;
        assert!(state.incidents_of_pages().is_empty(), "its agent tells it");
        let untold = |address| Untold { pid, name: name.clone(), address, because: None };
        let told = |state: &mut HostState, address| state.in_place_of_agents(&[untold(address)]).0.len();
        assert_eq!(told(&mut state, address.clone()), 1);
        assert_eq!(told(&mut state, Some("127.0.0.1:2".parse().unwrap())), 0, "another one does not answer");
        control.set_address(None);
        state.look(Ticks(2_000_000_000));
        assert_eq!(told(&mut state, address.clone()), 1);
        // What was read in both places is one.
        let mut gathered = Gathered::default();
        for _ in 0..2 {
            gathered.add(state.in_place_of_agents(&[untold(address.clone())]).0);
        }
        assert_eq!(gathered.incidents.len(), 1);
        drop((writer, control));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn only_looks_whose_time_has_come_are_ticks() {
        let mut state = HostState::new(LoopRegistry::new(Vec::new(), 0, 64));
        state.tick(Ticks(1_000));
        let told = state.accounts.agent.last_tick_unix_ns;
        for asked in 2..5 {
            state.look(Ticks(asked * 1_000));
        }
        assert_eq!((state.accounts.agent.ticks, state.last_tick()), (1, Ticks(1_000)));
        assert_eq!(state.accounts.agent.last_tick_unix_ns, told);
        state.tick(Ticks(9_000));
        assert_eq!((state.accounts.agent.ticks, state.last_tick()), (2, Ticks(9_000)));
    }
}
