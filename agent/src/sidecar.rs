//! The agent's state: the loops it watches, and what it counted.

use crate::compute::sites::{self, Chosen, SITES_PER_PROCESS};
use crate::compute::utilization::utilization;
use crate::export::view::{AgentView, LoopView, Overflow};
use crate::model::floor::Floor;
use crate::model::label::{OTHER, unique};
use crate::model::merge::absorb;
use crate::model::window::{Split, Window};
use crate::settings::Settings;
use crate::watch::pool::PoolWatch;
use crate::watch::report::Report;
use crate::watch::stall::{StallCounts, StallWatch, Stalled};
use crate::web::routes::PATHS;
use loopscope_probe::clock::unix_ns;
use loopscope_probe::histogram::{HistogramValues, slot};
use loopscope_probe::registry::{self, Controller, LocalPage};
use loopscope_probe::{Kind, Snapshot, Ticks, Vitals};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A loop that was busy within this time, in nanoseconds, is looked at again soon.
const IDLE_AFTER_NS: u64 = 100_000_000;

const MS_NS: u64 = 1_000_000;

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Again(Duration),
    /// When a loop rings.
    Sleep,
}

/// What one look found.
#[derive(Debug)]
pub(crate) struct Seen {
    pub pace: Pace,
    pub reports: Vec<Report>,
    pub notes: Vec<String>,
}

/// One loop under watch.
struct Watched {
    page: LocalPage,
    label: String,
    /// `None` where an agent that has just ended still had it.
    control: Option<Controller>,
    window: Window,
    stalls: StallWatch,
    pool: PoolWatch,
    floor: Floor,
    chosen: Chosen,
    others: usize,
}

/// All of it.
pub(crate) struct State {
    warning_ns: u64,
    critical_ns: u64,
    address: String,
    loops: Vec<Watched>,
    changes: Option<u64>,
    last_look: Ticks,
    said_private: bool,
    /// What loops without a label of their own had counted when they ended.
    retired: Option<LoopView>,
    sites_room: usize,
    agent: AgentView,
    requests: BTreeMap<(&'static str, u16), u64>,
}

impl State {
    pub(crate) fn new(settings: &Settings, address: Option<SocketAddr>) -> Self {
        State {
            warning_ns: settings.warning_ns,
            critical_ns: settings.critical_ns,
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            loops: Vec::new(),
            changes: None,
            last_look: Ticks::NONE,
            said_private: false,
            retired: None,
            sites_room: SITES_PER_PROCESS,
            agent: AgentView::default(),
            requests: PATHS
                .into_iter()
                .map(|path| ((path, if path == "other" { 404 } else { 200 }), 0))
                .collect(),
        }
    }

    /// Takes one look at every loop; `now` is a moment on the monotonic clock.
    pub(crate) fn look(&mut self, now: Ticks) -> Seen {
        let mut seen = Seen { pace: Pace::Sleep, reports: Vec::new(), notes: Vec::new() };
        self.follow_registry(&mut seen.notes);
        let wall_ns = unix_ns();
        let mut delay_ns = None;
        for watched in &mut self.loops {
            let (page, clock) = (watched.page.page(), watched.page.clock());
            let taken = clock.now();
            let vitals = page.vitals_at(clock, taken);
            watched.window.push(Split { active_ns: vitals.active_ns, idle_ns: vitals.idle_ns });
            seen.reports.extend(watched.stalls.look(&watched.label, page, clock, &vitals));
            if let Some(pool) = &vitals.pool {
                let taken_ns = clock.scale().ns(taken.0);
                let look =
                    watched.pool.look(&watched.label, pool, taken_ns, self.warning_ns, self.critical_ns);
                seen.reports.extend(look);
            }
            if let Some(control) = &watched.control {
                control.set_tick(wall_ns);
            }
            if let Some(wanted_ns) = wanted_delay_ns(&vitals, self.warning_ns) {
                delay_ns = Some(delay_ns.unwrap_or(u64::MAX).min(wanted_ns));
            }
        }
        self.agent.ticks += 1;
        self.agent.last_tick_unix_ns = wall_ns;
        self.last_look = now;
        seen.pace = delay_ns.map_or(Pace::Sleep, |ns| Pace::Again(Duration::from_nanos(ns)));
        seen
    }

    /// Tells whether every loop is in its poll and none came or went: what must hold for going to sleep.
    pub(crate) fn is_idle(&self) -> bool {
        self.changes == Some(registry::changes())
            && self.loops.iter().all(|watched| watched.page.page().is_parked())
    }

    fn follow_registry(&mut self, notes: &mut Vec<String>) {
        let changes = registry::changes();
        if self.changes == Some(changes) && self.loops.iter().all(|watched| watched.control.is_some()) {
            return;
        }
        let pages = registry::pages();
        let is_there = |watched: &Watched| pages.iter().any(|page| page.number() == watched.page.number());
        let (there, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.loops).into_iter().partition(is_there);
        self.loops = there;
        for watched in gone.into_iter().filter(|watched| watched.label == OTHER) {
            self.retire(watched);
        }
        for page in pages {
            match self.loops.iter_mut().find(|watched| watched.page.number() == page.number()) {
                Some(watched) => {
                    if watched.control.is_none() {
                        watched.control =
                            self_control(&page, self.warning_ns, self.critical_ns, &self.address);
                    }
                }
                None => self.adopt(page, notes),
            }
        }
        self.changes = Some(changes);
    }

    fn adopt(&mut self, page: LocalPage, notes: &mut Vec<String>) {
        let name = page.page().loop_name();
        let label = unique(&name, self.loops.iter().map(|watched| watched.label.as_str()));
        if label == OTHER {
            self.agent.overflow.loops += 1;
        }
        if let Some(reason) = page.private_because()
            && !std::mem::replace(&mut self.said_private, true)
        {
            notes.push(format!("loop {name} is visible to this process only: {reason}"));
        }
        let control = self_control(&page, self.warning_ns, self.critical_ns, &self.address);
        self.loops.push(Watched {
            page,
            label,
            control,
            window: Window::default(),
            stalls: StallWatch::default(),
            pool: PoolWatch::default(),
            floor: Floor::default(),
            chosen: Chosen::default(),
            others: 0,
        });
    }

    fn retire(&mut self, mut watched: Watched) {
        let mut view = view_of(&mut watched, &mut 0);
        // What is counted stays; what the loop had, it has no longer.
        let snapshot = &mut view.snapshot;
        snapshot.now = loopscope_probe::NowValues::IDLE;
        snapshot.handles = Default::default();
        (snapshot.handles_referenced, snapshot.requests_active, snapshot.timers_pending) = (0, 0, 0);
        if let Some(pool) = &mut snapshot.pool {
            (pool.threads, pool.running, pool.queued, pool.oldest_wait_ns) = (0, 0, 0, 0);
        }
        view.stalls.active = None;
        match &mut self.retired {
            Some(retired) => add_view(retired, &view),
            None => self.retired = Some(view),
        }
    }

    /// Copies everything about every loop, those without a label of their own as one.
    pub(crate) fn views(&mut self) -> Vec<LoopView> {
        let mut other = self.retired.as_ref().map(copy_view);
        let mut views = Vec::with_capacity(self.loops.len() + 1);
        for watched in &mut self.loops {
            let before = watched.others;
            let view = view_of(watched, &mut self.sites_room);
            self.agent.overflow.sites += watched.others.saturating_sub(before) as u64;
            match (&mut other, view.label == OTHER) {
                (_, false) => views.push(view),
                (Some(other), true) => add_view(other, &view),
                (other @ None, true) => *other = Some(view),
            }
        }
        views.extend(other);
        views
    }

    /// Copies what the agent knows of itself.
    pub(crate) fn agent_view(&self) -> AgentView {
        let requests = self.requests.iter().map(|((path, code), count)| (*path, *code, *count)).collect();
        AgentView { requests, ..self.agent.clone() }
    }

    /// Copies the pages.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        self.loops.iter().map(|watched| watched.page.page().snapshot(watched.page.clock())).collect()
    }

    /// Returns the loops whose stall is critical, as of the last look.
    pub(crate) fn stalled(&self) -> Vec<Stalled> {
        self.loops.iter().filter_map(|watched| watched.stalls.critical(&watched.label)).collect()
    }

    pub(crate) fn loop_count(&self) -> usize {
        self.loops.len()
    }

    pub(crate) fn last_look(&self) -> Ticks {
        self.last_look
    }

    pub(crate) fn note_lateness(&mut self, ns: u64) {
        record(&mut self.agent.tick_lateness, ns);
    }

    pub(crate) fn note_scrape(&mut self, ns: u64, bytes: u64, left_out: u64) {
        record(&mut self.agent.scrape_duration, ns);
        self.agent.scrape_bytes = bytes;
        let Overflow { series, .. } = &mut self.agent.overflow;
        *series += left_out;
    }

    pub(crate) fn count_request(&mut self, path: &'static str, code: u16) {
        *self.requests.entry((path, code)).or_default() += 1;
    }

    /// Counts a panic; returns how many there were.
    pub(crate) fn count_panic(&mut self) -> u64 {
        self.agent.panics += 1;
        self.agent.panics
    }
}

fn record(values: &mut HistogramValues, ns: u64) {
    values.buckets[slot(ns)] += 1;
    values.sum_ns = values.sum_ns.wrapping_add(ns);
}

fn self_control(page: &LocalPage, warning_ns: u64, critical_ns: u64, address: &str) -> Option<Controller> {
    let control = page.take_control()?;
    control.set_thresholds(warning_ns, critical_ns);
    control.set_address(address);
    Some(control)
}

/// Returns how long the loop can be left alone: a quarter of the threshold, less where a stretch is about to cross it;
/// `None` where it has been idle for a while and nothing waits for its pool.
fn wanted_delay_ns(vitals: &Vitals, warning_ns: u64) -> Option<u64> {
    let now = vitals.now;
    let has_waiting_jobs = vitals.pool.is_some_and(|pool| pool.queued > 0);
    if now.busy_ns == 0 && now.parked_ns >= IDLE_AFTER_NS && !has_waiting_jobs {
        return None;
    }
    let quarter_ns = (warning_ns / 4).clamp(MS_NS, 25 * MS_NS);
    let until_stall_ns = match now.busy_ns {
        busy_ns if busy_ns > 0 && busy_ns <= warning_ns => warning_ns - busy_ns + MS_NS / 2,
        _ => quarter_ns,
    };
    Some(quarter_ns.min(until_stall_ns).max(MS_NS))
}

fn view_of(watched: &mut Watched, sites_room: &mut usize) -> LoopView {
    let mut snapshot = watched.page.page().snapshot(watched.page.clock());
    let succeeded = watched.floor.lift(&mut snapshot);
    let present = Split { active_ns: snapshot.active_ns, idle_ns: snapshot.idle_ns };
    let (sites, others) = match watched.label == OTHER {
        true => (Vec::new(), 0),
        false => watched.chosen.choose(sites::totals(&snapshot), sites_room),
    };
    watched.others = watched.others.max(others);
    LoopView {
        label: watched.label.clone(),
        utilization: utilization(watched.window.beginning(present), present),
        stalls: watched.stalls.counts().clone(),
        succeeded,
        sites,
        snapshot,
    }
}

fn copy_view(view: &LoopView) -> LoopView {
    LoopView {
        label: view.label.clone(),
        snapshot: view.snapshot.clone(),
        succeeded: view.succeeded,
        utilization: 0.0,
        stalls: view.stalls.clone(),
        sites: Vec::new(),
    }
}

fn add_view(sum: &mut LoopView, view: &LoopView) {
    absorb(&mut sum.snapshot, &view.snapshot);
    sum.utilization = sum.utilization.max(view.utilization);
    for kind in 0..Kind::CALLBACKS {
        sum.succeeded[kind] += view.succeeded[kind];
    }
    add_stalls(&mut sum.stalls, &view.stalls);
}

fn add_stalls(sum: &mut StallCounts, other: &StallCounts) {
    sum.active = sum.active.or(other.active);
    for (into, from) in sum.episodes.iter_mut().zip(other.episodes) {
        *into += from;
    }
    for (into, from) in sum.durations.iter_mut().zip(&other.durations) {
        if let Some(from) = from {
            into.get_or_insert_default().merge(from);
        }
    }
}
