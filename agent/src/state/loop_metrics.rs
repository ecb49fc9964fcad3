//! Copies of everything about a loop, for the exporter.

use crate::state::Watched;
use loopscope_report::metrics::loop_metrics::LoopMetrics;
use loopscope_report::model::waits::Waits;

/// Returns the view of a loop, and how many of its sites have no series.
pub(super) fn view_of(watched: &mut Watched, sites_room: &mut usize) -> (LoopMetrics, usize) {
    let snapshot = watched.page.page().snapshot(watched.page.clock());
    watched.watch.note_run_delay(watched.tracker.run_delay_ns());
    let (mut view, left_out) = watched.watch.view(snapshot, sites_room);
    view.cases = Some(watched.tracker.counts());
    view.lag_minute = watched.lag.as_ref().map(|lag| lag.since_beginning(&Waits::of(&view.snapshot)));
    (view, left_out)
}
