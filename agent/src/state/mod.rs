//! The agent's state: the loops it watches, and what it counted.

mod between_ticks;
mod incidents;
mod live;
mod observers;
mod thresholds;

use crate::capture::make_barrier;
use crate::eventfd::EventFd;
use crate::next_event::NextEvents;
use crate::settings::Settings;
use crate::state::observers::{ObserverRequests, Observing};
use crate::watch::At;
use crate::watch::incident_queue::IncidentQueue;
use crate::watch::incident_tracker::IncidentTracker;
use crate::watch::log_report::LogReport;
use crate::watch::pool::PoolWatch;
use crate::watch::sched_delay::SchedDelay;
use crate::watch::stall_accounting::Gap;
use crate::watch::thread_state::ProcThreadObserver;
use crate::workers::Workers;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::boottime::boot_ns;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::pool::PoolNow;
use loopscope_probe::raw::registry;
use loopscope_probe::raw::registry::{Controller, LocalPage};
use loopscope_probe::{Ticks, Vitals};
use loopscope_report::compute::deadline::{LONGEST_REST_NS, Outlook, longest_rest_ns, next_look_ns};
use loopscope_report::incident_builder::Observation;
use loopscope_report::live::Recent;
use loopscope_report::metrics::loop_metrics::{AgentMetrics, LoopMetrics};
use loopscope_report::metrics::loop_watch::{LoopWatch, Series};
use loopscope_report::metrics::self_metrics::SelfMetrics;
use loopscope_report::metrics::sums::{Merging, Sums};
use loopscope_report::model::lag_window::LagWindow;
use loopscope_report::model::thresholds::{ThresholdTable, Thresholds};
use loopscope_report::model::waits::Waits;
use loopscope_report::words::RuntimeWords;
use std::time::Duration;

/// A loop that was busy within this time, in nanoseconds, is looked at again soon.
const IDLE_AFTER_NS: u64 = 100_000_000;

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Again(Duration),
    /// When a loop becomes busy, and after this time at the latest, if one is given.
    Sleep(Option<Duration>),
}

/// A loop that is stalled beyond the critical threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stalled {
    pub label: String,
    pub words: RuntimeWords,
    pub age_ns: u64,
}

/// What one look found.
#[derive(Debug)]
pub(crate) struct Seen {
    pub pace: Pace,
    pub reports: Vec<LogReport>,
    pub notes: Vec<String>,
}

/// When a look is taken.
struct TickMoment {
    /// On the monotonic clock.
    now: Ticks,
    /// On the wall clock, since 1970.
    unix_ns: u64,
    /// Whether the agent itself could look.
    gap: Gap,
}

/// One loop under watch.
struct Watched {
    page: LocalPage,
    watch: LoopWatch,
    name: String,
    thresholds: Thresholds,
    /// `None` where an agent that has just ended still had it.
    control: Option<Controller>,
    pool: PoolWatch,
    tracker: IncidentTracker,
    /// Kept where somebody wants gauges of it.
    lag: Option<LagWindow>,
    observing: Observing,
}

/// All of it.
pub(crate) struct AgentState {
    thresholds: ThresholdTable,
    reports_per_minute: u32,
    captures_per_second: u32,
    wake: SchedDelay,
    queue: IncidentQueue,
    workers: Workers,
    /// Where other processes reach the agent: at its public address, and at its socket file.
    addresses: (Option<AgentAddress>, Option<AgentAddress>),
    loops: Vec<Watched>,
    next_events: NextEvents,
    /// When the next tick is due at the latest, on the monotonic clock; until then it is enough to ask observers.
    tick_at_ns: u64,
    changes: Option<u64>,
    last_tick: Ticks,
    said_private: bool,
    sums: Sums<()>,
    /// For who opens the live page.
    recent: Recent,
    pub accounts: SelfMetrics,
}

impl AgentState {
    pub(crate) fn new(
        settings: &Settings,
        addresses: (Option<AgentAddress>, Option<AgentAddress>),
        workers: Workers,
        waker: EventFd,
    ) -> Self {
        let (compat, classic) = (settings.compat, settings.classic);
        let written = AgentMetrics { compat, classic, ..AgentMetrics::default() };
        AgentState {
            thresholds: settings.thresholds.clone(),
            reports_per_minute: settings.reports_per_minute,
            captures_per_second: settings.captures_per_second,
            wake: SchedDelay::of_this_thread(),
            queue: IncidentQueue::default(),
            workers,
            addresses,
            loops: Vec::new(),
            next_events: NextEvents::new(waker),
            tick_at_ns: 0,
            changes: None,
            last_tick: Ticks::NONE,
            said_private: false,
            sums: Sums::default(),
            recent: Recent::default(),
            accounts: SelfMetrics::new(&[], written),
        }
    }

    /// Takes one look when its time has come, and says that the agent lives. Nobody who asks can say that: were the watch
    /// dead, each answer would hide it. Before its time only [observers](between_ticks) are asked.
    pub(crate) fn tick(&mut self, now: Ticks) -> Seen {
        let mut notes = Vec::new();
        if let Some(pace) = self.ask_between_ticks(now, &mut notes) {
            return Seen { pace, reports: Vec::new(), notes };
        }
        let (mut seen, tick_at_ns) = self.look_at_all(now);
        self.tick_at_ns = tick_at_ns;
        seen.notes.append(&mut notes);
        let wall_ns = unix_ns();
        for control in self.loops.iter().filter_map(|watched| watched.control.as_ref()) {
            control.set_incidents(self.queue.numbers());
            control.set_tick(wall_ns);
        }
        self.record_recent(now, wall_ns);
        self.accounts.note_tick(wall_ns);
        self.last_tick = now;
        seen
    }

    /// Looks at every loop, for a request; `now` is a moment on the monotonic clock. The next tick may come sooner for it, and never
    /// later.
    pub(crate) fn look(&mut self, now: Ticks) -> Seen {
        let (seen, tick_at_ns) = self.look_at_all(now);
        self.tick_at_ns = self.tick_at_ns.min(tick_at_ns);
        seen
    }

    /// Takes one look at every loop. Returns what it found, and when a tick is due.
    fn look_at_all(&mut self, now: Ticks) -> (Seen, u64) {
        let mut seen = Seen { pace: Pace::Sleep(None), reports: Vec::new(), notes: Vec::new() };
        let moment = TickMoment { now, unix_ns: unix_ns(), gap: self.wake.look(now.0, boot_ns()) };
        self.follow_registry(&moment, &mut seen.notes);
        self.take_names();
        let mut delay_ns = None;
        let mut tick_ns = LONGEST_REST_NS;
        let mut wishes = ObserverRequests::default();
        for watched in &mut self.loops {
            watched.ask_observer(&mut seen.notes, &mut wishes);
            let regular_ns = watched.look(&moment, &mut self.wake, &mut self.queue);
            let wanted_ns = watched.tracker.wanted_ns(now.0);
            delay_ns = [regular_ns, wanted_ns, delay_ns].into_iter().flatten().min();
            let rest_ns = regular_ns.unwrap_or_else(|| longest_rest_ns(watched.thresholds.warning_ns));
            tick_ns = tick_ns.min(wanted_ns.map_or(rest_ns, |ns| ns.min(rest_ns)));
        }
        let (again_ns, asleep_ns) = wishes.arm(&mut self.next_events, now.0);
        let is_awake = delay_ns.is_some() || again_ns.is_some();
        // Loops that wait do not wake an agent that is awake.
        let wanted_ns = [delay_ns, again_ns]
            .into_iter()
            .chain([asleep_ns, Some(tick_ns)].map(|ns| ns.filter(|_| is_awake)));
        let delay_ns = wanted_ns.flatten().min();
        self.let_go_of_the_retired();
        self.send_prepared(now.0);
        self.wake.plan(delay_ns.map(|ns| now.0 + ns));
        let asleep = Pace::Sleep(asleep_ns.map(Duration::from_nanos));
        seen.pace = delay_ns.map_or(asleep, |ns| Pace::Again(Duration::from_nanos(ns)));
        self.hand_out(&mut seen);
        (seen, now.0.saturating_add(tick_ns))
    }

    /// Makes the second step of the captures that this look has prepared, with one barrier for all.
    fn send_prepared(&mut self, now_ns: u64) {
        if self.loops.iter().any(|watched| watched.tracker.is_prepared()) {
            let barrier = make_barrier(true);
            self.loops.iter_mut().for_each(|watched| watched.tracker.send(now_ns, barrier));
        }
    }

    /// Tells whether every loop is in its poll and none came or went: what must hold for going to sleep.
    pub(crate) fn is_idle(&self) -> bool {
        registry::all_fenced()
            && self.changes == Some(registry::changes())
            && self.loops.iter().all(|watched| watched.page.page().is_parked())
    }

    fn follow_registry(&mut self, moment: &TickMoment, notes: &mut Vec<String>) {
        let changes = registry::changes();
        if self.changes == Some(changes) && self.loops.iter().all(|watched| watched.control.is_some()) {
            return;
        }
        // Pages without an agent may have told incidents.
        self.queue.go_on_after(registry::incidents_told());
        let mut pages = registry::pages();
        pages.retain(|page| !page.is_retired());
        let is_there = |watched: &Watched| pages.iter().any(|page| page.number() == watched.page.number());
        let (there, mut gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.loops).into_iter().partition(is_there);
        self.loops = there;
        for watched in &mut gone {
            // What ran in it has ended with it, and its page says so.
            watched.look(moment, &mut self.wake, &mut self.queue);
            watched.tracker.farewell(&watched.watch.called.label, &mut self.queue);
        }
        for watched in gone.iter_mut().filter(|watched| watched.watch.series() != Series::Own) {
            let (view, _) = loop_metrics(watched, &mut 0);
            self.sums.leave((), &watched.watch, Some(view));
        }
        for page in pages {
            match self.loops.iter_mut().find(|watched| watched.page.number() == page.number()) {
                Some(watched) => {
                    if watched.control.is_none() {
                        watched.control = self_control(&page, watched.thresholds, &self.addresses);
                    }
                }
                None => self.adopt(page, notes),
            }
        }
        self.changes = Some(changes);
    }

    fn adopt(&mut self, page: LocalPage, notes: &mut Vec<String>) {
        let name = page.page().loop_name();
        let taken = self.loops.iter().map(|watched| watched.watch.series_label());
        let mut watch = LoopWatch::new(page.called().clone(), page.page().facts().worker, taken, None);
        self.sums.enter((), &watch);
        if let Some(reason) = page.private_because()
            && !std::mem::replace(&mut self.said_private, true)
        {
            notes.push(format!("loop {name} is visible only to this process: {reason}"));
        }
        let thresholds = self.thresholds.of(page.called(), &name);
        let control = self_control(&page, thresholds, &self.addresses);
        let sight = Box::new(ProcThreadObserver::of(page.clone()));
        let mut tracker = IncidentTracker::new(sight, self.reports_per_minute, self.captures_per_second);
        watch.note_run_delay(tracker.run_delay_ns());
        self.loops.push(Watched {
            page,
            watch,
            name,
            thresholds,
            control,
            pool: PoolWatch::default(),
            tracker,
            lag: (!self.accounts.agent.compat.is_empty()).then(LagWindow::default),
            observing: Observing::default(),
        });
    }

    /// Copies everything about every loop; the workers of a runtime as one, and those without a label of their own as one.
    pub(crate) fn views(&mut self) -> Vec<LoopMetrics> {
        let mut merging = Merging::default();
        for watched in &mut self.loops {
            merging.add((), loop_metrics(watched, self.sums.sites_room(())));
        }
        self.sums.finish(merging)
    }

    /// Copies what the agent knows of itself.
    pub(crate) fn agent_metrics(&self) -> AgentMetrics {
        AgentMetrics {
            incident_writes: self.workers.writes(),
            incident_actions: self.workers.actions(),
            overflow: self.sums.left_out(),
            ..self.accounts.view()
        }
    }

    /// Returns the loops whose stall is critical, as of the last look.
    pub(crate) fn stalled(&self) -> Vec<Stalled> {
        let stalled = |watched: &Watched| {
            let incident = watched.tracker.critical()?;
            let (label, words) = (watched.watch.called.label.clone(), incident.words.clone());
            Some(Stalled { label, words, age_ns: incident.duration_ns })
        };
        self.loops.iter().filter_map(stalled).collect()
    }

    pub(crate) fn loop_count(&self) -> usize {
        self.loops.len()
    }

    pub(crate) fn last_tick(&self) -> Ticks {
        self.last_tick
    }
}

impl Watched {
    /// Looks at the page. Returns within how many nanoseconds it is to be looked at again.
    fn look(&mut self, moment: &TickMoment, wake: &mut SchedDelay, queue: &mut IncidentQueue) -> Option<u64> {
        let (page, clock) = (self.page.page(), self.page.clock());
        let taken = clock.now();
        let vitals = page.vitals_at(clock, taken);
        let turns = self.watch.look(page, clock, &vitals);
        let look_at_pool = |pool: &PoolNow| self.pool.look(pool, clock.scale().ns(taken.0), self.thresholds);
        let pool_turns = match page.is_closed() || self.page.is_retired() {
            true => self.pool.end(self.thresholds),
            false => vitals.pool.as_ref().map(look_at_pool).unwrap_or_default(),
        };
        let now_ns = moment.now.0;
        let at = At {
            seen: Observation {
                label: &self.watch.called.label,
                ordinal: self.page.number(),
                page,
                clock,
                vitals: &vitals,
                taken,
                unix_ns: moment.unix_ns,
                warning_ns: self.thresholds.warning_ns,
                critical_ns: self.thresholds.critical_ns,
            },
            tid: self.page.thread().tid,
            now_ns,
            steal_ratio: wake.steal_ratio(now_ns, !turns.is_empty()),
            throttled_ns: wake.throttled_ns(now_ns, !turns.is_empty()),
        };
        self.tracker.look(&at, moment.gap, turns, pool_turns, queue);
        for (cause, exemplar) in self.tracker.take_ended() {
            self.watch.stalls.note(&cause, exemplar);
        }
        if let Some(lag) = &mut self.lag {
            lag.note(now_ns, || Waits::of(&page.snapshot(clock)));
        }
        wanted_delay_ns(&vitals, self.thresholds, self.watch.stalls.next_ns())
    }
}

fn self_control(
    page: &LocalPage,
    thresholds: Thresholds,
    (address, socket): &(Option<AgentAddress>, Option<AgentAddress>),
) -> Option<Controller> {
    let control = page.take_control()?;
    control.set_thresholds(thresholds.warning_ns, thresholds.critical_ns);
    control.set_address(address.as_ref());
    control.set_socket(socket.as_ref());
    Some(control)
}

/// Tells whether jobs may wait for the pool: by their number, else by the age of the first; where neither is known, they may.
fn has_waiting_jobs(pool: &PoolNow) -> bool {
    let by_age = || pool.oldest_wait_ns.is_none_or(|ns| ns > 0);
    pool.queued.map_or_else(by_age, |queued| queued > 0)
}

/// Returns how long the loop can be left alone; `None` where it has been idle for a while and nothing waits for its
/// pool.
fn wanted_delay_ns(vitals: &Vitals, thresholds: Thresholds, next_ns: Option<u64>) -> Option<u64> {
    let now = vitals.now;
    let outlook = Outlook {
        age_ns: now.unexpected_ns(),
        is_expected: now.expected.is_some(),
        parked_ns: now.parked_ns,
        warning_ns: thresholds.warning_ns,
        critical_ns: thresholds.critical_ns,
        next_ns,
        has_waiting_jobs: vitals.pool.is_some_and(|pool| has_waiting_jobs(&pool)),
        saturated_ns: vitals.pool.map_or(0, |pool| pool.saturated_for_ns),
    };
    next_look_ns(&outlook, IDLE_AFTER_NS)
}

/// Returns the metrics of a loop, and how many of its sites have no series.
fn loop_metrics(watched: &mut Watched, sites_room: &mut usize) -> (LoopMetrics, usize) {
    let snapshot = watched.page.page().snapshot(watched.page.clock());
    watched.watch.note_run_delay(watched.tracker.run_delay_ns());
    let (mut metrics, left_out) = watched.watch.view(snapshot, sites_room);
    metrics.incidents = Some(watched.tracker.counts());
    metrics.lag_minute = watched.lag.as_ref().map(|lag| lag.since_beginning(&Waits::of(&metrics.snapshot)));
    (metrics, left_out)
}
