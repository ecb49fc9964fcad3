//! Copies of everything about a loop, for the exporter; the loops past the bound of labels become one.

use crate::compute::sites;
use crate::compute::utilization::utilization;
use crate::export::view::LoopView;
use crate::model::label::OTHER;
use crate::model::merge::absorb;
use crate::model::window::Split;
use crate::sidecar::Watched;
use crate::watch::stall::StallCounts;
use loopscope_probe::Kind;

pub(super) fn view_of(watched: &mut Watched, sites_room: &mut usize) -> LoopView {
    let mut snapshot = watched.page.page().snapshot(watched.page.clock());
    let succeeded = watched.floor.lift(&mut snapshot);
    let present = Split { active_ns: snapshot.active_ns, idle_ns: snapshot.idle_ns };
    let (sites, others) = match watched.label == OTHER {
        true => (Vec::new(), 0),
        false => watched.chosen.choose(sites::totals(&snapshot), sites_room),
    };
    watched.others = watched.others.max(others);
    for (was_seen, count) in watched.handle_types.iter_mut().zip(snapshot.handles) {
        *was_seen |= count > 0;
    }
    LoopView {
        owner: None,
        label: watched.label.clone(),
        utilization: utilization(watched.window.beginning(present), present),
        stalls: watched.stalls.counts().clone(),
        cases: Some(watched.cases.counts()),
        handle_types: watched.handle_types,
        lag_minute: watched.lag.as_ref().map(|lag| lag.since_beginning(&snapshot.lag)),
        succeeded,
        sites,
        snapshot,
    }
}

pub(super) fn copy_view(view: &LoopView) -> LoopView {
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

pub(super) fn add_view(sum: &mut LoopView, view: &LoopView) {
    absorb(&mut sum.snapshot, &view.snapshot);
    for (was_seen, is_seen) in sum.handle_types.iter_mut().zip(view.handle_types) {
        *was_seen |= is_seen;
    }
    sum.utilization = sum.utilization.max(view.utilization);
    for kind in 0..Kind::CALLBACKS {
        sum.succeeded[kind] += view.succeeded[kind];
    }
    if let (Some(sum), Some(cases)) = (&mut sum.cases, &view.cases) {
        sum.add(cases);
    }
    add_stalls(&mut sum.stalls, &view.stalls);
}

fn add_stalls(sum: &mut StallCounts, other: &StallCounts) {
    sum.active = sum.active.or(other.active);
    for (into, from) in sum.episodes.iter_mut().zip(other.episodes) {
        *into += from;
    }
    sum.detection.merge(&other.detection);
    for (into, from) in sum.durations.iter_mut().zip(&other.durations) {
        if let Some(from) = from {
            into.get_or_insert_default().merge(from);
        }
    }
}
