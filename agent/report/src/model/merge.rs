//! Adding one loop's snapshot to another's: the loops past the bound of labels are reported as one.

use loopscope_probe::NowValues;
use loopscope_probe::Snapshot;
use loopscope_probe::raw::count_histogram::CountValues;
use loopscope_probe::raw::limits::COUNT_MAX;
use loopscope_probe::raw::pool::PoolValues;

/// Adds the counters, histograms and gauges of `other` to `sum`. What runs now, maxima and ages are those of the worse
/// of the two. Sites and paths stay `sum`'s: sites of loops without a label have no series.
pub(crate) fn absorb(sum: &mut Snapshot, other: &Snapshot) {
    let badness = |now: &NowValues| (now.unexpected_ns(), now.busy_ns);
    if badness(&other.now) > badness(&sum.now) {
        sum.now = other.now;
    }
    add(&mut sum.iterations, other.iterations);
    add(&mut sum.active_ns, other.active_ns);
    add(&mut sum.idle_ns, other.idle_ns);
    add_all(&mut sum.phase_callbacks, &other.phase_callbacks);
    add_all(&mut sum.errors, &other.errors);
    add_all(&mut sum.submitted, &other.submitted);
    add_all(&mut sum.cancelled, &other.cancelled);
    add_all(&mut sum.drained_jobs, &other.drained_jobs);
    add_all(&mut sum.blocked, &other.blocked);
    add_gauges(sum, other);
    for (depth, more) in sum.queue_depth_max.iter_mut().zip(other.queue_depth_max) {
        *depth = (*depth).max(more);
    }
    for (into, from) in histogram_pairs(sum, other) {
        into.merge(from);
    }
    for (into, from) in sum.drain_jobs.iter_mut().zip(&other.drain_jobs) {
        merge_counts(into, from);
    }
    merge_counts(&mut sum.poll_events, &other.poll_events);
    match (&mut sum.pool, &other.pool) {
        (Some(into), Some(from)) => absorb_pool(into, from),
        (into @ None, from) => into.clone_from(from),
        (Some(_), None) => {}
    }
}

fn add_gauges(sum: &mut Snapshot, other: &Snapshot) {
    for (into, from) in sum.handles.iter_mut().zip(other.handles) {
        add(into, from);
    }
    add(&mut sum.handles_referenced, other.handles_referenced);
    add(&mut sum.requests_active, other.requests_active);
    add(&mut sum.timers_pending, other.timers_pending);
    add(&mut sum.wakes_coalesced, other.wakes_coalesced);
    add(&mut sum.sites_overflow, other.sites_overflow);
    add(&mut sum.paths_overflow, other.paths_overflow);
}

type Values = loopscope_probe::raw::histogram::HistogramValues;

fn histogram_pairs<'a>(sum: &'a mut Snapshot, other: &'a Snapshot) -> Vec<(&'a mut Values, &'a Values)> {
    let mut pairs = vec![
        (&mut sum.lag, &other.lag),
        (&mut sum.iteration, &other.iteration),
        (&mut sum.poll_wait, &other.poll_wait),
        (&mut sum.blocked_duration, &other.blocked_duration),
        (&mut sum.work_delivery, &other.work_delivery),
        (&mut sum.operation, &other.operation),
        (&mut sum.completed, &other.completed),
    ];
    pairs.extend(sum.drain.iter_mut().zip(&other.drain));
    pairs.extend(sum.phase.iter_mut().zip(&other.phase));
    pairs.extend(sum.run.iter_mut().zip(&other.run));
    pairs.extend(sum.wait.iter_mut().zip(&other.wait));
    pairs
}

fn absorb_pool(sum: &mut PoolValues, other: &PoolValues) {
    add_known(&mut sum.threads, other.threads);
    add_known(&mut sum.running, other.running);
    add_known(&mut sum.queued, other.queued);
    sum.queued_max = sum.queued_max.max(other.queued_max);
    sum.oldest_wait_ns = sum.oldest_wait_ns.max(other.oldest_wait_ns);
    sum.saturated_for_ns = sum.saturated_for_ns.max(other.saturated_for_ns);
    add(&mut sum.saturated_ns, other.saturated_ns);
    add(&mut sum.busy_ns, other.busy_ns);
    add_all(&mut sum.submitted, &other.submitted);
    add_all(&mut sum.completed, &other.completed);
    add_all(&mut sum.failed, &other.failed);
    add_all(&mut sum.cancelled, &other.cancelled);
    for (into, from) in sum.wait.iter_mut().chain(&mut sum.run).zip(other.wait.iter().chain(&other.run)) {
        into.merge(from);
    }
}

fn merge_counts(sum: &mut CountValues, other: &CountValues) {
    for (into, from) in sum.buckets.iter_mut().zip(other.buckets) {
        *into = into.saturating_add(from).min(COUNT_MAX);
    }
    add(&mut sum.sum, other.sum);
}

/// Adds what is known.
pub(crate) fn add_known(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        add(sum.get_or_insert_default(), more);
    }
}

/// Adds, saturating: each number is bounded, and any number of loops may be added up.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn add_all(sum: &mut [u64], other: &[u64]) {
    for (into, from) in sum.iter_mut().zip(other) {
        add(into, *from);
    }
}
