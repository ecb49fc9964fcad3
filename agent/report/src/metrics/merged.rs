//! Views added to one another: loops past the bound of labels are reported as one, and what has ended is put to rest.

use crate::compute::stall::StallCounts;
use crate::metrics::view::LoopView;
use crate::model::merge::absorb;
use loopscope_probe::{Kind, NowValues};

/// Copies a view as the beginning of a sum: without sites, and without what is not added up.
pub(crate) fn copy_view(view: &LoopView) -> LoopView {
    LoopView {
        owner: view.owner.clone(),
        label: view.label.clone(),
        snapshot: view.snapshot.clone(),
        succeeded: view.succeeded,
        utilization: 0.0,
        stalls: view.stalls.clone(),
        cases: view.cases.clone(),
        sites: Vec::new(),
        lag_minute: None,
        handle_types: view.handle_types,
    }
}

/// Adds `view` to `sum`.
pub(crate) fn add_view(sum: &mut LoopView, view: &LoopView) {
    absorb(&mut sum.snapshot, &view.snapshot);
    for (was_seen, is_seen) in sum.handle_types.iter_mut().zip(view.handle_types) {
        *was_seen |= is_seen;
    }
    sum.utilization = sum.utilization.max(view.utilization);
    for kind in 0..Kind::CALLBACKS {
        sum.succeeded[kind] = sum.succeeded[kind].saturating_add(view.succeeded[kind]);
    }
    if let (Some(sum), Some(cases)) = (&mut sum.cases, &view.cases) {
        sum.add(cases);
    }
    add_stalls(&mut sum.stalls, &view.stalls);
}

fn add_stalls(sum: &mut StallCounts, other: &StallCounts) {
    sum.active = sum.active.or(other.active);
    for (into, from) in sum.episodes.iter_mut().zip(other.episodes) {
        *into = into.saturating_add(from);
    }
    sum.detection.merge(&other.detection);
    for (into, from) in sum.durations.iter_mut().zip(&other.durations) {
        if let Some(from) = from {
            into.get_or_insert_default().merge(from);
        }
    }
}

impl LoopView {
    /// Takes from the view of a loop that has ended what it no longer has; what is counted stays.
    pub fn put_to_rest(&mut self) {
        let snapshot = &mut self.snapshot;
        snapshot.now = NowValues::IDLE;
        snapshot.handles = Default::default();
        (snapshot.handles_referenced, snapshot.requests_active, snapshot.timers_pending) = (0, 0, 0);
        if let Some(pool) = &mut snapshot.pool {
            (pool.threads, pool.running, pool.queued, pool.oldest_wait_ns) = (None, None, None, None);
        }
        self.stalls.active = None;
        self.utilization = 0.0;
    }
}
