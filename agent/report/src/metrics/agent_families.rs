//! Writes the families of the agent itself and of the process.

use crate::metrics::catalog as c;
use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::{AgentMetrics, LoopMetrics, ProcessMetrics};
use crate::metrics::metrics_page::MetricsPage;
use loopscope_probe::raw::histogram::HistogramValues;

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(sheet: &mut MetricsPage, loops: &[LoopMetrics], agent: &AgentMetrics) {
    sheet.family(&c::BUILD_INFO);
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    sheet.whole(&[env!("CARGO_PKG_VERSION"), &target], 1);
    if let Some((name, pid)) = &agent.identity {
        sheet.family(&c::PROCESS_INFO);
        sheet.whole(&[name, &pid.to_string()], 1);
    }
    write_ticks(sheet, loops, agent);
    for (family, outcomes) in
        [(&c::INCIDENT_WRITES, &agent.incident_writes), (&c::INCIDENT_ACTIONS, &agent.incident_actions)]
    {
        sheet.family(family);
        sheet.whole(&["ok"], outcomes.ok);
        sheet.whole(&["failed"], outcomes.failed);
        sheet.whole(&["dropped"], outcomes.dropped);
    }
    sheet.family(&c::THRESHOLD_CHANGES);
    sheet.whole(&[], agent.threshold_changes);
    sheet.family(&c::SCRAPE_DURATION);
    let scrapes = || MetricsFormat::ALL.iter().zip(&agent.scrapes).filter(|(_, scrapes)| scrapes.bytes > 0);
    for (format, scrapes) in scrapes() {
        sheet.durations(&[format.name()], &scrapes.duration);
    }
    sheet.family(&c::SCRAPE_SIZE);
    for (format, scrapes) in scrapes() {
        sheet.whole(&[format.name()], scrapes.bytes);
    }
    sheet.family(&c::SERIES_OVERFLOW);
    sheet.whole(&["loops"], agent.overflow.loops);
    sheet.whole(&["sites"], agent.overflow.sites);
    sheet.whole(&["workers"], agent.overflow.workers);
    sheet.whole(&["series"], agent.overflow.series);
    sheet.whole(&["names"], agent.overflow.names);
    sheet.family(&c::HTTP_REQUESTS);
    for (path, code, count) in &agent.requests {
        sheet.whole(&[path, &code.to_string()], *count);
    }
    sheet.family(&c::AGENT_SERIES);
    let process_series = if agent.process.is_some() { 7 } else { 0 };
    sheet.whole(&[], sheet.samples() as u64 + 1 + process_series);
    if let Some(process) = &agent.process {
        write_process(sheet, process);
    }
}

fn write_ticks(sheet: &mut MetricsPage, loops: &[LoopMetrics], agent: &AgentMetrics) {
    sheet.family(&c::AGENT_CPU);
    sheet.seconds(&[], agent.cpu_ns);
    sheet.family(&c::AGENT_DROPPED);
    for view in loops {
        sheet.of(view);
        sheet.whole(&[&view.label, "site_table_full"], view.snapshot.sites_overflow);
        sheet.whole(&[&view.label, "path_table_full"], view.snapshot.paths_overflow);
    }
    sheet.family(&c::AGENT_TICKS);
    sheet.whole(&[], agent.ticks);
    sheet.family(&c::AGENT_PANICS);
    sheet.whole(&[], agent.panics);
    sheet.family(&c::AGENT_TICK_LATENESS);
    sheet.durations(&[], &agent.tick_lateness);
    sheet.family(&c::AGENT_DETECTION_DELAY);
    let mut detection = HistogramValues::default();
    for view in loops {
        detection.merge(&view.stalls.detection);
    }
    sheet.durations(&[], &detection);
    sheet.family(&c::AGENT_LAST_TICK);
    sheet.seconds(&[], agent.last_tick_unix_ns);
    sheet.family(&c::AGENT_REPORTS_DROPPED);
    sheet.whole(&[], agent.reports_dropped);
}

fn write_process(sheet: &mut MetricsPage, process: &ProcessMetrics) {
    sheet.family(&c::PROCESS_CPU);
    sheet.seconds(&[], process.cpu_ns);
    sheet.family(&c::PROCESS_RESIDENT);
    sheet.whole(&[], process.resident_bytes);
    sheet.family(&c::PROCESS_VIRTUAL);
    sheet.whole(&[], process.virtual_bytes);
    sheet.family(&c::PROCESS_OPEN_FDS);
    sheet.whole(&[], process.open_fds);
    sheet.family(&c::PROCESS_MAX_FDS);
    sheet.whole(&[], process.max_fds);
    sheet.family(&c::PROCESS_START);
    sheet.seconds(&[], process.start_unix_ns);
    sheet.family(&c::PROCESS_THREADS);
    sheet.whole(&[], process.threads);
}
