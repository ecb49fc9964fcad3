//! From copies of a page, taken one after another, to evidence.
//!
//! The first and the last copy give exact totals of the time between. The looks between them see stalls while they
//! last, which tells what ran in them; a stall cannot hide from looks that are closer together than the threshold.

use crate::compute::sites;
use crate::compute::sites::SiteTotal;
use crate::compute::verdict::judge;
use crate::diagnose::evidence::{
    CpuTime, Delayer, JobSite, LoopEvidence, PoolEvidence, PoolKind, SeenStall, Trend,
};
use crate::incident::Incident;
use loopscope_probe::counts::CountValues;
use loopscope_probe::iterations::IterationRecord;
use loopscope_probe::pool::PoolValues;
use loopscope_probe::record::Record;
use loopscope_probe::{Clock, HandleType, Kind, NowValues, Page, SiteId, Snapshot, Ticks, Vitals, WorkKind};
use std::collections::{BTreeMap, HashMap};

/// A timer that starts this much after it was due is late, in nanoseconds.
pub(crate) const LATE_NS: u64 = 20_000_000;

/// At most so many late timers are asked, at one look, what they waited for.
const LATE_ASKED: usize = 64;

/// At most so many stalls and places of each sort are kept. A real loop has fewer in an examination; a hostile page may have
/// others at each look.
const KEPT_MAX: usize = 4_096;

/// One look at the page, between the first and the last copy.
#[derive(Debug)]
pub struct Look<'a> {
    /// A copy of the page.
    pub page: &'a Page,
    /// The page's clock.
    pub clock: &'a Clock,
    /// When the copy was made, on that clock.
    pub at: Ticks,
    /// What the loop's thread is asleep in: a system call, or a function of the kernel. `None` where it runs or is
    /// ready to.
    pub asleep_in: Option<String>,
    /// For how long the agent has not looked at the loop, in nanoseconds; `None` where there is no agent.
    pub agent_age_ns: Option<u64>,
}

/// What the caller knows besides the pages.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What the loop is called, made unique within its process; `None` for its name alone.
    pub label: Option<String>,
    /// Time that the loop's thread was on a processor while it was watched, and time that it was ready to run and had
    /// none, in nanoseconds; `None` where the kernel does not tell.
    pub thread_ns: Option<(u64, u64)>,
    /// Processors that the watched process may use; 0 where not known.
    pub processors: u64,
    /// The loop's incidents that overlap the time it was watched, newest first.
    pub incidents: Vec<Incident>,
}

/// One loop under examination.
#[derive(Debug)]
pub struct Examination {
    first: Snapshot,
    records_seen: u64,
    iterations_seen: u64,
    jobs_seen: u64,
    /// By the begin of the busy stretch.
    stalls: BTreeMap<Ticks, Seen>,
    delayers: HashMap<String, Delayer>,
    jobs: HashMap<(SiteId, usize), JobSite>,
    expected: BTreeMap<String, u64>,
    handles: [Vec<u64>; HandleType::COUNT],
    timers: Vec<u64>,
    agent_late_ns: Option<u64>,
}

/// A stall, with what the end of its stretch has to be compared with.
#[derive(Clone, Debug)]
struct Seen {
    stall: SeenStall,
    expected_ns: u64,
}

impl Examination {
    /// Begins with a first copy of the page and the moment of it, on the page's clock.
    pub fn begin(page: &Page, clock: &Clock, at: Ticks) -> Examination {
        let mut begun = Examination {
            records_seen: page.vitals_at(clock, at).records,
            iterations_seen: page.iterations_recorded(),
            jobs_seen: page.jobs_recorded(),
            first: page.snapshot_at(clock, at),
            stalls: BTreeMap::new(),
            delayers: HashMap::new(),
            jobs: HashMap::new(),
            expected: BTreeMap::new(),
            handles: Default::default(),
            timers: Vec::new(),
            agent_late_ns: None,
        };
        begun.read_gauges(&begun.first.clone());
        begun
    }

    /// Returns the stall threshold of the loop when the examination began, in nanoseconds.
    pub fn warning_ns(&self) -> u64 {
        self.first.warning_ns
    }

    /// Takes one look: for stalls, late timers and jobs. Looks should be closer together than the stall threshold.
    pub fn look(&mut self, look: &Look<'_>) {
        let vitals = look.page.vitals_at(look.clock, look.at);
        let records = look.page.records(self.records_seen);
        self.see_iterations(look, &records);
        let warning_ns = look.page.control().warning_ns();
        if vitals.now.unexpected_ns() > warning_ns && self.stalls.len() < KEPT_MAX {
            self.see_stall(look, &vitals);
        }
        if let Some(site) = vitals.now.expected
            && self.expected.len() < KEPT_MAX
        {
            let longest_ns = self.expected.entry(look.page.sites().label(site)).or_default();
            *longest_ns = (*longest_ns).max(vitals.now.expected_ns);
        }
        self.see_late_timers(look, &records);
        self.see_jobs(look);
        // The agent sleeps while all loops are idle; what it owes is to look at a busy one.
        let age_ns = look.agent_age_ns.map(|age_ns| age_ns.min(vitals.now.busy_ns));
        self.agent_late_ns = self.agent_late_ns.max(age_ns);
        self.records_seen = vitals.records;
    }

    /// Reads the gauges; a few dozen times in all is enough to tell growth from movement.
    pub fn read_gauges(&mut self, snapshot: &Snapshot) {
        for (series, count) in self.handles.iter_mut().zip(snapshot.handles) {
            series.push(count);
        }
        self.timers.push(snapshot.timers_pending);
    }

    /// Judges the stretch under way, which is too long.
    fn see_stall(&mut self, look: &Look<'_>, vitals: &Vitals) {
        let (page, now) = (look.page, &vitals.now);
        let first = vitals.records.saturating_sub(now.stretch_callbacks);
        let verdict = judge(vitals.busy_since, now.busy_ns, now, &page.records(first), look.clock.scale());
        let before = self.stalls.remove(&vitals.busy_since).map(|seen| seen.stall);
        let (looks, looks_asleep) = before.as_ref().map_or((0, 0), |stall| (stall.looks, stall.looks_asleep));
        let asleep_before = before.as_ref().and_then(|stall| stall.asleep_in.clone());
        let inside = page.open_spans().pop().map(|span| span_words(page, span.site, &span.fields));
        let stall = SeenStall {
            ns: now.unexpected_ns(),
            is_over: false,
            cause: verdict.cause,
            kind: verdict.kind,
            label: page.sites().label(verdict.site),
            is_flood: verdict.is_flood,
            runs: verdict.runs,
            runs_ns: verdict.total_ns,
            looks: looks + 1,
            looks_asleep: looks_asleep + u64::from(look.asleep_in.is_some()),
            asleep_in: look.asleep_in.clone().or(asleep_before),
            inside: inside.or(before.and_then(|stall| stall.inside)),
        };
        self.stalls.insert(vitals.busy_since, Seen { stall, expected_ns: now.expected_ns });
    }

    /// Takes the stretches that ended since the last look: the end of a stall, or a stall that was not seen before.
    fn see_iterations(&mut self, look: &Look<'_>, records: &[Record]) {
        let warning_ns = look.page.control().warning_ns();
        let iterations = look.page.iterations(self.iterations_seen);
        self.iterations_seen = look.page.iterations_recorded();
        for (at, iteration) in iterations.iter().enumerate() {
            let ns = look.clock.duration_ns(iteration.begin, iteration.end);
            if let Some(seen) = self.stalls.get_mut(&iteration.begin) {
                seen.stall.is_over = true;
                seen.stall.ns = ns.saturating_sub(seen.expected_ns).max(seen.stall.ns);
            } else if ns > warning_ns
                && iteration.begin > self.first.taken
                && self.expected.is_empty()
                && self.stalls.len() < KEPT_MAX
            {
                // The page does not tell how much of an ended stretch was expected, so where blocks are expected only
                // those are told that were seen while they lasted.
                let last_record = iterations.get(at + 1).map_or(u64::MAX, |next| next.first_record);
                let stall = ended_stall(look, iteration, last_record, ns, records);
                self.stalls.insert(iteration.begin, Seen { stall, expected_ns: 0 });
            }
        }
        let newest = iterations.last().map_or(Ticks::NONE, |iteration| iteration.end);
        // A stretch whose end was overwritten in the ring is over all the same.
        for (_, seen) in self.stalls.range_mut(..newest) {
            seen.stall.is_over = true;
        }
    }

    fn see_late_timers(&mut self, look: &Look<'_>, records: &[Record]) {
        let clock = look.clock;
        let is_late = |record: &Record| {
            record.kind == Kind::Timer
                && record.ready != Ticks::NONE
                && clock.duration_ns(record.ready, record.start) >= LATE_NS
        };
        let late = records.iter().enumerate().filter(|(_, record)| is_late(record)).take(LATE_ASKED);
        for (at, timer) in late {
            let Some((site, ns)) = blamed_for(timer, &records[..at], clock) else { continue };
            if self.delayers.len() >= KEPT_MAX {
                break;
            }
            let label = look.page.sites().label(site);
            let delayer = self.delayers.entry(label).or_default();
            delayer.timers += 1;
            delayer.ns = delayer.ns.saturating_add(ns);
        }
    }

    fn see_jobs(&mut self, look: &Look<'_>) {
        let jobs = look.page.jobs(self.jobs_seen);
        self.jobs_seen = look.page.jobs_recorded();
        for job in jobs {
            let new =
                || JobSite { label: look.page.sites().label(job.site), kind: job.kind, count: 0, run_ns: 0 };
            let site = self.jobs.entry((job.site, job.kind.index())).or_insert_with(new);
            site.count += 1;
            site.run_ns = site.run_ns.saturating_add(look.clock.duration_ns(job.started, job.ended));
        }
    }

    /// Ends with the last copy.
    pub fn end(self, last: &Snapshot, clock: &Clock, surroundings: Surroundings) -> LoopEvidence {
        let first = &self.first;
        let delta = |last: u64, first: u64| last.saturating_sub(first);
        let run = pairs(&last.run, &first.run).map(|(last, first)| last.since(first).count());
        let run = run.fold(0, u64::saturating_add);
        let drained = last.drained_jobs.iter().zip(first.drained_jobs).map(|(a, b)| delta(*a, b));
        let drained = drained.fold(0, u64::saturating_add);
        let (timer, accept) = (Kind::Timer.index(), Kind::Accept.index());
        let errors = Kind::ALL[..Kind::CALLBACKS].iter().enumerate();
        let errors = errors.map(|(at, kind)| (*kind, delta(last.errors[at], first.errors[at])));
        let blocked_duration = last.blocked_duration.since(&first.blocked_duration);
        let handles = HandleType::ALL.iter().zip(&self.handles).map(|(kind, series)| (*kind, trend(series)));
        let mut delayers: Vec<(String, Delayer)> = self.delayers.into_iter().collect();
        delayers.sort_by(|(a, one), (b, other)| other.ns.cmp(&one.ns).then_with(|| a.cmp(b)));
        let delayers = delayers.into_iter().map(|(label, delayer)| Delayer { label, ..delayer });
        LoopEvidence {
            name: surroundings.label.unwrap_or_else(|| last.facts.name.clone()),
            group: last.facts.group.clone(),
            is_worker: last.facts.worker.is_some(),
            pid: last.facts.pid,
            runtime: last.facts.description.clone(),
            watched_ns: clock.duration_ns(first.taken, last.taken),
            active_ns: delta(last.active_ns, first.active_ns),
            callbacks: run.saturating_add(drained),
            lag: last.lag.since(&first.lag),
            warning_ns: last.warning_ns,
            critical_ns: last.critical_ns,
            iterations: delta(last.iterations, first.iterations),
            blocked: [0, 1].map(|severity| delta(last.blocked[severity], first.blocked[severity])),
            blocked_ns: blocked_duration.sum_ns,
            stalls: self.stalls.into_values().map(|seen| seen.stall).collect(),
            sites: site_deltas(last, first),
            timer_lateness: last.wait[timer].since(&first.wait[timer]),
            delayers: delayers.collect(),
            poll_events: counts_since(&last.poll_events, &first.poll_events),
            accepted: last.run[accept].since(&first.run[accept]).count(),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            pool: last.pool.as_ref().map(|pool| pool_evidence(pool, first.pool.as_ref(), self.jobs)),
            handles: handles.filter(|(_, trend)| trend.last > 0).collect(),
            timers: trend(&self.timers),
            sites_overflow: last.sites_overflow,
            expected: self.expected.into_iter().collect(),
            cpu: surroundings.thread_ns.map(|(run_ns, runqueue_ns)| CpuTime { run_ns, runqueue_ns }),
            processors: surroundings.processors,
            agent_late_ns: self.agent_late_ns,
            incidents: surroundings.incidents,
        }
    }
}

/// Judges a stretch that is over, by what the recorder still has of it.
fn ended_stall(
    look: &Look<'_>,
    iteration: &IterationRecord,
    last_record: u64,
    ns: u64,
    records: &[Record],
) -> SeenStall {
    let is_inside = |record: &&Record| (iteration.first_record..last_record).contains(&record.number);
    let inside: Vec<Record> = records.iter().filter(is_inside).copied().collect();
    let known = last_record != u64::MAX;
    let runs = if known { last_record.saturating_sub(iteration.first_record) } else { inside.len() as u64 };
    let now = NowValues { stretch_callbacks: runs, ..NowValues::IDLE };
    let verdict = judge(iteration.begin, ns, &now, &inside, look.clock.scale());
    SeenStall {
        ns,
        is_over: true,
        cause: verdict.cause,
        kind: verdict.kind,
        label: look.page.sites().label(verdict.site),
        is_flood: verdict.is_flood,
        runs: verdict.runs,
        runs_ns: verdict.total_ns,
        looks: 0,
        looks_asleep: 0,
        asleep_in: None,
        inside: None,
    }
}

/// Returns what ran for the longest between the moment a timer was due and its start.
fn blamed_for(timer: &Record, before: &[Record], clock: &Clock) -> Option<(SiteId, u64)> {
    let overlaps = before.iter().rev().take_while(|record| record.end > timer.ready);
    let mut by_site: HashMap<SiteId, u64> = HashMap::new();
    for record in overlaps {
        let ns = clock.duration_ns(record.start.max(timer.ready), record.end);
        let site_ns = by_site.entry(record.site).or_default();
        *site_ns = site_ns.saturating_add(ns);
    }
    by_site.into_iter().max_by_key(|(site, ns)| (*ns, std::cmp::Reverse(*site)))
}

fn span_words(page: &Page, site: SiteId, fields: &str) -> String {
    let name = page.sites().name(site);
    if fields.is_empty() { name } else { format!("{name} {fields}") }
}

fn trend(series: &[u64]) -> Trend {
    let (early, late) = series.split_at(series.len() / 2);
    Trend {
        first: series.first().copied().unwrap_or(0),
        last: series.last().copied().unwrap_or(0),
        early_max: early.iter().max().copied().unwrap_or(0),
        late_min: late.iter().min().copied().unwrap_or(0),
    }
}

fn pairs<'a, T, const N: usize>(last: &'a [T; N], first: &'a [T; N]) -> impl Iterator<Item = (&'a T, &'a T)> {
    last.iter().zip(first)
}

fn counts_since(last: &CountValues, first: &CountValues) -> CountValues {
    let buckets = std::array::from_fn(|slot| last.buckets[slot].saturating_sub(first.buckets[slot]));
    CountValues { buckets, sum: last.sum.saturating_sub(first.sum) }
}

/// Returns what each site cost between two copies, heaviest first.
fn site_deltas(last: &Snapshot, first: &Snapshot) -> Vec<SiteTotal> {
    let before: HashMap<(String, Option<Kind>), SiteTotal> =
        sites::totals(first).into_iter().map(|total| ((total.label.clone(), total.kind), total)).collect();
    let since = |total: SiteTotal| {
        let before = before.get(&(total.label.clone(), total.kind));
        let (calls, run_ns) = before.map_or((0, 0), |before| (before.calls, before.run_ns));
        SiteTotal {
            calls: total.calls.saturating_sub(calls),
            run_ns: total.run_ns.saturating_sub(run_ns),
            ..total
        }
    };
    let mut deltas: Vec<SiteTotal> =
        sites::totals(last).into_iter().map(since).filter(|total| total.calls > 0).collect();
    deltas.sort_by(|a, b| b.run_ns.cmp(&a.run_ns).then_with(|| a.label.cmp(&b.label)));
    deltas
}

fn pool_evidence(
    last: &PoolValues,
    first: Option<&PoolValues>,
    jobs: HashMap<(SiteId, usize), JobSite>,
) -> PoolEvidence {
    let none = PoolValues::default();
    let first = first.unwrap_or(&none);
    let of_kind = |kind: WorkKind| {
        let at = kind.index();
        PoolKind {
            kind,
            submitted: last.submitted[at].saturating_sub(first.submitted[at]),
            failed: last.failed[at].saturating_sub(first.failed[at]),
            wait: last.wait[at].since(&first.wait[at]),
            run: last.run[at].since(&first.run[at]),
        }
    };
    let is_used = |kind: &PoolKind| kind.submitted + kind.wait.count() + kind.run.count() > 0;
    let mut jobs: Vec<JobSite> = jobs.into_values().collect();
    jobs.sort_by(|a, b| b.run_ns.cmp(&a.run_ns).then_with(|| a.label.cmp(&b.label)));
    PoolEvidence {
        threads: last.threads,
        saturated_ns: last.saturated_ns.saturating_sub(first.saturated_ns),
        queued: last.queued,
        oldest_wait_ns: last.oldest_wait_ns,
        kinds: WorkKind::ALL.iter().map(|kind| of_kind(*kind)).filter(is_used).collect(),
        jobs,
    }
}

#[cfg(test)]
#[path = "examination_tests.rs"]
mod tests;
