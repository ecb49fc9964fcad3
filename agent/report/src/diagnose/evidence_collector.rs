//! From copies of a page, taken one after another, to evidence.
//!
//! The first and the last copy give exact totals of the time between. The looks between them see stalls while they
//! last, which tells what ran in them; a stall cannot hide from looks that are closer together than the threshold.

use crate::compute::classify::{Reading, Used, used_since};
use crate::compute::sites;
use crate::compute::sites::SiteTotal;
use crate::compute::verdict::judge;
use crate::diagnose::collections::collections;
use crate::diagnose::evidence::{
    CpuTime, Delayer, JobSite, LoopEvidence, PoolEvidence, PoolKind, Quota, SeenStall, StuckJob, Trend,
};
use crate::diagnose::hooks::hooks;
use crate::incident::Incident;
use crate::model::waits::Waits;
use loopscope_probe::raw::count_histogram::CountValues;
use loopscope_probe::raw::pool::{JobNow, PoolValues};
use loopscope_probe::raw::record::CallbackRecord;
use loopscope_probe::raw::record::IterationRecord;
use loopscope_probe::{Clock, HandleType, Kind, NowValues, Page, SiteId, Snapshot, Ticks, Vitals, WorkKind};
use std::collections::{BTreeMap, HashMap};

/// A timer that starts this much after it was due is late, in nanoseconds.
pub(crate) const LATE_NS: u64 = 20_000_000;

/// At most so many late timers are asked, at one look, what they waited for.
const LATE_ASKED: usize = 64;

/// At most so many stalls and places of each sort are kept. A real loop has fewer while it is watched; a hostile page may have
/// others at each look.
const KEPT_MAX: usize = 4_096;

/// One look at the page, between the first and the last copy.
#[derive(Debug)]
pub struct PageSample<'a> {
    /// A copy of the page.
    pub page: &'a Page,
    /// The page's clock.
    pub clock: &'a Clock,
    /// When the copy was made, on that clock.
    pub at: Ticks,
    /// How the loop's thread was found, right before the copy was made.
    pub thread: ThreadSample,
    /// For how long the agent has not looked at the loop, in nanoseconds; `None` where there is no agent.
    pub agent_age_ns: Option<u64>,
}

/// How a loop's thread was found at a look; all is unknown where the kernel does not tell.
#[derive(Clone, Debug, Default)]
pub struct ThreadSample {
    /// What it is asleep in: a system call, or a function of the kernel. `None` where it runs or is ready to.
    pub asleep_in: Option<String>,
    /// It is stopped, by a signal or a debugger.
    pub is_stopped: bool,
    /// Time that it was on CPU since it began, and time that it was ready to run and had none, in nanoseconds.
    pub times_ns: Option<(u64, u64)>,
    /// What threads of its pool are asleep in, by their numbers.
    pub pool_asleep_in: Vec<(u32, String)>,
}

/// What the caller knows besides the pages.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What the loop is called for people, unique within its process; `None` for its name alone.
    pub label: Option<String>,
    /// Time that the loop's thread was on CPU while it was watched, and time that it was ready to run and had
    /// none, in nanoseconds; `None` where the kernel does not tell.
    pub thread_ns: Option<(u64, u64)>,
    /// What the CPU quota of the process's cgroup did while it was watched; `None` where there is none.
    pub quota: Option<Quota>,
    /// Processors that the watched process may use; 0 where not known.
    pub processors: u64,
    /// The loop's incidents that overlap the time it was watched, newest first.
    pub incidents: Vec<Incident>,
}

/// Collects the evidence about one loop while it is watched.
#[derive(Debug)]
pub struct EvidenceCollector {
    first: Snapshot,
    /// When the busy period began that was under way at the first copy.
    busy_at_first: Ticks,
    records_seen: u64,
    iterations_seen: u64,
    jobs_seen: u64,
    /// By the begin of the busy period.
    stalls: BTreeMap<Ticks, Seen>,
    delayers: HashMap<String, Delayer>,
    jobs: HashMap<(SiteId, usize), JobSite>,
    jobs_unseen: u64,
    /// Jobs that ran at the last look, the labels of their places, and when that was.
    jobs_now: (Vec<(JobNow, String)>, Ticks),
    expected: BTreeMap<String, u64>,
    handles: [Vec<u64>; HandleType::COUNT],
    timers: Vec<u64>,
    agent_late_ns: Option<u64>,
    /// The first of the last looks that found its thread stopped; `None` where the last look did not.
    stopped_since: Option<Ticks>,
    times: BusyPeriodTimes,
    /// The pool's running jobs at the last look, with the begin of each; their age is that of the end.
    running_jobs: Vec<StuckJob>,
}

/// The thread's times around the busy period under way.
#[derive(Debug, Default)]
struct BusyPeriodTimes {
    busy_since: Ticks,
    before: Option<Reading>,
    within: Option<Reading>,
    last: Option<Reading>,
}

impl BusyPeriodTimes {
    fn look(&mut self, busy_since: Ticks, reading: Option<Reading>) {
        if busy_since != self.busy_since {
            (self.busy_since, self.before, self.within) = (busy_since, self.last, reading);
        }
        self.last = reading;
    }

    fn used(&self, begin_ns: u64) -> Used {
        self.last.map_or(Used::default(), |last| used_since(begin_ns, self.before, self.within, last))
    }
}

/// A stall, with what the end of its busy period has to be compared with.
#[derive(Clone, Debug)]
struct Seen {
    stall: SeenStall,
    expected_ns: u64,
}

impl EvidenceCollector {
    /// Begins with a first copy of the page and the moment of it, on the page's clock.
    pub fn begin(page: &Page, clock: &Clock, at: Ticks) -> EvidenceCollector {
        let vitals = page.vitals_at(clock, at);
        let mut begun = EvidenceCollector {
            busy_at_first: vitals.busy_since,
            records_seen: vitals.records,
            iterations_seen: page.iterations_recorded(),
            jobs_seen: page.jobs_recorded(),
            first: page.snapshot_at(clock, at),
            stalls: BTreeMap::new(),
            delayers: HashMap::new(),
            jobs: HashMap::new(),
            jobs_unseen: 0,
            jobs_now: (Vec::new(), at),
            expected: BTreeMap::new(),
            handles: Default::default(),
            timers: Vec::new(),
            agent_late_ns: None,
            stopped_since: None,
            times: BusyPeriodTimes::default(),
            running_jobs: Vec::new(),
        };
        begun.read_gauges(&begun.first.clone());
        begun
    }

    /// Returns the stall threshold of the loop when the collector began, in nanoseconds.
    pub fn warning_ns(&self) -> u64 {
        self.first.warning_ns
    }

    /// Takes one look: for stalls, late timers and jobs. Looks should be closer together than the stall threshold.
    pub fn look(&mut self, look: &PageSample<'_>) {
        let vitals = look.page.vitals_at(look.clock, look.at);
        let records = look.page.records(self.records_seen);
        self.see_iterations(look, &vitals, &records);
        let at_ns = look.clock.scale().ns(look.at.0);
        let reading =
            look.thread.times_ns.map(|(cpu_ns, runqueue_ns)| Reading { at_ns, cpu_ns, runqueue_ns });
        self.times.look(vitals.busy_since, reading);
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
        self.see_running_jobs(look);
        // The agent sleeps while all loops are idle; what it owes is to look at a busy one.
        let age_ns = look.agent_age_ns.map(|age_ns| age_ns.min(vitals.now.busy_ns));
        self.agent_late_ns = self.agent_late_ns.max(age_ns);
        self.stopped_since = look.thread.is_stopped.then(|| self.stopped_since.unwrap_or(look.at));
        self.records_seen = vitals.records;
    }

    /// Reads the gauges; a few dozen times in all is enough to tell growth from movement.
    pub fn read_gauges(&mut self, snapshot: &Snapshot) {
        for (series, count) in self.handles.iter_mut().zip(snapshot.handles) {
            series.push(count);
        }
        self.timers.push(snapshot.timers_pending);
    }

    /// Judges the busy period under way, which is too long.
    fn see_stall(&mut self, look: &PageSample<'_>, vitals: &Vitals) {
        let (page, now) = (look.page, &vitals.now);
        let first = vitals.records.saturating_sub(now.busy_callbacks);
        let verdict = judge(vitals.busy_since, now.busy_ns, now, &page.records(first), look.clock.scale());
        let before = self.stalls.remove(&vitals.busy_since).map(|seen| seen.stall);
        let looks = |count: fn(&SeenStall) -> u64| before.as_ref().map_or(0, count);
        let is_asleep = look.thread.asleep_in.is_some();
        let begin_ns = look.clock.scale().ns(look.at.0).saturating_sub(now.busy_ns);
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
            sample: verdict.sample,
            looks: looks(|stall| stall.looks) + 1,
            looks_asleep: looks(|stall| stall.looks_asleep) + u64::from(is_asleep),
            looks_stopped: looks(|stall| stall.looks_stopped) + u64::from(look.thread.is_stopped),
            used: self.times.used(begin_ns),
            asleep_in: look.thread.asleep_in.clone().or(asleep_before),
            inside: inside.or(before.and_then(|stall| stall.inside)),
        };
        self.stalls.insert(vitals.busy_since, Seen { stall, expected_ns: now.expected_ns });
    }

    /// Tells whether a busy period that is over, and was a stall, was counted as one since the first copy. The one that
    /// was under way then was, unless it was too long already.
    fn is_of_watch(&self, iteration: &IterationRecord) -> bool {
        let first = &self.first;
        let was_no_stall_yet =
            iteration.begin == self.busy_at_first && first.now.unexpected_ns() <= first.warning_ns;
        iteration.begin > first.taken || was_no_stall_yet
    }

    /// Takes the busy periods that ended since the last look: the end of a stall, or a stall that was not seen before.
    fn see_iterations(&mut self, look: &PageSample<'_>, vitals: &Vitals, records: &[CallbackRecord]) {
        let warning_ns = look.page.control().warning_ns();
        let iterations = look.page.iterations(self.iterations_seen);
        self.iterations_seen = look.page.iterations_recorded();
        for (at, iteration) in iterations.iter().enumerate() {
            let ns = look.clock.duration_ns(iteration.begin, iteration.end);
            let last_record = match iterations.get(at + 1) {
                Some(next) => next.first_record,
                None => first_record_after(iteration, vitals),
            };
            if let Some(seen) = self.stalls.get_mut(&iteration.begin) {
                seen.stall.is_over = true;
                seen.stall.ns = ns.saturating_sub(seen.expected_ns).max(seen.stall.ns);
                // How many runs there were is known at its end. A drain that was of one job is no flood.
                if seen.stall.runs.is_none() || last_record != u64::MAX {
                    let own = look.page.records(iteration.first_record);
                    seen.stall.take_verdict_of(ended_stall(look, iteration, last_record, ns, &own));
                }
            } else if ns > warning_ns
                && self.is_of_watch(iteration)
                && self.expected.is_empty()
                && self.stalls.len() < KEPT_MAX
            {
                // The page does not tell how much of an ended busy period was expected, so where blocks are expected only
                // those are told that were seen while they lasted.
                let was_under_way = iteration.begin == self.busy_at_first;
                let from_its_begin = was_under_way.then(|| look.page.records(iteration.first_record));
                let records = from_its_begin.as_deref().unwrap_or(records);
                let stall = ended_stall(look, iteration, last_record, ns, records);
                self.stalls.insert(iteration.begin, Seen { stall, expected_ns: 0 });
            }
        }
        let newest = iterations.last().map_or(Ticks::NONE, |iteration| iteration.end);
        // A busy period whose end was overwritten in the ring is over all the same.
        for (_, seen) in self.stalls.range_mut(..newest) {
            seen.stall.is_over = true;
        }
    }

    fn see_late_timers(&mut self, look: &PageSample<'_>, records: &[CallbackRecord]) {
        let clock = look.clock;
        let is_late = |record: &CallbackRecord| {
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

    fn see_jobs(&mut self, look: &PageSample<'_>) {
        let jobs = look.page.jobs(self.jobs_seen);
        let oldest = jobs.first().map_or(self.jobs_seen, |job| job.number);
        self.jobs_unseen += oldest.saturating_sub(self.jobs_seen);
        self.jobs_seen = jobs.last().map_or(self.jobs_seen, |job| job.number + 1);
        for job in jobs {
            let new = || job_site(look.page.sites().label(job.site), job.kind);
            let site = self.jobs.entry((job.site, job.kind.index())).or_insert_with(new);
            site.count += 1;
            site.run_ns = site.run_ns.saturating_add(look.clock.duration_ns(job.started, job.ended));
        }
        let labelled = |job: JobNow| {
            let label = look.page.sites().label(job.site);
            (job, label)
        };
        self.jobs_now = (look.page.jobs_now().into_iter().map(labelled).collect(), look.at);
    }

    /// Adds the jobs that run still: one that never ends is what fills a pool.
    fn add_running_jobs(&mut self, clock: &Clock) {
        let (jobs, at) = std::mem::take(&mut self.jobs_now);
        for (job, label) in jobs {
            let site = self.jobs.entry((job.site, job.kind.index()));
            let site = site.or_insert_with(|| job_site(label, job.kind));
            (site.count, site.running) = (site.count + 1, site.running + 1);
            site.run_ns = site.run_ns.saturating_add(clock.duration_ns(job.since, at));
        }
    }

    fn see_running_jobs(&mut self, look: &PageSample<'_>) {
        let (page, clock) = (look.page, look.clock);
        let created_unix_ns = page.facts().created_unix_ns;
        let running = |job: JobNow| {
            let mut calls = look.thread.pool_asleep_in.iter();
            StuckJob {
                label: page.sites().label(job.site),
                kind: job.kind,
                ns: 0,
                since_unix_ns: created_unix_ns.saturating_add(clock.duration_ns(page.created(), job.since)),
                asleep_in: calls.find(|(tid, _)| Some(*tid) == job.tid).map(|(_, call)| call.clone()),
                since: job.since,
            }
        };
        self.running_jobs = page.jobs_now().into_iter().map(running).collect();
    }

    /// Returns the running jobs that began before the first copy and are older than the critical threshold.
    fn stuck_jobs(&self, last: &Snapshot, clock: &Clock) -> Vec<StuckJob> {
        let aged = |job: &StuckJob| StuckJob { ns: clock.duration_ns(job.since, last.taken), ..job.clone() };
        let mut all: Vec<StuckJob> = self.running_jobs.iter().map(aged).collect();
        all.retain(|job| job.since < self.first.taken && job.ns > last.critical_ns);
        all.sort_by_key(|job| std::cmp::Reverse(job.ns));
        all
    }

    /// Returns the longest stall, or the threshold where there was none; `None` where some were not seen, or
    /// something else may have been longer.
    fn seen_longest_ns(&self, last: &Snapshot) -> Option<u64> {
        let counted = last.blocked[0].saturating_sub(self.first.blocked[0]);
        let is_all = self.expected.is_empty()
            && self.stalls.len() as u64 >= counted
            && self.first.warning_ns == last.warning_ns;
        let longest_ns = self.stalls.values().map(|seen| seen.stall.ns).max().unwrap_or(0);
        is_all.then_some(longest_ns.max(last.warning_ns))
    }

    /// Ends with the last copy.
    pub fn end(mut self, last: &Snapshot, clock: &Clock, surroundings: Surroundings) -> LoopEvidence {
        let stuck = self.stuck_jobs(last, clock);
        self.add_running_jobs(clock);
        let first = &self.first;
        let delta = |last: u64, first: u64| last.saturating_sub(first);
        let run = pairs(&last.run, &first.run).map(|(last, first)| last.since(first).count());
        let run = run.fold(0, u64::saturating_add);
        let drained = last.drained_jobs.iter().zip(first.drained_jobs).map(|(a, b)| delta(*a, b));
        let drained = drained.fold(0, u64::saturating_add);
        let (timer, accept) = (Kind::Timer.index(), Kind::Accept.index());
        let errors = Kind::ALL[..Kind::CALLBACKS].iter().enumerate();
        let errors = errors.map(|(at, kind)| (*kind, delta(last.errors[at], first.errors[at])));
        // Whoever waits still, has waited.
        let lag = Waits::of(last).since(&Waits::of(first)).running(last.now.busy_ns);
        let lag = Waits { seen_longest_ns: self.seen_longest_ns(last), ..lag };
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
            lag,
            warning_ns: last.warning_ns,
            critical_ns: last.critical_ns,
            collections: collections(last, first),
            hooks: hooks(last),
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
            pool: last
                .pool
                .as_ref()
                .map(|pool| pool_evidence(pool, first.pool.as_ref(), (self.jobs, self.jobs_unseen), stuck)),
            handles: handles.filter(|(_, trend)| trend.last > 0).collect(),
            timers: trend(&self.timers),
            sites_overflow: last.sites_overflow,
            expected: self.expected.into_iter().collect(),
            cpu: surroundings.thread_ns.map(|(run_ns, runqueue_ns)| CpuTime { run_ns, runqueue_ns }),
            quota: surroundings.quota,
            processors: surroundings.processors,
            agent_late_ns: self.agent_late_ns,
            stopped_ns: self.stopped_since.map(|since| clock.duration_ns(since, last.taken)),
            incidents: surroundings.incidents,
        }
    }
}

/// Returns the number of the first record after the newest busy period that is over; `u64::MAX` where the vitals, which were
/// read before it was found, are not of the time right after it.
fn first_record_after(newest: &IterationRecord, vitals: &Vitals) -> u64 {
    let is_parked = vitals.busy_since == Ticks::NONE && vitals.parked_since == newest.end;
    match is_parked || vitals.busy_since >= newest.end {
        true => vitals.records.saturating_sub(vitals.now.busy_callbacks),
        false => u64::MAX,
    }
}

/// Judges a busy period that is over, by what the recorder still has of it.
fn ended_stall(
    look: &PageSample<'_>,
    iteration: &IterationRecord,
    last_record: u64,
    ns: u64,
    records: &[CallbackRecord],
) -> SeenStall {
    // Behind the newest one that is over, the records of the one that runs.
    let is_inside = |record: &&CallbackRecord| {
        (iteration.first_record..last_record).contains(&record.number) && record.start < iteration.end
    };
    let inside: Vec<CallbackRecord> = records.iter().filter(is_inside).copied().collect();
    let known = last_record != u64::MAX;
    let runs = if known { last_record.saturating_sub(iteration.first_record) } else { inside.len() as u64 };
    let now = NowValues { busy_callbacks: runs, ..NowValues::IDLE };
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
        sample: verdict.sample,
        looks: 0,
        looks_asleep: 0,
        looks_stopped: 0,
        used: Used::default(),
        asleep_in: None,
        inside: None,
    }
}

/// Returns what ran for the longest between the moment a timer was due and its start.
fn blamed_for(timer: &CallbackRecord, before: &[CallbackRecord], clock: &Clock) -> Option<(SiteId, u64)> {
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
    (jobs, jobs_unseen): (HashMap<(SiteId, usize), JobSite>, u64),
    stuck: Vec<StuckJob>,
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
        running: last.running,
        queued: last.queued,
        oldest_wait_ns: last.oldest_wait_ns,
        kinds: WorkKind::ALL.iter().map(|kind| of_kind(*kind)).filter(is_used).collect(),
        jobs,
        stuck,
        jobs_unseen,
    }
}

fn job_site(label: String, kind: WorkKind) -> JobSite {
    JobSite { label, kind, count: 0, running: 0, run_ns: 0 }
}

#[cfg(test)]
#[path = "evidence_collector_tests.rs"]
mod tests;
