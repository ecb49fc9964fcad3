//! Watching the loops of a process: reading their pages again and again, and asking their agent in the end.

use super::thread;
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::output::tell;
use crate::pages::{LoopPage, Process};
use crate::{agent, duration};
use indicatif::{ProgressBar, ProgressStyle};
use loopscope_probe::raw::cgroup::CpuQuota;
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_probe::raw::pool::JobNow;
use loopscope_probe::raw::proc::{Sched, Status};
use loopscope_probe::{Clock, Page, Snapshot, Ticks};
use loopscope_report::diagnose::{EvidenceCollector, LoopEvidence, PageSample, Quota, Surroundings};
use loopscope_report::incident::Incident;
use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

/// Looks are this far apart, or a quarter of the stall threshold: no stall can hide between two of them. Not closer
/// than the shortest, because a look copies a page of close to a megabyte.
const LOOK_LONGEST: Duration = Duration::from_millis(25);
const LOOK_SHORTEST: Duration = Duration::from_millis(5);

/// Gauges are read about so many times in all.
const GAUGES_READ: u32 = 32;

/// A job of the pool that runs for less is not asked waiting for, in nanoseconds.
const OLD_JOB_NS: u64 = 1_000_000_000;

/// At most so many incidents are asked for in full.
const INCIDENTS_FULL: usize = 12;

/// What was seen.
pub struct Seen {
    pub evidence: Vec<LoopEvidence>,
    /// Incidents that were over before the watch began, newest first.
    pub earlier: Vec<Incident>,
    pub lasted: Duration,
    pub was_interrupted: bool,
    pub has_ended: bool,
    /// What could not be looked at, a sentence each.
    pub notes: Vec<String>,
}

/// One loop that is watched.
struct WatchedLoop<'a> {
    page: &'a LoopPage,
    collector: EvidenceCollector,
    /// The thread's times at the begin.
    before: Option<Sched>,
    /// What the CPU quota of its cgroup had done at the begin.
    quota: Option<CpuQuota>,
    pid: u32,
}

/// One loop whose watch is over.
struct Watched<'a> {
    page: &'a LoopPage,
    collector: EvidenceCollector,
    last: Snapshot,
    /// Without its incidents.
    surroundings: Surroundings,
}

/// Watches a process.
///
/// # Errors
/// No page of it can be read, or signals cannot be listened for.
pub fn watch(process: &Process, length: Duration) -> Result<Seen, Failure> {
    let mut interrupt = Interrupt::install()?;
    let mut notes = Vec::new();
    let mut watched: Vec<WatchedLoop<'_>> =
        process.loops.iter().filter_map(|page| WatchedLoop::admit(page, process.owner.pid)).collect();
    let (clock, begin_unix_ns) = (Clock::monotonic(), unix_ns());
    let start = clock.now();
    let elapsed = || Duration::from_nanos(clock.ns_between(start, clock.now()));
    let bar = bar(length, &format!("watching {}", process.label()));
    let (mut was_interrupted, mut has_ended) = (false, false);
    let mut gauges_due = Duration::ZERO;
    while elapsed() < length && !was_interrupted && !has_ended {
        let step = watched.iter().map(WatchedLoop::step).min().unwrap_or(LOOK_LONGEST);
        was_interrupted = interrupt.wait(step.min(length.saturating_sub(elapsed())));
        has_ended = !process.lives();
        let are_gauges_due = elapsed() >= gauges_due;
        if are_gauges_due {
            gauges_due += length / GAUGES_READ;
        }
        for own in &mut watched {
            own.look(are_gauges_due);
        }
        bar.set_position(elapsed().as_millis() as u64);
    }
    let lasted = elapsed();
    // Before the incidents are asked for, which takes a while: what happens meanwhile nobody looks at.
    let watched: Vec<Watched<'_>> = watched.into_iter().filter_map(WatchedLoop::end).collect();
    let end_unix_ns = unix_ns();
    bar.finish_and_clear();
    let (incidents, asked_in_vain) = incidents(process, begin_unix_ns);
    notes.extend(asked_in_vain);
    let (within, earlier): (Vec<Incident>, Vec<Incident>) =
        incidents.into_iter().partition(|incident| over_unix_ns(incident) >= begin_unix_ns);
    let within: Vec<Incident> =
        within.into_iter().filter(|incident| incident.begin_unix_ns <= end_unix_ns).collect();
    let evidence: Vec<LoopEvidence> = watched.into_iter().map(|own| own.evidence(&within)).collect();
    if evidence.is_empty() {
        let message = format!("no page of {} could be read completely; try again", process.label());
        return Err(Failure::NothingCaptured(message));
    }
    Ok(Seen { evidence, earlier, lasted, was_interrupted, has_ended, notes })
}

impl<'a> WatchedLoop<'a> {
    fn admit(page: &'a LoopPage, pid: u32) -> Option<WatchedLoop<'a>> {
        let at = page.clock().now();
        let copy = page.read().ok()?;
        let collector = EvidenceCollector::begin(&copy, page.clock(), at);
        let before = Sched::of_thread(pid, page.facts.tid);
        Some(WatchedLoop { page, collector, before, quota: CpuQuota::of_process(pid), pid })
    }

    fn step(&self) -> Duration {
        let warning = Duration::from_nanos(self.collector.warning_ns() / 4);
        warning.clamp(LOOK_SHORTEST, LOOK_LONGEST)
    }

    fn look(&mut self, are_gauges_due: bool) {
        let Some((copy, at)) = self.examine() else { return };
        if are_gauges_due {
            self.collector.read_gauges(&copy.snapshot_at(self.page.clock(), at));
        }
    }

    /// Examines a copy of the page, and returns it with the moment of it.
    fn examine(&mut self) -> Option<(Box<Page>, Ticks)> {
        let clock = self.page.clock();
        // Asked before the copy: the loop may have gone to its poll meanwhile, where it sleeps without guilt.
        let (pid, tid) = (self.pid, self.page.facts.tid);
        let times_ns = Sched::of_thread(pid, tid).map(|sched| (sched.run_ns, sched.runqueue_ns));
        let mut thread = thread::look(pid, tid, times_ns);
        let at = clock.now();
        let copy = self.page.read().ok()?;
        let tick_unix_ns = copy.control().tick_unix_ns();
        let agent_age_ns = (tick_unix_ns > 0).then(|| unix_ns().saturating_sub(tick_unix_ns));
        let is_old = |job: &JobNow| clock.duration_ns(job.since, at) >= OLD_JOB_NS;
        let tids = copy.jobs_now().into_iter().filter(is_old).filter_map(|job| job.tid);
        thread.pool_asleep_in = tids.filter_map(|tid| Some((tid, thread::asleep_in(pid, tid)?))).collect();
        self.collector.look(&PageSample { page: &copy, clock, at, thread, agent_age_ns });
        Some((copy, at))
    }

    /// Ends the watch with the copy that is examined last: what is counted and what was seen end at the same moment.
    fn end(mut self) -> Option<Watched<'a>> {
        let (copy, at) = self.examine()?;
        let last = copy.snapshot_at(self.page.clock(), at);
        let after = Sched::of_thread(self.pid, self.page.facts.tid);
        let thread_ns = self.before.zip(after).map(|(before, after)| {
            let ran_ns = after.run_ns.saturating_sub(before.run_ns);
            (ran_ns, after.runqueue_ns.saturating_sub(before.runqueue_ns))
        });
        let surroundings = Surroundings {
            label: Some(self.page.called.words(self.page.facts.worker)),
            thread_ns,
            quota: self.quota.zip(CpuQuota::of_process(self.pid)).map(|(before, after)| {
                let CpuQuota { periods, throttled_periods, throttled_ns } = after.since(before);
                Quota { periods, throttled_periods, throttled_ns }
            }),
            processors: Status::of_process(self.pid).map_or(0, |status| status.processors()),
            incidents: Vec::new(),
        };
        Some(Watched { page: self.page, collector: self.collector, last, surroundings })
    }
}

impl Watched<'_> {
    /// Returns what was seen of the loop, with those of the incidents that are its own.
    fn evidence(self, incidents: &[Incident]) -> LoopEvidence {
        // An older agent tells of labels only.
        let is_own = |incident: &&Incident| match incident.loop_id == LoopId::default() {
            true => incident.r#loop == self.page.called.label,
            false => incident.loop_id.agrees_with(self.page.id()),
        };
        let incidents = incidents.iter().filter(is_own).cloned().collect();
        let surroundings = Surroundings { incidents, ..self.surroundings };
        self.collector.end(&self.last, self.page.clock(), surroundings)
    }
}

/// Asks the process's agents for their incidents, newest first; those of the watch in full. Returns also what to say where it has
/// none, or one does not answer.
fn incidents(process: &Process, begin_unix_ns: u64) -> (Vec<Incident>, Vec<String>) {
    let agents = process.agents();
    if agents.is_empty() {
        let note = "the process has no agent that listens: without stacks, sites are named but not functions";
        return (Vec::new(), vec![note.to_owned()]);
    }
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for endpoint in &agents {
        match agent::incidents(endpoint) {
            Ok(brief) => all.extend(in_full(endpoint, brief, begin_unix_ns)),
            Err(failure) => notes.push(format!("incidents could not be read: {failure}")),
        }
    }
    all.sort_by_key(|incident| Reverse(incident.begin_unix_ns));
    // Two agents count alike.
    Incident::name_all(&mut all.iter_mut().collect::<Vec<_>>());
    (all, notes)
}

/// Asks an agent for those of its incidents that are of the watch.
fn in_full(endpoint: &Endpoint, brief: Vec<Incident>, begin_unix_ns: u64) -> impl Iterator<Item = Incident> {
    let is_recent = move |incident: &Incident| over_unix_ns(incident) >= begin_unix_ns;
    let full =
        move |(number, incident): (usize, Incident)| match number < INCIDENTS_FULL && is_recent(&incident) {
            true => agent::incident(endpoint, incident.id).unwrap_or(incident),
            false => incident,
        };
    brief.into_iter().enumerate().map(full)
}

fn over_unix_ns(incident: &Incident) -> u64 {
    incident.begin_unix_ns.saturating_add(incident.duration_ns)
}

/// Returns the wall-clock time in nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn bar(length: Duration, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(length.as_millis() as u64);
    if bar.is_hidden() {
        tell(&format!("loopscope: {message} for {}\n", duration::show(length)));
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%  Ctrl-C stops early");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message.to_owned());
    bar
}
