//! Views added to one another: workers of one runtime, loops past the bound of labels, and what has ended is put to rest.

use crate::compute::stall::StallCounts;
use crate::metrics::loop_metrics::LoopMetrics;
use crate::model::merge::{absorb, add_known};
use loopscope_probe::{Kind, NowValues};

/// Adds `view` to `sum`, all but their sites.
pub(crate) fn add_view(sum: &mut LoopMetrics, view: &LoopMetrics) {
    absorb(&mut sum.snapshot, &view.snapshot);
    sum.is_at_rest &= view.is_at_rest;
    for (was_seen, is_seen) in sum.handle_types.iter_mut().zip(view.handle_types) {
        *was_seen |= is_seen;
    }
    sum.utilization = sum.utilization.max(view.utilization);
    for kind in 0..Kind::CALLBACKS {
        sum.succeeded[kind] = sum.succeeded[kind].saturating_add(view.succeeded[kind]);
    }
    match (&mut sum.incidents, &view.incidents) {
        (Some(sum), Some(cases)) => sum.add(cases),
        (into @ None, cases) => into.clone_from(cases),
        (Some(_), None) => {}
    }
    match (&mut sum.lag_minute, &view.lag_minute) {
        (Some(sum), Some(lag)) => sum.merge(lag),
        (into @ None, lag) => into.clone_from(lag),
        (Some(_), None) => {}
    }
    add_known(&mut sum.run_delay_ns, view.run_delay_ns);
    add_stalls(&mut sum.stalls, &view.stalls);
}

fn add_stalls(sum: &mut StallCounts, other: &StallCounts) {
    for (is_active, other) in sum.active.iter_mut().zip(other.active) {
        *is_active |= other;
    }
    for (into, from) in sum.episodes.iter_mut().zip(other.episodes) {
        *into = into.saturating_add(from);
    }
    sum.detection.merge(&other.detection);
    for (into, from) in sum.durations.iter_mut().zip(&other.durations) {
        if let Some(from) = from {
            into.get_or_insert_default().merge(from);
        }
    }
    sum.blocked_exemplars.merge(&other.blocked_exemplars);
    for (into, from) in sum.starvation_exemplars.iter_mut().zip(&other.starvation_exemplars) {
        into.merge(from);
    }
}

impl LoopMetrics {
    /// Takes from the view of a loop that has ended what it no longer has; what is counted stays.
    pub fn put_to_rest(&mut self) {
        self.is_at_rest = true;
        let snapshot = &mut self.snapshot;
        snapshot.now = NowValues::IDLE;
        snapshot.handles = Default::default();
        snapshot.gauges.retain(|gauge| gauge.is_counter);
        (snapshot.handles_referenced, snapshot.requests_active, snapshot.timers_pending) = (0, 0, 0);
        if let Some(pool) = &mut snapshot.pool {
            (pool.threads, pool.running, pool.queued, pool.oldest_wait_ns) = (None, None, None, None);
        }
        self.stalls.active = Default::default();
        self.utilization = 0.0;
    }

    /// Takes from a part of a sum what the sum has otherwise, or not at all: it may be kept for long.
    pub(crate) fn without_tables(mut self) -> LoopMetrics {
        (self.snapshot.paths, self.snapshot.sites) = (Vec::new(), Vec::new());
        (self.snapshot.gauges, self.snapshot.gauge_histograms) = (Vec::new(), Vec::new());
        self
    }
}
