//! Writes the families that only the page of a whole host has.

use crate::metrics::catalog as c;
use crate::metrics::loop_metrics::HostMetrics;
use crate::metrics::metrics_page::MetricsPage;

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(sheet: &mut MetricsPage, host: &HostMetrics) {
    sheet.family(&c::HOST_PROCESSES);
    sheet.whole(&["alive"], host.alive);
    sheet.whole(&["ended"], host.ended);
    sheet.family(&c::HOST_SKIPPED);
    for (reason, count) in &host.skipped {
        sheet.whole(&[reason], *count);
    }
    sheet.family(&c::HOST_FORWARDS);
    sheet.whole(&["ok"], host.forwards.ok);
    sheet.whole(&["failed"], host.forwards.failed);
    sheet.whole(&["dropped"], host.forwards.dropped);
}
