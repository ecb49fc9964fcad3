//! Rules about the thread pool: saturation, and short jobs that wait behind long ones.

use crate::diagnose::evidence::{LoopEvidence, PoolEvidence, PoolKind, StuckJob};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::incident::{Incident, IncidentKind};
use crate::words::{count, percent, pool_size, rate, share};
use loopscope_probe::description::Fact;
use loopscope_probe::raw::histogram::HistogramValues;

/// A job that waits for less than this is served well enough, in nanoseconds.
const WAIT_NS: u64 = 50_000_000;

/// A wait from which on it is felt as a stall is, in nanoseconds.
const WAIT_LONG_NS: u64 = 1_000_000_000;

/// A pool that is full for this share of the time is too small, where nobody knows how long its jobs wait.
const FULL_SHARE: f64 = 0.1;

/// More threads than these are not advised.
const THREADS_MAX: u64 = 1024;

/// At most so many places of jobs that do not end are told.
const STUCK_TOLD: usize = 4;

/// Jobs that take this many times as long as others are the ones that those wait for.
const SLOWER: u64 = 10;

impl PoolKind {
    fn wait_p95_ns(&self) -> u64 {
        self.wait.quantile_ns(0.95).unwrap_or(0)
    }

    fn run_p95_ns(&self) -> u64 {
        self.run.quantile_ns(0.95).unwrap_or(0)
    }

    /// Says what is known of it: `fs: 90/s, wait p95 1.0 ms, run p95 2.0 ms`.
    fn words(&self, evidence: &LoopEvidence) -> Option<String> {
        let known = |fact, text: Option<String>| text.filter(|_| evidence.knows(fact));
        let p95 = |name, values: &HistogramValues, none: &str| match values.quantile_ns(0.95) {
            Some(..1_000) => format!("{name} p95 0"),
            Some(ns) => format!("{name} p95 {}", show_ns(ns)),
            None => none.to_owned(),
        };
        let parts = [
            known(Fact::PoolJobs, Some(rate(self.submitted, evidence.watched_ns))),
            known(Fact::PoolWait, Some(p95("wait", &self.wait, "none began"))),
            known(Fact::PoolRun, Some(p95("run", &self.run, "none ended"))),
        ];
        let told: Vec<String> = parts.into_iter().flatten().collect();
        (!told.is_empty()).then(|| format!("{}: {}", self.kind.name(), told.join(", ")))
    }
}

/// How long jobs wait, and of which jobs that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Of those that began, at p95 of the kind that waited the longest.
    P95(u64),
    /// Of the one at the head of the queue, which waits still.
    Oldest(u64),
}

impl Wait {
    fn ns(self) -> u64 {
        match self {
            Wait::P95(ns) | Wait::Oldest(ns) => ns,
        }
    }
}

impl PoolEvidence {
    /// Returns the worst wait; `None` where nobody knows any.
    fn worst_wait(&self, evidence: &LoopEvidence) -> Option<Wait> {
        let waits = || self.kinds.iter().map(PoolKind::wait_p95_ns).max().unwrap_or(0);
        let p95 = evidence.knows(Fact::PoolWait).then(|| Wait::P95(waits()));
        let oldest = self.oldest_wait_ns.map(Wait::Oldest);
        // Of equals the one that is of all jobs.
        oldest.into_iter().chain(p95).max_by_key(|wait| wait.ns())
    }

    /// Finds a kind that waits although its jobs are short, and a kind of long jobs that it waits for.
    fn behind(&self) -> Option<(&PoolKind, &PoolKind)> {
        let slow = self.kinds.iter().max_by_key(|kind| kind.run_p95_ns())?;
        let waits = |kind: &&PoolKind| {
            kind.wait_p95_ns() >= WAIT_NS && kind.run_p95_ns().saturating_mul(SLOWER) <= slow.run_p95_ns()
        };
        let victim = self.kinds.iter().filter(waits).max_by_key(|kind| kind.wait_p95_ns())?;
        Some((victim, slow))
    }

    /// Returns how many threads the jobs that came in would have kept busy, more than there are: arrivals times mean
    /// run time. `None` where too little is known for a number.
    fn threads_wanted(&self, evidence: &LoopEvidence) -> Option<u64> {
        let threads = self.threads?;
        if !evidence.knows(Fact::PoolJobs) || !evidence.knows(Fact::PoolRun) {
            return Some(threads.saturating_mul(2).min(THREADS_MAX));
        }
        let over_ns = evidence.watched_ns;
        let offered_ns: u128 = self
            .kinds
            .iter()
            .map(|kind| {
                // Jobs that run still have taken as long at least.
                let running = || self.jobs.iter().filter(|job| job.kind == kind.kind && job.running > 0);
                let (number, ns) = running()
                    .fold((0, 0u64), |(number, ns), job| (number + job.count, ns.saturating_add(job.run_ns)));
                let (ended, ended_ns) = (kind.run.count(), kind.run.sum_ns);
                let mean_ns = ended_ns.checked_div(ended).unwrap_or(0).max(ns / number.max(1));
                u128::from(kind.submitted) * u128::from(mean_ns)
            })
            .sum();
        let wanted = u64::try_from(offered_ns.div_ceil(u128::from(over_ns.max(1)))).unwrap_or(u64::MAX);
        Some(wanted.max(threads.saturating_add(1)).min(THREADS_MAX))
    }

    /// `no thread for queued jobs for 62 % of the time; 16 jobs wait now, 2 of 4 threads are busy`.
    fn saturation(&self, evidence: &LoopEvidence) -> String {
        let part = percent(share(self.saturated_ns, evidence.watched_ns));
        let waiting = match self.queued {
            None | Some(0) => String::new(),
            Some(queued) => {
                let wait = if queued == 1 { "waits" } else { "wait" };
                let oldest = self.oldest_wait_ns.map(|ns| format!(", the oldest for {}", show_ns(ns)));
                format!("; {} {wait} now{}", count(queued, "job"), oldest.unwrap_or_default())
            }
        };
        let busy = self.running.zip(self.threads).filter(|_| self.queued.is_some_and(|queued| queued > 0));
        let busy = busy.map_or(String::new(), |(running, threads)| {
            format!(", {running} of {} busy", count(threads, "thread"))
        });
        format!("no thread for queued jobs for {part} of the time{waiting}{busy}")
    }

    /// Whether all threads are in jobs that do not end.
    fn is_stuck(&self) -> bool {
        self.threads.is_some_and(|threads| self.stuck.len() as u64 >= threads)
    }

    fn heaviest_job(&self) -> Option<String> {
        let job = self.jobs.first()?;
        let mean = show_ns(job.run_ns / job.count.max(1));
        let running = match job.running {
            0 => String::new(),
            running if running == job.count => ", still running".to_owned(),
            running => format!(", {running} of them still running"),
        };
        let seen = match self.jobs_unseen {
            0 => String::new(),
            unseen => format!("; {} not observed", count(unseen, "more job")),
        };
        let (jobs, kind) = (count(job.count, "job"), job.kind.name());
        let what =
            if job.label == "?" { format!("of kind {kind}") } else { format!("from {kind} {}", job.label) };
        Some(format!("most of its time: {jobs} {what} ({mean} each{running}{seen})"))
    }
}

fn urgency(wait_ns: u64) -> Urgency {
    if wait_ns >= WAIT_LONG_NS { Urgency::Critical } else { Urgency::Warning }
}

/// Jobs do not end: their threads are lost to the pool.
pub(crate) fn stuck(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(pool) = &evidence.pool else { return Vec::new() };
    let Some(longest) = pool.stuck.first() else { return Vec::new() };
    // A pool may have a thread that is meant to wait for ever, as long as others have room.
    let has_waiting = pool.queued.is_some_and(|queued| queued > 0) || pool.saturated_ns >= WAIT_NS;
    let urgency = match (pool.is_stuck(), has_waiting) {
        (true, true) => Urgency::Critical,
        (false, false) => Urgency::Notice,
        _ => Urgency::Warning,
    };
    // One that computes may still come to its end.
    let is_asleep = pool.stuck.iter().all(|job| job.asleep_in.is_some());
    let certainty = if is_asleep { Certainty::Certain } else { Certainty::Likely };
    let number = pool.stuck.len() as u64;
    let of = pool.threads.map_or(String::new(), |threads| format!(" of {threads}"));
    let threads = if number == 1 { "thread is" } else { "threads are" };
    let headline = format!(
        "{number}{of} pool {threads} stuck in a job of {}, for {} so far",
        evidence.named(),
        show_ns(longest.ns)
    );
    let is_of_pool = |incident: &&Incident| incident.kind == IncidentKind::Pool;
    let incidents = || evidence.incidents.iter().filter(is_of_pool);
    let call = incidents().find_map(|incident| incident.waiting_in.as_ref());
    let mut finding = Finding::new(&evidence.name, urgency, certainty, headline)
        .because_of(stuck_words(&pool.stuck))
        .because_of(call.map(|call| format!("the agent found the longest one asleep in {call}")))
        .because(pool.saturation(evidence))
        .remedy(
            "add a timeout to the call, or make it cancellable; more threads would get stuck the same way",
        );
    finding.incidents = incidents().map(|incident| incident.id.to_string()).collect();
    vec![finding]
}

/// Tells jobs of one place and call in a line each, the longest: `4 fs jobs from read (src/x.rs:7) for 92 s, since 14:03:10
/// UTC, asleep in pipe_read`.
fn stuck_words(jobs: &[StuckJob]) -> Vec<String> {
    let what = |job: &StuckJob| (job.kind, job.label.clone(), job.asleep_in.clone());
    let mut groups: Vec<(&StuckJob, u64)> = Vec::new();
    for job in jobs {
        match groups.iter_mut().find(|(first, _)| what(first) == what(job)) {
            Some((_, number)) => *number += 1,
            None => groups.push((job, 1)),
        }
    }
    let words = |(job, number): &(&StuckJob, u64)| {
        let call = job
            .asleep_in
            .as_ref()
            .map_or(", not seen asleep".to_owned(), |call| format!(", asleep in {call}"));
        let seconds = job.since_unix_ns / 1_000_000_000 % 86_400;
        let clock = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let jobs = count(*number, &format!("{} job", job.kind.name()));
        format!("{jobs} from {} for {}, since {clock} UTC{call}", job.label, show_ns(job.ns))
    };
    groups.iter().take(STUCK_TOLD).map(words).collect()
}

/// More jobs come than the threads can take.
pub(crate) fn saturated(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(pool) = &evidence.pool else { return Vec::new() };
    let wait = pool.worst_wait(evidence);
    let is_full = match wait {
        Some(wait) => wait.ns() >= WAIT_NS && pool.saturated_ns >= WAIT_NS,
        // Of jobs that wait for a moment only, nobody would know.
        None => share(pool.saturated_ns, evidence.watched_ns) >= FULL_SHARE,
    };
    let knows_jobs = evidence.knows(Fact::PoolWait) && evidence.knows(Fact::PoolRun);
    if !is_full || pool.is_stuck() || (knows_jobs && pool.behind().is_some()) {
        return Vec::new();
    }
    let threads = pool.threads.map_or("its threads".to_owned(), |threads| count(threads, "thread"));
    let how = match wait {
        Some(Wait::P95(ns)) => format!(": jobs wait {} (p95) for one of {threads}", show_ns(ns)),
        Some(Wait::Oldest(ns)) => {
            format!(": the oldest job in its queue has waited {} for one of {threads}", show_ns(ns))
        }
        None => String::new(),
    };
    let headline = format!("the pool of {} is saturated{how}", evidence.pool_owner());
    let more = pool_size(&evidence.runtime, pool.threads_wanted(evidence));
    let processors = match evidence.processors {
        0 => String::new(),
        processors => format!(" (there are {processors})"),
    };
    let urgency = urgency(wait.map_or(0, Wait::ns));
    let finding = Finding::new(&evidence.name, urgency, Certainty::Certain, headline)
        .because(pool.saturation(evidence))
        .because_of(pool.kinds.iter().filter_map(|kind| kind.words(evidence)))
        .because_of(pool.heaviest_job())
        .remedy(format!(
            "if the jobs wait for I/O (disk, network): {more}; if they compute, more threads than CPUs{processors} \
             do not help: submit fewer or smaller jobs"
        ));
    vec![finding]
}

/// Short jobs wait for long ones.
pub(crate) fn behind_slow_jobs(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(pool) = &evidence.pool else { return Vec::new() };
    let Some((victim, slow)) = pool.behind().filter(|_| !pool.is_stuck()) else { return Vec::new() };
    let wait_ns = victim.wait_p95_ns();
    let headline = format!(
        "{} jobs of {} wait {} (p95) behind slow {} jobs",
        victim.kind.name(),
        evidence.pool_owner(),
        show_ns(wait_ns),
        slow.kind.name()
    );
    let finding = Finding::new(&evidence.name, urgency(wait_ns), Certainty::Likely, headline)
        .because_of(victim.words(evidence))
        .because_of(slow.words(evidence))
        .because(pool.saturation(evidence))
        .because_of(pool.heaviest_job())
        .remedy(format!(
            "run the {} jobs on threads of their own, or limit them to fewer than the pool has threads{}",
            slow.kind.name(),
            pool.threads.map(|threads| format!(" ({threads})")).unwrap_or_default()
        ));
    vec![finding]
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{EvidenceCollector, Finding, PageSample, Surroundings, ThreadSample, diagnose};
    use loopscope_probe::{Clock, Kind, PoolWriter, SiteId, VirtualClock, WorkKind, Writer};
    use std::panic::Location;

    const MS: u64 = 1_000_000;

    /// What is found of five seconds in which two threads run what `fill` gives them.
    fn found(fill: impl FnOnce(&mut PoolWriter, SiteId)) -> Vec<Finding> {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let upload = writer.named_site(Location::caller(), Kind::Job, "upload");
        let (mut pool, clock) = (writer.take_pool().unwrap(), writer.clock().clone());
        pool.threads(2);
        let mut collector = EvidenceCollector::begin(writer.page(), &clock, clock.now());
        fill(&mut pool, upload);
        time.advance_ns(5_000 * MS);
        let (page, at) = (writer.page(), clock.now());
        collector.look(&PageSample {
            page,
            clock: &clock,
            at,
            thread: ThreadSample::default(),
            agent_age_ns: None,
        });
        diagnose(&[collector.end(&page.snapshot_at(&clock, at), &clock, Surroundings::default())])
    }

    #[test]
    fn jobs_that_never_end_are_named_and_the_age_of_the_oldest_is_no_quantile() {
        let stuck = |pool: &mut PoolWriter, upload| {
            let now = pool.clock().now();
            for worker in 0..2 {
                pool.submitted(WorkKind::User, now);
                pool.started(WorkKind::User, now, None);
                pool.runs(worker, WorkKind::User, upload, now);
            }
            pool.submitted(WorkKind::Fs, now);
        };
        let [finding] = &found(stuck)[..] else { panic!("one finding") };
        assert_eq!(
            finding.headline,
            "the pool of loop web is saturated: the oldest job in its queue has waited 5.0 s for one of 2 threads"
        );
        let text = finding.evidence.join("\n");
        assert!(text.contains("most of its time: 2 jobs from user upload ("), "{text}");
        assert!(text.contains("(5.0 s each, still running)"), "{text}");
        assert!(!text.contains("p95 0 ns") && !finding.headline.contains("p95"), "{text}");
    }
}
