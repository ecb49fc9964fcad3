//! What `/metrics` shows of a loop: a copy of its page, with what only its agent knows.

use crate::state::Watched;
use loopscope_report::metrics::loop_metrics::LoopMetrics;
use loopscope_report::model::waits::Waits;

/// Returns the metrics of a loop, and how many of its sites have no series.
pub(super) fn loop_metrics(watched: &mut Watched, sites_room: &mut usize) -> (LoopMetrics, usize) {
    let snapshot = watched.page.page().snapshot(watched.page.clock());
    watched.watch.note_run_delay(watched.tracker.run_delay_ns());
    let (mut metrics, left_out) = watched.watch.view(snapshot, sites_room);
    metrics.incidents = Some(watched.tracker.counts());
    metrics.lag_minute = watched.lag.as_ref().map(|lag| lag.since_beginning(&Waits::of(&metrics.snapshot)));
    (metrics, left_out)
}
