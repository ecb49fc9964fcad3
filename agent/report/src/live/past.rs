//! What is kept of a loop from one observation to the next, and the figures of the interval in between.

use crate::compute::sites::{self, SiteTotal};
use crate::compute::utilization::utilization;
use crate::live::lag::{LagPast, lag_view};
use crate::live::loop_sample::LoopSample;
use crate::live::numbers::NumbersPast;
use crate::live::pending_time::PendingTime;
use crate::live::state::state_view;
use crate::live::view::{DrainView, LoopView, PhaseView, PoolView, SiteView, StallView};
use crate::model::waits::Waits;
use crate::model::window::Split;
use crate::words::{RuntimeWords, kind_word};
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::raw::pool::PoolValues;
use loopscope_probe::raw::site::SITES;
use loopscope_probe::{Kind, Phase, Queue, Snapshot};
use std::collections::HashMap;

/// At most this many sites of a loop are told.
const SITES_MAX: usize = 10;

/// Beyond so many remembered sites, those that the page does not have any more are forgotten. A page's sites stay for good,
/// unless it is hostile and gives them other names at each observation.
const REMEMBERED_MAX: usize = 2 * SITES;

/// One loop's counters at its last observation; all 0 before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    split: Split,
    iterations: u64,
    phase_callbacks: [u64; Phase::COUNT],
    drained_jobs: [u64; 2],
    lag: LagPast,
    drains: [HistogramValues; 2],
    pool: PoolPast,
    numbers: NumbersPast,
    stalls: u64,
    phases: [PendingTime; Phase::COUNT],
    sites: HashMap<(String, Kind), SitePast>,
    /// Observations in a row that did not have it.
    pub missed: u32,
}

#[derive(Clone, Debug, Default)]
struct PoolPast {
    jobs: u64,
    busy_ns: u64,
    wait: HistogramValues,
}

#[derive(Clone, Copy, Debug, Default)]
struct SitePast {
    account: PendingTime,
    calls: u64,
    /// It was on the page at the last observation.
    is_there: bool,
}

/// An interval, as rates need it.
#[derive(Clone, Copy, Debug)]
struct ViewInterval {
    ns: u64,
}

impl ViewInterval {
    fn per_second(self, later: u64, earlier: u64) -> f64 {
        if self.ns == 0 { 0.0 } else { later.saturating_sub(earlier) as f64 * 1e9 / self.ns as f64 }
    }

    fn share(self, ns: u64) -> f64 {
        if self.ns == 0 { 0.0 } else { (ns as f64 / self.ns as f64).min(1.0) }
    }
}

/// What a loop did in one interval: its view, and what it takes to add up several of them.
#[derive(Clone, Debug)]
pub(super) struct LoopViewParts {
    pub view: LoopView,
    pub lag: Waits,
    /// All sites that ran.
    pub sites: Vec<SiteView>,
    /// Lengths of the drains that ended, in the order of the view's.
    pub drains: Vec<HistogramValues>,
    pub pool_wait: HistogramValues,
}

impl LoopViewParts {
    /// Returns the view of the loop.
    pub(super) fn into_view(self) -> LoopView {
        let (sites, sites_left_out) = heaviest(self.sites);
        LoopView { sites, sites_left_out, ..self.view }
    }
}

/// Returns the heaviest sites, and how many others there are.
pub(super) fn heaviest(mut sites: Vec<SiteView>) -> (Vec<SiteView>, u64) {
    sites.sort_by(|a, b| b.share_ratio.total_cmp(&a.share_ratio).then_with(|| a.label.cmp(&b.label)));
    let left_out = sites.len().saturating_sub(SITES_MAX) as u64;
    sites.truncate(SITES_MAX);
    (sites, left_out)
}

impl Past {
    /// Returns what a loop did as it was seen now, and remembers that.
    pub(super) fn turn(&mut self, seen: &LoopSample, id: String, name: String) -> LoopViewParts {
        let (snapshot, facts) = (&seen.snapshot, &seen.snapshot.facts);
        let split = Split { active_ns: snapshot.active_ns, idle_ns: snapshot.idle_ns };
        let interval = ViewInterval { ns: split.total_ns().saturating_sub(self.split.total_ns()) };
        let runtime = &facts.description;
        let mut sites = self.site_views(snapshot, interval);
        if !runtime.knows(Fact::Callbacks) {
            sites.clear();
        }
        let drains = [0, 1].map(|queue| snapshot.drain[queue].since(&self.drains[queue]));
        let lag = self.lag.turn(&Waits::of(snapshot), snapshot.now.busy_ns);
        let pool = snapshot.pool.as_ref().map(|pool| self.pool.turn(pool, runtime, interval));
        let (pool, pool_wait) =
            pool.map_or((None, HistogramValues::default()), |(view, wait)| (Some(view), wait));
        let ratio = utilization(self.split, split);
        let callbacks =
            |counts: &[u64; Phase::COUNT]| counts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        let view = LoopView {
            id,
            name,
            given_name: facts.name.clone(),
            worker: facts.worker.filter(|_| !facts.group.is_empty()),
            workers: Vec::new(),
            runtime: facts.runtime.clone(),
            backend: facts.backend.clone(),
            thread: facts.thread.clone(),
            tid: facts.tid,
            created_unix_ns: facts.created_unix_ns,
            interval_ns: interval.ns,
            state: state_view(seen),
            words: RuntimeWords::of(runtime),
            lag: runtime.knows(Fact::Lag).then(|| lag_view(&lag)),
            utilization_ratio: runtime.knows(Fact::Time).then_some(ratio),
            iterations_per_second: runtime
                .knows(Fact::Iterations)
                .then(|| interval.per_second(snapshot.iterations, self.iterations)),
            callbacks_per_second: runtime.knows(Fact::Callbacks).then(|| {
                interval.per_second(callbacks(&snapshot.phase_callbacks), callbacks(&self.phase_callbacks))
            }),
            phase_names: phase_names(runtime),
            phases: self.phase_views(snapshot, interval),
            sites: Vec::new(),
            sites_left_out: 0,
            drains: self.drain_views(&drains, snapshot, interval),
            pool,
            pool_jobs: seen.pool_jobs.clone(),
            numbers: self.numbers.turn(snapshot, |later, earlier| interval.per_second(later, earlier)),
            stalls: self.stall_view(seen),
        };
        let queues = runtime.queues();
        let drains = queues.iter().map(|(queue, _)| drains[queue.index()].clone()).collect();
        self.split = split;
        self.iterations = snapshot.iterations;
        self.phase_callbacks = snapshot.phase_callbacks;
        self.drained_jobs = snapshot.drained_jobs;
        self.drains.clone_from(&snapshot.drain);
        self.stalls = snapshot.blocked[0];
        LoopViewParts { view, lag, sites, drains, pool_wait }
    }

    fn phase_views(&mut self, snapshot: &Snapshot, interval: ViewInterval) -> Vec<PhaseView> {
        let now = &snapshot.now;
        let mut counted = phase_totals(snapshot);
        let mut views = Vec::new();
        let runtime = &snapshot.facts.description;
        if !runtime.knows(Fact::Phases) {
            return views;
        }
        for (phase, label) in runtime.phases() {
            let index = phase.index();
            let running_ns = match now.running {
                // A busy period older than the interval has filled it, with one callback or with many.
                Some(running) if running.phase == phase && now.busy_ns >= interval.ns => interval.ns,
                Some(running) if running.phase == phase && running.kind.is_some() => now.running_ns,
                _ => 0,
            };
            let told_ns =
                self.phases[index].settle(std::mem::take(&mut counted[index]), running_ns, interval.ns);
            let callbacks_per_second =
                interval.per_second(snapshot.phase_callbacks[index], self.phase_callbacks[index]);
            if told_ns > 0 || callbacks_per_second > 0.0 {
                let share_ratio = interval.share(told_ns);
                let callbacks_per_second = runtime.knows(Fact::Callbacks).then_some(callbacks_per_second);
                views.push(PhaseView { phase: label.to_owned(), share_ratio, callbacks_per_second });
            }
        }
        views
    }

    /// Returns the sites that ran.
    fn site_views(&mut self, snapshot: &Snapshot, interval: ViewInterval) -> Vec<SiteView> {
        let mut totals = sites::totals(snapshot);
        let running = running_site(snapshot);
        if let Some((label, kind)) = &running
            && !totals.iter().any(|total| total.label == *label && total.kind == Some(*kind))
        {
            // Its first run: the page knows nothing of it but that it runs.
            let (label, kind) = (label.clone(), Some(*kind));
            totals.push(SiteTotal { label, kind, calls: 0, run_ns: 0, longest_ns: 0 });
        }
        self.sites.values_mut().for_each(|past| past.is_there = false);
        let mut views: Vec<SiteView> = Vec::new();
        for SiteTotal { label, kind, calls, run_ns, longest_ns } in totals {
            let kind = kind.unwrap_or(Kind::Other);
            let is_running = running.as_ref().is_some_and(|running| running.0 == label && running.1 == kind);
            let running_ns = if is_running { snapshot.now.running_ns } else { 0 };
            let past = self.sites.entry((label.clone(), kind)).or_default();
            past.is_there = true;
            let told_ns = past.account.settle(run_ns, running_ns, interval.ns);
            let calls_per_second = interval.per_second(calls, std::mem::replace(&mut past.calls, calls));
            if told_ns == 0 && calls_per_second == 0.0 && !is_running {
                continue;
            }
            views.push(SiteView {
                label,
                kind: kind_word(&snapshot.facts.description, kind).to_owned(),
                share_ratio: interval.share(told_ns),
                calls_per_second,
                longest_ns: longest_ns.max(running_ns),
                is_running,
            });
        }
        // Not at once: what ran for the first time is on the page only when it is counted.
        if self.sites.len() > REMEMBERED_MAX {
            self.sites.retain(|_, past| past.is_there);
        }
        views
    }

    /// Returns the queues that the runtime has and tells something of. `lengths` are those of the interval's drains.
    fn drain_views(
        &self,
        lengths: &[HistogramValues; 2],
        snapshot: &Snapshot,
        interval: ViewInterval,
    ) -> Vec<DrainView> {
        let runtime = &snapshot.facts.description;
        let knows = [Fact::Drains, Fact::DrainedJobs, Fact::QueueDepth].map(|fact| runtime.knows(fact));
        if knows == [false; 3] {
            return Vec::new();
        }
        let [knows_drains, knows_jobs, knows_depth] = knows;
        let view = |(queue, label): (Queue, &str)| {
            let index = queue.index();
            let lengths = &lengths[index];
            let jobs = interval.per_second(snapshot.drained_jobs[index], self.drained_jobs[index]);
            DrainView {
                queue: label.to_owned(),
                drains_per_second: knows_drains.then(|| interval.per_second(lengths.count(), 0)),
                jobs_per_second: knows_jobs.then_some(jobs),
                p99_ns: knows_drains.then(|| lengths.quantile_ns(0.99).unwrap_or(0)),
                depth_max: knows_depth.then_some(snapshot.queue_depth_max[index]),
            }
        };
        runtime.queues().into_iter().map(view).collect()
    }

    fn stall_view(&self, seen: &LoopSample) -> StallView {
        let (snapshot, now) = (&seen.snapshot, &seen.snapshot.now);
        let is_stalled = now.unexpected_ns() > snapshot.warning_ns;
        let running_ns = if is_stalled { now.busy_ns } else { 0 };
        StallView {
            warning_count: snapshot.blocked[0],
            critical_count: snapshot.blocked[1],
            warning_count_new: snapshot.blocked[0].saturating_sub(self.stalls),
            blocked_ns: snapshot.blocked_duration.sum_ns.saturating_add(running_ns),
            warning_ns: snapshot.warning_ns,
            critical_ns: snapshot.critical_ns,
            causes: seen.causes.clone(),
        }
    }
}

impl PoolPast {
    /// Returns the view, and the waits of the interval.
    fn turn(
        &mut self,
        pool: &PoolValues,
        runtime: &Description,
        interval: ViewInterval,
    ) -> (PoolView, HistogramValues) {
        let mut wait = HistogramValues::default();
        pool.wait.iter().for_each(|values| wait.merge(values));
        let new_waits = wait.since(&self.wait);
        let ended = pool.completed.iter().chain(&pool.failed);
        let jobs = ended.fold(0u64, |sum, count| sum.saturating_add(*count));
        let view = PoolView {
            threads: pool.threads,
            busy: pool.running,
            queued: pool.queued,
            oldest_wait_ns: pool.oldest_wait_ns,
            saturated_ns: pool.saturated_for_ns,
            jobs_per_second: runtime.knows(Fact::PoolJobs).then(|| interval.per_second(jobs, self.jobs)),
            wait_p95_ns: runtime.knows(Fact::PoolWait).then(|| new_waits.quantile_ns(0.95).unwrap_or(0)),
            utilization_ratio: pool
                .threads
                .filter(|_| pool.running.is_some())
                .map(|threads| interval.share(pool.busy_ns.saturating_sub(self.busy_ns) / threads.max(1))),
        };
        *self = PoolPast { jobs, busy_ns: pool.busy_ns, wait };
        (view, new_waits)
    }
}

/// Returns the phases that a runtime has; none where it does not tell of them.
fn phase_names(runtime: &Description) -> Vec<String> {
    let phases = if runtime.knows(Fact::Phases) { runtime.phases() } else { Vec::new() };
    phases.into_iter().map(|(_, label)| label.to_owned()).collect()
}

/// Returns the site of what runs now.
fn running_site(snapshot: &Snapshot) -> Option<(String, Kind)> {
    let running = snapshot.now.running.filter(|running| running.kind.is_some())?;
    let site = snapshot.site(running.site)?;
    Some((site.label(), site.kind))
}

/// Sums up the time counted on the paths below each phase, in nanoseconds.
fn phase_totals(snapshot: &Snapshot) -> [u64; Phase::COUNT] {
    let mut inclusive: Vec<u64> = snapshot.paths.iter().map(|path| path.self_ns).collect();
    // A child has a higher number than its parent, so one pass from the end sees every sum complete. Phases have the
    // numbers after the root.
    for number in (1 + Phase::COUNT..inclusive.len()).rev() {
        let parent = usize::from(snapshot.paths[number].parent);
        inclusive[parent] = inclusive[parent].saturating_add(inclusive[number]);
    }
    std::array::from_fn(|phase| inclusive.get(phase + 1).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Site;
    use loopscope_probe::raw::paths::PathStat;
    use loopscope_probe::{Clock, SiteId, Ticks, VirtualClock, Writer};

    /// A page's copy whose sites all have names that no other copy has.
    fn renamed(base: &Snapshot, tick: usize) -> Snapshot {
        let site = |number: usize| Site {
            kind: Kind::Timer,
            name: format!("{tick}-{number}"),
            file: String::new(),
            line: 0,
            column: 0,
        };
        let path = |number: usize| {
            let site = SiteId::from(number as u16);
            PathStat { parent: 0, site, calls: 1, self_ns: 1, longest_ns: 1 }
        };
        let (sites, paths) = ((0..SITES).map(site).collect(), (0..SITES).map(path).collect());
        let mut copy = base.clone();
        (copy.sites, copy.paths) = (sites, paths);
        copy
    }

    #[test]
    fn names_that_change_all_the_time_do_not_fill_the_memory() {
        let writer = Writer::builder("web").clock(Clock::simulated(VirtualClock::starting_at(1))).build();
        let base = writer.page().snapshot_at(writer.clock(), Ticks(1));
        let mut past = Past::default();
        for tick in 0..200 {
            let (views, left_out) =
                heaviest(past.site_views(&renamed(&base, tick), ViewInterval { ns: 1_000 }));
            assert_eq!(views.len() as u64 + left_out, SITES as u64 - 1);
            assert!(past.sites.len() <= REMEMBERED_MAX, "{}", past.sites.len());
        }
        // Sites that stay are remembered.
        let (_, left_out) = heaviest(past.site_views(&renamed(&base, 199), ViewInterval { ns: 1_000 }));
        assert_eq!(left_out, 0);
    }
}
