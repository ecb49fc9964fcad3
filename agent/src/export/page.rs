//! One page of metrics: everything the agent knows, as values, and the order it is written in.

use crate::compute::sites::SiteTotal;
use crate::export::text::{SERIES_MAX, Text};
use crate::export::{agent_families, facade, loop_families};
use crate::watch::stall::StallCounts;
use loopscope_probe::histogram::HistogramValues;
use loopscope_probe::{Kind, Snapshot};

/// Of these, so many are for the agent itself, whatever the loops have: it must be able to say that it left some out.
const SERIES_OF_AGENT: usize = 500;

/// One loop, ready to be written.
#[derive(Debug)]
pub(crate) struct LoopView {
    pub label: String,
    pub snapshot: Snapshot,
    /// Callbacks that returned without a panic, by kind.
    pub succeeded: [u64; Kind::CALLBACKS],
    pub utilization: f64,
    pub stalls: StallCounts,
    pub sites: Vec<SiteTotal>,
}

/// What could not get a series of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overflow {
    pub loops: u64,
    pub sites: u64,
    pub series: u64,
}

/// The process as `/proc` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessView {
    pub cpu_ns: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub start_unix_ns: u64,
    pub threads: u64,
}

/// The agent itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentView {
    pub cpu_ns: u64,
    pub ticks: u64,
    pub panics: u64,
    pub tick_lateness: HistogramValues,
    pub last_tick_unix_ns: u64,
    pub reports_dropped: u64,
    pub scrape_duration: HistogramValues,
    pub scrape_bytes: u64,
    pub overflow: Overflow,
    /// Requests by path and status code.
    pub requests: Vec<(&'static str, u16, u64)>,
    pub process: Option<ProcessView>,
}

/// A page and what its writing found.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub text: String,
    /// Series past the ceiling.
    pub left_out: u64,
}

/// Writes the page: our families in the order of the catalogue, then those of the host program, `host`, in the order
/// of their names.
pub(crate) fn render(loops: &[LoopView], agent: &AgentView, host: &str) -> Rendered {
    let mut text = Text::new(SERIES_MAX - SERIES_OF_AGENT);
    // About the size of the last one.
    text.reserve(usize::try_from(agent.scrape_bytes).unwrap_or(0).max(128 << 10) / 8 * 9);
    loop_families::write(&mut text, loops);
    text.allow(SERIES_OF_AGENT);
    agent_families::write(&mut text, loops, agent);
    let left_out = text.left_out();
    let mut page = text.into_string();
    facade::append_host(&mut page, host);
    Rendered { text: page, left_out }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
