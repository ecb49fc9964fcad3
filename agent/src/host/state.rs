//! What the host's thread knows: the roster, and what it counted itself.

use crate::diagnose::reconstruct;
use crate::export::format::Format;
use crate::export::page::{Rendered, render_host};
use crate::export::view::{AgentView, HostView, Outcomes};
use crate::host::entry::Entry;
use crate::host::roster::Roster;
use crate::host::service::PATHS;
use crate::incident::Incident;
use loopscope_probe::clock::unix_ns;
use loopscope_probe::directory::{self, PageFile};
use loopscope_probe::histogram::slot;
use loopscope_probe::{Page, Ticks};
use std::collections::{BTreeMap, HashMap};
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
    pub roster: Roster,
    pub forwards: Outcomes,
    agent: AgentView,
    requests: BTreeMap<(&'static str, u16), u64>,
    followed: Option<Ticks>,
    last_look: Ticks,
    /// What pages of the dead tell, by their path: it does not change any more.
    told: HashMap<PathBuf, Option<Arc<Incident>>>,
}

/// Where a living process can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub pid: u32,
    pub name: String,
    /// `host:port` of its agent, where one listens.
    pub address: Option<String>,
    /// Its loops and their runtimes.
    pub loops: Vec<(String, String)>,
}

impl HostState {
    pub(crate) fn new(roster: Roster) -> HostState {
        let known = PATHS.into_iter().map(|path| ((path, if path == "other" { 404 } else { 200 }), 0));
        HostState {
            roster,
            forwards: Outcomes::default(),
            agent: AgentView::default(),
            requests: known.collect(),
            followed: None,
            last_look: Ticks::NONE,
            told: HashMap::new(),
        }
    }

    /// Takes one look; `now` is a moment on the monotonic clock. Returns how long the loops can be left alone, and what
    /// is to be said.
    pub(crate) fn look(&mut self, now: Ticks) -> (Duration, Vec<String>) {
        let mut notes = Vec::new();
        if self.followed.is_none_or(|followed| now.since(followed) >= FOLLOW_NS) {
            self.followed = Some(now);
            notes = self.roster.follow(now.0);
            self.forget_told();
        }
        let (is_busy, more) = self.roster.look(now.0);
        notes.extend(more);
        self.agent.ticks += 1;
        self.agent.last_tick_unix_ns = unix_ns();
        self.last_look = now;
        (if is_busy { BUSY } else { IDLE }, notes)
    }

    /// Writes the page of metrics, and tells how full it is. `agent` completes what the host's thread knows of itself.
    pub(crate) fn metrics(&mut self, format: Format, complete: impl FnOnce(&mut AgentView)) -> Rendered {
        let views = self.roster.views();
        self.agent.overflow.sites += views.sites_left_out;
        let (alive, ended) = self.roster.processes();
        let skipped = self.roster.refused();
        let host = HostView { alive, ended, skipped, forwards: self.forwards };
        let requests = self.requests.iter().map(|((path, code), count)| (*path, *code, *count)).collect();
        let mut agent = AgentView { requests, ..self.agent.clone() };
        complete(&mut agent);
        render_host(format, &views.loops, &host, &agent)
    }

    /// Notes that a page was written, and how long that took.
    pub(crate) fn note_scrape(&mut self, format: Format, ns: u64, page: &Rendered) {
        let scrapes = &mut self.agent.scrapes[format as usize];
        scrapes.duration.buckets[slot(ns)] += 1;
        scrapes.duration.sum_ns = scrapes.duration.sum_ns.wrapping_add(ns);
        scrapes.bytes = page.body.len() as u64;
        self.agent.overflow.series += page.left_out;
    }

    pub(crate) fn note_lateness(&mut self, ns: u64) {
        let late = &mut self.agent.tick_lateness;
        late.buckets[slot(ns)] += 1;
        late.sum_ns = late.sum_ns.wrapping_add(ns);
    }

    pub(crate) fn count_request(&mut self, path: &'static str, code: u16) {
        *self.requests.entry((path, code)).or_default() += 1;
    }

    /// Counts a panic; returns how many there were.
    pub(crate) fn count_panic(&mut self) -> u64 {
        self.agent.panics += 1;
        self.agent.panics
    }

    pub(crate) fn last_look(&self) -> Ticks {
        self.last_look
    }

    /// Returns the living processes.
    pub(crate) fn living(&self) -> Vec<Asked> {
        let mut living: Vec<Asked> = Vec::new();
        for entry in self.roster.entries().iter().filter(|entry| entry.end.is_none()) {
            if living.last().is_none_or(|last| last.pid != entry.owner.pid) {
                let (pid, name) = (entry.owner.pid, entry.facts.process.clone());
                living.push(Asked { pid, name, address: None, loops: Vec::new() });
            }
            let Some(last) = living.last_mut() else { continue };
            last.address = last.address.take().or_else(|| entry.address.clone());
            last.loops.push((entry.label.clone(), entry.facts.runtime.clone()));
        }
        living
    }

    /// Returns what pages alone tell of incidents: what killed processes were in the middle of, and what the loops of
    /// processes without an agent are in the middle of now.
    pub(crate) fn incidents_of_pages(&mut self) -> Vec<Arc<Incident>> {
        let (mut found, told) = (Vec::new(), &mut self.told);
        let has_agent: Vec<u32> = self
            .roster
            .entries()
            .iter()
            .filter(|entry| entry.address.is_some())
            .map(|entry| entry.owner.pid)
            .collect();
        self.roster.read_each(|entry, reading| {
            let Ok(reading) = reading else { return };
            match entry.end {
                Some(end) if end.is_orderly => {}
                Some(_) => {
                    let incident = told
                        .entry(entry.path.clone())
                        .or_insert_with(|| incident_of(reconstruct(reading.page, reading.clock, reading.at)));
                    found.extend(incident.clone());
                }
                None if has_agent.contains(&entry.owner.pid) => {}
                None => {
                    let mut incident = reconstruct(reading.page, reading.clock, reading.at);
                    incident.notes =
                        vec!["read from the page, now: the process has no agent that knows more".to_owned()];
                    found.extend(incident_of(incident));
                }
            }
        });
        let mut page = directory::blank_page();
        for file in self.roster.left() {
            let told = self.told.entry(file.path.clone());
            found.extend(told.or_insert_with(|| left_behind(file, &mut page)).clone());
        }
        found
    }

    fn forget_told(&mut self) {
        let paths = self.roster.left().iter().map(|file| &file.path);
        let paths: Vec<_> = paths.chain(self.roster.entries().iter().map(|entry| &entry.path)).collect();
        self.told.retain(|path, _| paths.contains(&path));
    }
}

/// Returns what is long enough for an incident.
fn incident_of(incident: Incident) -> Option<Arc<Incident>> {
    let unexpected_ns = incident.duration_ns.saturating_sub(incident.expected_ns);
    (unexpected_ns > incident.threshold_ns).then(|| Arc::new(incident))
}

/// Reads what a process left that had ended before anybody followed it.
fn left_behind(file: &PageFile, page: &mut Page) -> Option<Arc<Incident>> {
    let mut entry = Entry::open(file, directory::pid_namespace(), page).ok()?;
    entry.end(page, 0).ok()?;
    let (at, clock) = entry.read(page).ok()?;
    incident_of(reconstruct(page, clock, at))
}
