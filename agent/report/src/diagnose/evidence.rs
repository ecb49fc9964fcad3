//! What was seen of one loop while it was examined: plain values, which the rules are functions of.

use crate::compute::classify::Used;
use crate::compute::sites::SiteTotal;
use crate::compute::verdict::{Cause, VerdictSample};
use crate::duration::show_ns;
use crate::incident::Incident;
use crate::model::waits::Waits;
use crate::words;
use loopscope_probe::description::{Description, Fact, Term};
use loopscope_probe::raw::count_histogram::CountValues;
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::{HandleType, Kind, Ticks, WorkKind};
use std::sync::Arc;

/// What was seen of one loop.
#[derive(Clone, Debug, Default)]
pub struct LoopEvidence {
    /// Name of the loop.
    pub name: String,
    /// The runtime that it is a worker of, by name; empty where it stands for itself.
    pub(crate) group: String,
    /// It is a worker, and not what tells of its runtime as a whole.
    pub(crate) is_worker: bool,
    /// The process: runtimes of several may have one name.
    pub(crate) pid: u32,
    /// What its runtime says of itself.
    pub runtime: Arc<Description>,
    /// How long it was watched, in nanoseconds.
    pub watched_ns: u64,
    /// Time outside the poll while it was watched, in nanoseconds.
    pub active_ns: u64,
    /// Callbacks and drained jobs that ended while it was watched.
    pub callbacks: u64,
    /// Lag while it was watched.
    pub lag: Waits,
    /// Stall thresholds, in nanoseconds.
    pub warning_ns: u64,
    /// See `warning_ns`.
    pub critical_ns: u64,
    /// Numbers of the runtime: what collecting garbage took.
    pub(crate) collections: Vec<Collections>,
    /// Hooks that its runtime calls for each asynchronous operation; 0 where nobody knows.
    pub(crate) hooks: u64,
    pub(crate) iterations: u64,
    /// Stalls that the page counted, by severity.
    pub(crate) blocked: [u64; 2],
    /// Time in the stalls that ended, as the page counted it.
    pub(crate) blocked_ns: u64,
    /// Stalls that were seen one by one, oldest first.
    pub(crate) stalls: Vec<SeenStall>,
    /// Time by callback site, heaviest first.
    pub(crate) sites: Vec<SiteTotal>,
    pub(crate) timer_lateness: HistogramValues,
    /// What ran while timers were due, the longest in sum first.
    pub(crate) delayers: Vec<Delayer>,
    pub(crate) poll_events: CountValues,
    pub(crate) accepted: u64,
    /// Callbacks that panicked, by kind.
    pub(crate) errors: Vec<(Kind, u64)>,
    pub(crate) pool: Option<PoolEvidence>,
    pub(crate) handles: Vec<(HandleType, Trend)>,
    pub(crate) timers: Trend,
    pub(crate) sites_overflow: u64,
    /// Scopes of `expect_block` that were seen open, and for how long at most.
    pub(crate) expected: Vec<(String, u64)>,
    /// The loop thread's time, where the kernel tells it.
    pub(crate) cpu: Option<CpuTime>,
    /// What the CPU quota of its process's cgroup did meanwhile; `None` where there is none, or the kernel does not tell.
    pub(crate) quota: Option<Quota>,
    /// Processors that the process may use; 0 where not known.
    pub(crate) processors: u64,
    /// For how long, at most, the agent did not look although the loop was busy; `None` where there is no agent.
    pub(crate) agent_late_ns: Option<u64>,
    /// For how long at least its thread had been stopped at the end, in nanoseconds; `None` where it was not.
    pub(crate) stopped_ns: Option<u64>,
    /// The loop's incidents that overlap the time it was watched, newest first.
    pub(crate) incidents: Vec<Incident>,
}

/// One stall, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenStall {
    /// Its length; where it was not over, its age when it was last seen.
    pub ns: u64,
    pub is_over: bool,
    pub cause: Cause,
    pub kind: Option<Kind>,
    /// Name and place of the site to blame; `?` where not known.
    pub label: String,
    /// Many runs share it; else one took most of it.
    pub is_flood: bool,
    /// How many runs share it; `None` where nobody knows.
    pub runs: Option<u64>,
    /// How long they took together, about, in nanoseconds.
    pub runs_ns: u64,
    /// What these two were estimated from; `None` where they were counted.
    pub sample: Option<VerdictSample>,
    /// How often it was looked at while it lasted, and how often the thread was asleep then.
    pub looks: u64,
    pub looks_asleep: u64,
    /// How often the thread was stopped then: by a signal or a debugger.
    pub looks_stopped: u64,
    /// What the thread used within it, as far as the kernel told.
    pub used: Used,
    /// What the thread was seen asleep in.
    pub asleep_in: Option<String>,
    /// The innermost span that was open, with its fields.
    pub inside: Option<String>,
}

impl SeenStall {
    /// Takes over what another judgement of the same stall says is to blame, where that knows how many runs there were.
    pub(crate) fn take_verdict_of(&mut self, other: SeenStall) {
        if other.runs.is_some_and(|runs| runs > 0) {
            let SeenStall { cause, kind, label, is_flood, runs, runs_ns, sample, .. } = other;
            (self.cause, self.kind, self.label, self.is_flood) = (cause, kind, label, is_flood);
            (self.runs, self.runs_ns, self.sample) = (runs, runs_ns, sample);
        }
    }
}

/// What ran while timers were due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delayer {
    pub label: String,
    /// How many late timers had to wait for it.
    pub timers: u64,
    /// For how long, in sum.
    pub ns: u64,
}

/// Collections of garbage of one kind while they were watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collections {
    /// What the runtime calls the kind; empty where it tells them apart by nothing.
    pub kind: String,
    pub count: u64,
    /// Time in all of them, in nanoseconds.
    pub total_ns: u64,
    /// Longest pause, about, in nanoseconds: at most a bucket above the truth.
    pub longest_ns: u64,
}

/// A pool while it was watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolEvidence {
    pub threads: Option<u64>,
    /// Time with jobs queued and no thread for them.
    pub saturated_ns: u64,
    /// State at the end.
    pub running: Option<u64>,
    pub queued: Option<u64>,
    pub oldest_wait_ns: Option<u64>,
    /// Kinds that were submitted, started or finished.
    pub kinds: Vec<PoolKind>,
    /// Jobs that ended or run still, by the place that submitted them, the heaviest first.
    pub jobs: Vec<JobSite>,
    /// Jobs that ran all the time that the loop was watched, and longer than the critical threshold: the longest first.
    pub stuck: Vec<StuckJob>,
    /// Jobs that ended and were overwritten before they were seen.
    pub jobs_unseen: u64,
}

/// A job of the pool that does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StuckJob {
    /// Where it was submitted.
    pub label: String,
    pub kind: WorkKind,
    /// For how long it has run.
    pub ns: u64,
    /// Since when, on the page's clock, and in nanoseconds since 1970.
    pub since: Ticks,
    pub since_unix_ns: u64,
    /// What its thread is asleep in; `None` where it is not, or nobody knows.
    pub asleep_in: Option<String>,
}

/// Jobs from one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobSite {
    pub label: String,
    pub kind: WorkKind,
    pub count: u64,
    /// Of `count`, those that had not ended.
    pub running: u64,
    /// Run time of all of them, of those that run still until now.
    pub run_ns: u64,
}

/// Jobs of one kind.
#[derive(Clone, Debug)]
pub(crate) struct PoolKind {
    pub kind: WorkKind,
    pub submitted: u64,
    pub failed: u64,
    pub wait: HistogramValues,
    pub run: HistogramValues,
}

/// What a CPU quota did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Periods that the quota is for.
    pub periods: u64,
    /// Those of them in which it was used up.
    pub throttled_periods: u64,
    /// Time in which the process was held back for that, in nanoseconds, in sum over the processors.
    pub throttled_ns: u64,
}

/// How a thread's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// On a processor.
    pub run_ns: u64,
    /// Ready to run, without a processor.
    pub runqueue_ns: u64,
}

/// A gauge over the time it was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trend {
    pub first: u64,
    pub last: u64,
    /// Highest of the first half of the looks, and lowest of the second.
    pub early_max: u64,
    pub late_min: u64,
}

impl Trend {
    /// Tells whether the gauge grew without coming back, by at least `least` and a tenth.
    pub(crate) fn grows(&self, least: u64) -> bool {
        let grown = self.last.saturating_sub(self.first);
        self.late_min >= self.early_max && grown >= least && grown >= self.first / 10
    }

    /// Tells of the growth: `120 -> 180, 6.0/s`.
    pub(crate) fn words(&self, over_ns: u64) -> String {
        let grown = self.last.saturating_sub(self.first);
        format!("{} -> {} in {}, {}", self.first, self.last, show_ns(over_ns), words::rate(grown, over_ns))
    }
}

impl LoopEvidence {
    /// Returns whose its pool is: the runtime's, whichever of its workers tells of it.
    pub(crate) fn pool_owner(&self) -> String {
        if self.group.is_empty() { self.named() } else { self.group.clone() }
    }

    /// Returns what it is called: `loop web`, in the words of its runtime.
    pub(crate) fn named(&self) -> String {
        format!("{} {}", self.runtime.noun(Term::Lane).one, self.name)
    }

    /// Tells whether its runtime fills these numbers.
    pub fn knows(&self, fact: Fact) -> bool {
        self.runtime.knows(fact)
    }

    /// Returns the share of the time that the loop was busy, 0 to 1.
    pub fn utilization(&self) -> f64 {
        words::share(self.active_ns, self.watched_ns)
    }

    /// Returns how many stalls there were: those that the page counted, or were seen.
    pub fn stalls(&self) -> u64 {
        self.blocked[0].max(self.stalls.len() as u64)
    }

    /// Returns how long jobs of the pool waited for a thread, at p95 of the kind that waited the longest, in
    /// nanoseconds; `None` where no job started, or nobody knows.
    pub fn pool_wait_ns_p95(&self) -> Option<u64> {
        if !self.knows(Fact::PoolWait) {
            return None;
        }
        self.pool.as_ref()?.kinds.iter().filter_map(|kind| kind.wait.quantile_ns(0.95)).max()
    }

    /// Tells whether nothing ran: there is nothing to say about the loop.
    pub fn is_idle(&self) -> bool {
        self.callbacks == 0 && self.stalls.is_empty() && self.utilization() < 0.01
    }

    /// Tells how lag was: `lag p50 1.0 ms, p99 284 ms`.
    pub(crate) fn lag_words(&self) -> Option<String> {
        if !self.knows(Fact::Lag) {
            return None;
        }
        let (p50, p99) = (self.lag.quantile_ns(0.5)?, self.lag.quantile_ns(0.99)?);
        let text = |ns| if ns < 1_000 { "0".to_owned() } else { show_ns(ns) };
        Some(format!("events waited {} (p50), {} (p99)", text(p50), text(p99)))
    }

    /// Tells where the time went: the heaviest sites, a line each.
    pub(crate) fn heaviest(&self, most: usize) -> Vec<String> {
        let part = |site: &SiteTotal| words::share(site.run_ns, self.active_ns);
        let is_told = |site: &&SiteTotal| part(site) >= 0.05 && self.knows(Fact::Callbacks);
        let told = self.sites.iter().filter(is_told).take(most);
        told.map(|site| {
            let mean = show_ns(site.run_ns / site.calls.max(1));
            let rate = words::rate(site.calls, self.watched_ns);
            format!("{} of its time: {}, {rate} of {mean} each", words::percent(part(site)), site.label)
        })
        .collect()
    }
}
