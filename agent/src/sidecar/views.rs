//! Copies of everything about a loop, for the exporter; the loops past the bound of labels become one.

use crate::sidecar::Watched;
use loopscope_report::compute::sites;
use loopscope_report::compute::utilization::utilization;
use loopscope_report::metrics::view::LoopView;
use loopscope_report::model::label::OTHER;
use loopscope_report::model::window::Split;

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
