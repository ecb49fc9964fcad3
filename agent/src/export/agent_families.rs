//! Writes the families of the agent itself and of the process.

use crate::export::catalog as c;
use crate::export::text::Text;
use crate::export::view::{AgentView, LoopView, ProcessView};

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(text: &mut Text, loops: &[LoopView], agent: &AgentView) {
    text.family(&c::BUILD_INFO);
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    text.whole(&[env!("CARGO_PKG_VERSION"), &target], 1);
    write_ticks(text, loops, agent);
    text.family(&c::SCRAPE_DURATION);
    text.durations(&["text"], &agent.scrape_duration);
    text.family(&c::SCRAPE_SIZE);
    text.whole(&["text"], agent.scrape_bytes);
    text.family(&c::SERIES_OVERFLOW);
    text.whole(&["loops"], agent.overflow.loops);
    text.whole(&["sites"], agent.overflow.sites);
    text.whole(&["series"], agent.overflow.series);
    text.family(&c::HTTP_REQUESTS);
    for (path, code, count) in &agent.requests {
        text.whole(&[path, &code.to_string()], *count);
    }
    text.family(&c::AGENT_SERIES);
    let process_series = if agent.process.is_some() { 7 } else { 0 };
    text.whole(&[], text.series() as u64 + 1 + process_series);
    if let Some(process) = &agent.process {
        write_process(text, process);
    }
}

fn write_ticks(text: &mut Text, loops: &[LoopView], agent: &AgentView) {
    text.family(&c::AGENT_CPU);
    text.seconds(&[], agent.cpu_ns);
    text.family(&c::AGENT_DROPPED);
    for view in loops {
        text.whole(&[&view.label, "site_table_full"], view.snapshot.sites_overflow);
        text.whole(&[&view.label, "path_table_full"], view.snapshot.paths_overflow);
    }
    text.family(&c::AGENT_TICKS);
    text.whole(&[], agent.ticks);
    text.family(&c::AGENT_PANICS);
    text.whole(&[], agent.panics);
    text.family(&c::AGENT_TICK_LATENESS);
    text.durations(&[], &agent.tick_lateness);
    text.family(&c::AGENT_LAST_TICK);
    text.seconds(&[], agent.last_tick_unix_ns);
    text.family(&c::AGENT_REPORTS_DROPPED);
    text.whole(&[], agent.reports_dropped);
}

fn write_process(text: &mut Text, process: &ProcessView) {
    text.family(&c::PROCESS_CPU);
    text.seconds(&[], process.cpu_ns);
    text.family(&c::PROCESS_RESIDENT);
    text.whole(&[], process.resident_bytes);
    text.family(&c::PROCESS_VIRTUAL);
    text.whole(&[], process.virtual_bytes);
    text.family(&c::PROCESS_OPEN_FDS);
    text.whole(&[], process.open_fds);
    text.family(&c::PROCESS_MAX_FDS);
    text.whole(&[], process.max_fds);
    text.family(&c::PROCESS_START);
    text.seconds(&[], process.start_unix_ns);
    text.family(&c::PROCESS_THREADS);
    text.whole(&[], process.threads);
}
