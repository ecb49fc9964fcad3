//! Rules about the thread pool: saturation, and short jobs that wait behind long ones.

use crate::diagnose::evidence::{LoopEvidence, PoolEvidence, PoolKind};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::words::{count, percent, pool_size, rate, share};

/// A job that waits for less than this is served well enough, in nanoseconds.
const WAIT_NS: u64 = 50_000_000;

/// A wait from which on it is felt as a stall is, in nanoseconds.
const WAIT_LONG_NS: u64 = 1_000_000_000;

/// Jobs that take this many times as long as others are the ones that those wait for.
const SLOWER: u64 = 10;

impl PoolKind {
    fn wait_p95_ns(&self) -> u64 {
        self.wait.quantile_ns(0.95).unwrap_or(0)
    }

    fn run_p95_ns(&self) -> u64 {
        self.run.quantile_ns(0.95).unwrap_or(0)
    }

    fn words(&self, over_ns: u64) -> String {
        format!(
            "{}: {}, wait p95 {}, run p95 {}",
            self.kind.name(),
            rate(self.submitted, over_ns),
            show_ns(self.wait_p95_ns()),
            show_ns(self.run_p95_ns())
        )
    }
}

impl PoolEvidence {
    /// Returns the worst wait: at p95 of a kind, or of the job at the head of the queue.
    fn worst_wait_ns(&self) -> u64 {
        self.kinds.iter().map(PoolKind::wait_p95_ns).max().unwrap_or(0).max(self.oldest_wait_ns.unwrap_or(0))
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

    /// Returns how many threads the jobs that came in would have kept busy: arrivals times mean run time.
    fn threads_wanted(&self, over_ns: u64) -> u64 {
        let offered_ns: u128 = self
            .kinds
            .iter()
            .map(|kind| {
                let mean_ns = kind.run.sum_ns.checked_div(kind.run.count()).unwrap_or(0);
                u128::from(kind.submitted) * u128::from(mean_ns)
            })
            .sum();
        u64::try_from(offered_ns.div_ceil(u128::from(over_ns.max(1)))).unwrap_or(u64::MAX)
    }

    /// `all 4 threads were busy with jobs waiting for 62 % of the time; 16 jobs wait now`.
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
        let threads = self.threads.map_or("its threads".to_owned(), |threads| count(threads, "thread"));
        format!("all of {threads} busy with jobs waiting for {part} of the time{waiting}")
    }

    fn heaviest_job(&self) -> Option<String> {
        let job = self.jobs.first()?;
        let mean = show_ns(job.run_ns / job.count.max(1));
        Some(format!("most of its time: {} from {} ({mean} each)", count(job.count, "job"), job.label))
    }
}

fn urgency(wait_ns: u64) -> Urgency {
    if wait_ns >= WAIT_LONG_NS { Urgency::Critical } else { Urgency::Warning }
}

/// More jobs come than the threads can take.
pub(crate) fn saturated(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(pool) = &evidence.pool else { return Vec::new() };
    let wait_ns = pool.worst_wait_ns();
    if wait_ns < WAIT_NS || pool.saturated_ns < WAIT_NS || pool.behind().is_some() {
        return Vec::new();
    }
    let threads = pool.threads.map_or("its threads".to_owned(), |threads| count(threads, "thread"));
    let headline = format!(
        "the pool of loop {} is saturated: jobs wait {} (p95) for one of {threads}",
        evidence.name,
        show_ns(wait_ns)
    );
    let wanted = pool.threads_wanted(evidence.watched_ns).max(pool.threads.unwrap_or(0) + 1);
    let more = pool_size(&evidence.runtime, wanted.min(1024));
    let processors = match evidence.processors {
        0 => String::new(),
        processors => format!(" (there are {processors})"),
    };
    let finding = Finding::new(&evidence.name, urgency(wait_ns), Certainty::Certain, headline)
        .because(pool.saturation(evidence))
        .because_of(pool.kinds.iter().map(|kind| kind.words(evidence.watched_ns)))
        .because_of(pool.heaviest_job())
        .remedy(format!(
            "if the jobs wait (disk, network): {more}; if they compute, more threads than processors{processors} do \
             not help: submit fewer or smaller jobs"
        ));
    vec![finding]
}

/// Short jobs wait for long ones.
pub(crate) fn behind_slow_jobs(evidence: &LoopEvidence) -> Vec<Finding> {
    let Some(pool) = &evidence.pool else { return Vec::new() };
    let Some((victim, slow)) = pool.behind() else { return Vec::new() };
    let wait_ns = victim.wait_p95_ns();
    let headline = format!(
        "{} jobs of loop {} wait {} (p95) behind slow {} jobs",
        victim.kind.name(),
        evidence.name,
        show_ns(wait_ns),
        slow.kind.name()
    );
    let finding = Finding::new(&evidence.name, urgency(wait_ns), Certainty::Likely, headline)
        .because(victim.words(evidence.watched_ns))
        .because(slow.words(evidence.watched_ns))
        .because(pool.saturation(evidence))
        .because_of(pool.heaviest_job())
        .remedy(format!(
            "give the {} jobs threads of their own, or keep fewer of them in the pool than it has threads{}",
            slow.kind.name(),
            pool.threads.map(|threads| format!(" ({threads})")).unwrap_or_default()
        ));
    vec![finding]
}
