//! A runtime of several workers as one: what they did in one interval, added up.

use crate::live::lag::lag_view;
use crate::live::past::{LoopViewParts, heaviest};
use crate::live::view::{
    DrainView, JobView, LagView, LoopView, NumberView, PhaseView, PoolView, SiteView, StallView, StateKind,
    StateView,
};
use crate::model::waits::Waits;
use loopscope_probe::raw::histogram::HistogramValues;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// What is remembered of a runtime from one observation to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct RuntimePast {
    /// The stalls of each worker that was ever there, by the id of its loop: as it was last seen.
    seen: HashMap<String, SeenStalls>,
    /// Those of workers that have been gone for long.
    left: StallView,
}

/// The stalls of one worker.
#[derive(Clone, Debug)]
struct SeenStalls {
    stalls: StallView,
    /// Observations since it was seen.
    missed: u32,
}

/// After so many observations without it, a worker has left: a page that is only hard to read once is there again before.
const GONE_AFTER: u32 = 100;

/// The workers of one runtime, seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    /// Of the runtime.
    pub id: String,
    pub name: String,
    pub given_name: String,
    pub turns: Vec<LoopViewParts>,
}

impl RuntimePast {
    /// Returns the view of a runtime that has at least one worker.
    pub(super) fn turn(&mut self, workers: Workers) -> LoopView {
        let Workers { id, name, given_name, mut turns } = workers;
        turns.sort_by_key(|turn| turn.view.worker);
        let sums = WorkerShares::of(&turns);
        let (phases, drains) = (sums.phases(), sums.drains());
        let (sites, sites_left_out) = heaviest(sums.sites());
        let (lag, pool) = (sums.lag(), sums.pool());
        let utilization_ratio = sums.share(|view| view.utilization_ratio);
        let (numbers, pool_jobs) = (sums.numbers(), sums.pool_jobs());
        let iterations_per_second = known_sum(turns.iter().map(|turn| turn.view.iterations_per_second));
        let callbacks_per_second = known_sum(turns.iter().map(|turn| turn.view.callbacks_per_second));
        let views: Vec<LoopView> = turns.into_iter().map(LoopViewParts::into_view).collect();
        let stalls = self.stalls(&views);
        let worst = views.iter().min_by_key(|view| Reverse(badness(&view.state)));
        let first = views.first();
        let text = |of: fn(&LoopView) -> &String| first.map(of).cloned().unwrap_or_default();
        LoopView {
            id,
            name,
            given_name,
            worker: worst.and_then(|view| view.worker),
            state: worst.map(|view| view.state.clone()).unwrap_or_default(),
            runtime: text(|view| &view.runtime),
            backend: text(|view| &view.backend),
            thread: String::new(),
            tid: 0,
            created_unix_ns: views.iter().map(|view| view.created_unix_ns).min().unwrap_or(0),
            interval_ns: views.iter().map(|view| view.interval_ns).max().unwrap_or(0),
            words: first.map(|view| view.words.clone()).unwrap_or_default(),
            phase_names: first.map(|view| view.phase_names.clone()).unwrap_or_default(),
            lag,
            utilization_ratio,
            iterations_per_second,
            callbacks_per_second,
            phases,
            sites,
            sites_left_out,
            drains,
            pool,
            pool_jobs,
            numbers,
            stalls,
            workers: views,
        }
    }

    /// Adds up the stalls, those of workers that have left, too: a runtime's count does not fall.
    fn stalls(&mut self, views: &[LoopView]) -> StallView {
        for seen in self.seen.values_mut() {
            seen.missed += 1;
        }
        for view in views {
            let stalls = view.stalls.clone();
            self.seen.insert(view.id.clone(), SeenStalls { stalls, missed: 0 });
        }
        let left = &mut self.left;
        self.seen.retain(|_, seen| {
            let has_left = seen.missed > GONE_AFTER;
            if has_left {
                add_stalls(left, &seen.stalls);
            }
            !has_left
        });
        let mut sum = self.left.clone();
        let missed = self.seen.values().filter(|seen| seen.missed > 0);
        missed.for_each(|seen| add_stalls(&mut sum, &seen.stalls));
        sum.warning_count_new = 0;
        views.iter().for_each(|view| add_stalls(&mut sum, &view.stalls));
        let least = |of: fn(&StallView) -> u64| views.iter().map(|view| of(&view.stalls)).min().unwrap_or(0);
        StallView {
            warning_ns: least(|stalls| stalls.warning_ns),
            critical_ns: least(|stalls| stalls.critical_ns),
            ..sum
        }
    }
}

fn add_stalls(sum: &mut StallView, more: &StallView) {
    let add = |into: &mut u64, from: u64| *into = into.saturating_add(from);
    add(&mut sum.warning_count, more.warning_count);
    add(&mut sum.critical_count, more.critical_count);
    add(&mut sum.warning_count_new, more.warning_count_new);
    add(&mut sum.blocked_ns, more.blocked_ns);
    for (cause, count) in &more.causes {
        add(sum.causes.entry(cause).or_default(), *count);
    }
}

/// How bad a state is, the worse the larger.
fn badness(state: &StateView) -> (u8, u64) {
    let rank = match state.kind {
        StateKind::Stalled if state.is_critical => 6,
        StateKind::Stalled => 5,
        StateKind::Stopped => 4,
        StateKind::ExpectedBlock => 3,
        StateKind::Running => 2,
        StateKind::Idle => 1,
        StateKind::Ended => 0,
    };
    (rank, state.busy_ns)
}

/// The turns of one runtime, for adding up.
struct WorkerShares<'a> {
    turns: &'a [LoopViewParts],
    /// The intervals of all of them, in nanoseconds.
    all_ns: f64,
}

impl<'a> WorkerShares<'a> {
    fn of(turns: &'a [LoopViewParts]) -> WorkerShares<'a> {
        WorkerShares { turns, all_ns: turns.iter().map(|turn| turn.view.interval_ns as f64).sum() }
    }

    /// Returns the part that something is of the time of all workers, where it is that part of each one's; `None` where it is
    /// not known of any.
    fn share(&self, of: impl Fn(&LoopView) -> Option<f64>) -> Option<f64> {
        known_sum(self.turns.iter().map(|turn| Some(of(&turn.view)? * self.weight(turn))))
    }

    fn weight(&self, turn: &LoopViewParts) -> f64 {
        if self.all_ns > 0.0 { turn.view.interval_ns as f64 / self.all_ns } else { 0.0 }
    }

    fn lag(&self) -> Option<LagView> {
        let told = || self.turns.iter().filter(|turn| turn.view.lag.is_some());
        told().next()?;
        let mut sum = Waits::default();
        told().for_each(|turn| sum.merge(&turn.lag));
        Some(lag_view(&sum))
    }

    /// Adds up the numbers of one name and kind.
    fn numbers(&self) -> Vec<NumberView> {
        let mut sums: Vec<NumberView> = Vec::new();
        for number in self.turns.iter().flat_map(|turn| &turn.view.numbers) {
            let is_same = |sum: &&mut NumberView| sum.name == number.name && sum.kind == number.kind;
            match sums.iter_mut().find(is_same) {
                None => sums.push(number.clone()),
                Some(sum) => {
                    sum.value += number.value;
                    sum.p99_ns = sum.p99_ns.max(number.p99_ns);
                }
            }
        }
        sums
    }

    /// Returns the jobs that run in the workers' pools, the oldest first.
    fn pool_jobs(&self) -> Vec<JobView> {
        let mut jobs: Vec<JobView> =
            self.turns.iter().flat_map(|turn| turn.view.pool_jobs.iter().cloned()).collect();
        jobs.sort_by_key(|job| Reverse(job.running_ns));
        jobs
    }

    fn phases(&self) -> Vec<PhaseView> {
        let mut sums: Vec<PhaseView> = Vec::new();
        for turn in self.turns {
            for phase in &turn.view.phases {
                let at = sums.iter().position(|sum| sum.phase == phase.phase).unwrap_or_else(|| {
                    sums.push(PhaseView { phase: phase.phase.clone(), ..PhaseView::default() });
                    sums.len() - 1
                });
                sums[at].share_ratio += phase.share_ratio * self.weight(turn);
                sums[at].callbacks_per_second =
                    known_sum([sums[at].callbacks_per_second, phase.callbacks_per_second].into_iter());
            }
        }
        sums
    }

    fn sites(&self) -> Vec<SiteView> {
        let mut sums: BTreeMap<(&str, &str), SiteView> = BTreeMap::new();
        for turn in self.turns {
            for site in &turn.sites {
                let sum = sums.entry((&site.label, &site.kind)).or_insert_with(|| SiteView {
                    label: site.label.clone(),
                    kind: site.kind.clone(),
                    ..SiteView::default()
                });
                sum.share_ratio += site.share_ratio * self.weight(turn);
                sum.calls_per_second += site.calls_per_second;
                sum.longest_ns = sum.longest_ns.max(site.longest_ns);
                sum.is_running |= site.is_running;
            }
        }
        sums.into_values().collect()
    }

    fn drains(&self) -> Vec<DrainView> {
        let mut sums: Vec<DrainView> = Vec::new();
        for drain in self.turns.iter().flat_map(|turn| &turn.view.drains) {
            match sums.iter_mut().find(|sum| sum.queue == drain.queue) {
                None => sums.push(drain.clone()),
                Some(sum) => {
                    sum.drains_per_second =
                        known_sum([sum.drains_per_second, drain.drains_per_second].into_iter());
                    sum.jobs_per_second = known_sum([sum.jobs_per_second, drain.jobs_per_second].into_iter());
                    sum.depth_max = sum.depth_max.max(drain.depth_max);
                }
            }
        }
        for (index, sum) in sums.iter_mut().enumerate() {
            let lengths = merged(self.turns.iter().filter_map(|turn| turn.drains.get(index)));
            sum.p99_ns = sum.p99_ns.map(|_| lengths.quantile_ns(0.99).unwrap_or(0));
        }
        sums
    }

    fn pool(&self) -> Option<PoolView> {
        let pools = || self.turns.iter().filter_map(|turn| turn.view.pool);
        pools().next()?;
        let known = |of: fn(PoolView) -> Option<u64>| {
            pools()
                .filter_map(of)
                .fold(None, |sum: Option<u64>, more| Some(sum.unwrap_or(0).saturating_add(more)))
        };
        let threads = known(|pool| pool.threads);
        let busy: f64 = pools().filter_map(|pool| Some(pool.utilization_ratio? * pool.threads? as f64)).sum();
        Some(PoolView {
            threads,
            busy: known(|pool| pool.busy),
            queued: known(|pool| pool.queued),
            oldest_wait_ns: pools().filter_map(|pool| pool.oldest_wait_ns).max(),
            saturated_ns: pools().map(|pool| pool.saturated_ns).max().unwrap_or(0),
            jobs_per_second: known_sum(pools().map(|pool| pool.jobs_per_second)),
            wait_p95_ns: pools().any(|pool| pool.wait_p95_ns.is_some()).then(|| {
                merged(self.turns.iter().map(|turn| &turn.pool_wait)).quantile_ns(0.95).unwrap_or(0)
            }),
            utilization_ratio: threads.map(|threads| busy / threads.max(1) as f64),
        })
    }
}

/// Adds up what is known; `None` where nothing is.
fn known_sum(all: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    all.flatten().fold(None, |sum: Option<f64>, more| Some(sum.unwrap_or(0.0) + more))
}

fn merged<'a>(all: impl Iterator<Item = &'a HistogramValues>) -> HistogramValues {
    let mut sum = HistogramValues::default();
    all.for_each(|values| sum.merge(values));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, warning_count: u64) -> LoopView {
        let stalls = StallView { warning_count, warning_ns: 100, ..StallView::default() };
        LoopView { id: id.to_owned(), stalls, ..LoopView::default() }
    }

    #[test]
    fn a_worker_whose_page_cannot_be_read_once_is_counted_once() {
        let mut past = RuntimePast::default();
        let (one, other) = (worker("1", 5), worker("2", 2));
        let mut counted = |views: &[&LoopView]| {
            let views: Vec<LoopView> = views.iter().map(|view| (*view).clone()).collect();
            past.stalls(&views).warning_count
        };
        assert_eq!(counted(&[&one, &other]), 7);
        assert_eq!(counted(&[&one]), 7, "its count stays");
        assert_eq!(counted(&[&one, &worker("2", 3)]), 8, "and is not added to itself");
        for _ in 0..2 * GONE_AFTER {
            assert_eq!(counted(&[&one]), 8, "one that has left stays counted, too");
        }
        assert_eq!(past.seen.len(), 1);
    }
}
