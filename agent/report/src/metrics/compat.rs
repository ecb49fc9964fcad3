//! Families under the names that other exporters gave them, so that dashboards people already have light up.
//!
//! They are gauges of the last minute, made from the lag histogram at each scrape and reset by none: two scrapers see
//! the same. What they are called after measures something else: prom-client and Node's own monitor tell how late a
//! timer of 10 ms was, which is 10 ms for an idle loop; here it is the lag, which is 0 then.
//!
//! Each series has the label `loop`, as a process here may have many.

use crate::compute::lag_figures::LagFigures;
use crate::metrics::catalog::{self as c, Family};
use crate::metrics::compat_set::CompatSet;
use crate::metrics::loop_families::knows;
use crate::metrics::loop_metrics::LoopMetrics;
use crate::metrics::metrics_page::MetricsPage;
use loopscope_probe::HandleType;
use loopscope_probe::description::Fact;

type Figure = fn(&LagFigures) -> f64;

/// Writes the wanted ones.
pub(crate) fn write(sheet: &mut MetricsPage, wanted: CompatSet, loops: &[LoopMetrics]) {
    if wanted.prom_client {
        write_figures(
            sheet,
            loops,
            [
                (&c::PROM_LAG, |figures| figures.mean),
                (&c::PROM_LAG_MIN, |figures| figures.min),
                (&c::PROM_LAG_MAX, |figures| figures.max),
                (&c::PROM_LAG_MEAN, |figures| figures.mean),
                (&c::PROM_LAG_STDDEV, |figures| figures.stddev),
                (&c::PROM_LAG_P50, |figures| figures.p50),
                (&c::PROM_LAG_P90, |figures| figures.p90),
                (&c::PROM_LAG_P99, |figures| figures.p99),
            ],
        );
        write_active(sheet, loops);
    }
    if wanted.otel {
        write_figures(
            sheet,
            loops,
            [
                (&c::OTEL_DELAY_MIN, |figures| figures.min),
                (&c::OTEL_DELAY_MAX, |figures| figures.max),
                (&c::OTEL_DELAY_MEAN, |figures| figures.mean),
                (&c::OTEL_DELAY_STDDEV, |figures| figures.stddev),
                (&c::OTEL_DELAY_P50, |figures| figures.p50),
                (&c::OTEL_DELAY_P90, |figures| figures.p90),
                (&c::OTEL_DELAY_P99, |figures| figures.p99),
            ],
        );
        sheet.family(&c::OTEL_UTILIZATION);
        for view in loops.iter().filter(|view| knows(view, Fact::Time)) {
            sheet.fraction(&[&view.label], view.utilization);
        }
        sheet.family(&c::OTEL_TIME);
        for view in loops.iter().filter(|view| knows(view, Fact::Time)) {
            sheet.seconds(&[&view.label, "active"], view.snapshot.active_ns);
            sheet.seconds(&[&view.label, "idle"], view.snapshot.idle_ns);
        }
    }
}

fn write_figures<const N: usize>(
    sheet: &mut MetricsPage,
    loops: &[LoopMetrics],
    families: [(&'static Family, Figure); N],
) {
    let figures: Vec<(&str, LagFigures)> = loops
        .iter()
        .filter(|view| knows(view, Fact::Lag))
        .filter_map(|view| Some((view.label.as_str(), LagFigures::of(view.lag_minute.as_ref()?))))
        .collect();
    for (family, figure) in families {
        sheet.family(family);
        for (label, figures) in &figures {
            sheet.fraction(&[label], figure(figures) / 1e9);
        }
    }
}

fn write_active(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    let all_handles = |view: &LoopMetrics| view.snapshot.handles.into_iter().fold(0, u64::saturating_add);
    for family in [&c::PROM_HANDLES, &c::PROM_RESOURCES] {
        sheet.family(family);
        for view in loops.iter().filter(|view| knows(view, Fact::Handles)) {
            for (kind, count) in
                HandleType::ALL.iter().zip(view.snapshot.handles).filter(|(_, count)| *count > 0)
            {
                sheet.whole(&[&view.label, kind.name()], count);
            }
        }
    }
    sheet.family(&c::PROM_HANDLES_TOTAL);
    for view in loops.iter().filter(|view| knows(view, Fact::Handles)) {
        sheet.whole(&[&view.label], all_handles(view));
    }
    sheet.family(&c::PROM_REQUESTS_TOTAL);
    for view in loops.iter().filter(|view| knows(view, Fact::Requests)) {
        sheet.whole(&[&view.label], view.snapshot.requests_active);
    }
    sheet.family(&c::PROM_RESOURCES_TOTAL);
    let knows_both = |view: &&LoopMetrics| knows(view, Fact::Handles) && knows(view, Fact::Requests);
    for view in loops.iter().filter(knows_both) {
        sheet.whole(&[&view.label], all_handles(view).saturating_add(view.snapshot.requests_active));
    }
}

#[cfg(test)]
#[path = "compat_tests.rs"]
mod tests;
