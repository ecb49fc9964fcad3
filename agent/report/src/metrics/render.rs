//! One page of metrics: what is written, in which order, and how much of it.

use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::{AgentMetrics, HostMetrics, LoopMetrics};
use crate::metrics::metrics_page::{MetricsPage, SAMPLES_MAX};
use crate::metrics::program_families::ProgramFamilies;
use crate::metrics::{agent_families, compat, host_families, loop_families, worker_families};

/// Names that begin so are the agent's own.
pub const OWN_PREFIX: &str = "loopscope_";

/// Of these, so many are for the agent itself, whatever the loops have: it must be able to say that it left some out.
const SAMPLES_OF_AGENT: usize = 500;

/// And so many for what it says of each loop.
const SAMPLES_OF_AGENT_PER_LOOP: usize = 2;

/// A page is at least about this large, in bytes.
const PAGE_MIN: u64 = 32 << 10;

/// A page and what its writing found.
#[derive(Debug)]
pub struct Rendered {
    pub body: Vec<u8>,
    /// Series past the ceiling.
    pub left_out: u64,
    /// The names of families of the host program that were taken.
    pub names_taken: Vec<String>,
}

/// Writes the page: our families in the order of the catalogue, with those under names of others before the agent's,
/// then those of the host program, whose text `host` is,
/// in the order of their names.
pub fn render(format: MetricsFormat, loops: &[LoopMetrics], agent: &AgentMetrics, host: &str) -> Rendered {
    let of_agent = SAMPLES_OF_AGENT + SAMPLES_OF_AGENT_PER_LOOP * loops.len();
    let mut sheet = MetricsPage::new(format, SAMPLES_MAX.saturating_sub(of_agent));
    sheet.bounded_by(agent.classic);
    // About the size of the last one.
    let last = agent.scrapes[format as usize].bytes.max(PAGE_MIN);
    sheet.reserve(usize::try_from(last).unwrap_or(0) / 8 * 9);
    loop_families::write(&mut sheet, loops);
    worker_families::write(&mut sheet, loops);
    compat::write(&mut sheet, agent.compat, loops);
    sheet.allow(of_agent);
    agent_families::write(&mut sheet, loops, agent);
    let left_out = sheet.left_out();
    let host = ProgramFamilies::read(host, |name| name.starts_with(OWN_PREFIX) || sheet.has(name));
    host.families.iter().for_each(|family| sheet.host(family));
    Rendered { body: sheet.finish(), left_out, names_taken: host.left_out }
}

/// Most samples of the page of a whole host, counted as Prometheus does: 500 loops that do little, or 150 busy ones.
const SAMPLES_MAX_OF_HOST: usize = 50_000;

/// Writes the page of a whole host: the loops of all its processes, with the labels of their owners, and then what there
/// is to say of the one that serves it.
pub fn render_host(
    format: MetricsFormat,
    loops: &[LoopMetrics],
    host: &HostMetrics,
    agent: &AgentMetrics,
) -> Rendered {
    let of_agent = SAMPLES_OF_AGENT + SAMPLES_OF_AGENT_PER_LOOP * loops.len();
    let mut sheet = MetricsPage::new(format, SAMPLES_MAX_OF_HOST.saturating_sub(of_agent));
    sheet.bounded_by(agent.classic);
    let last = agent.scrapes[format as usize].bytes.max(PAGE_MIN);
    sheet.reserve(usize::try_from(last).unwrap_or(0) / 8 * 9);
    loop_families::write(&mut sheet, loops);
    worker_families::write(&mut sheet, loops);
    sheet.allow(of_agent);
    host_families::write(&mut sheet, host);
    agent_families::write(&mut sheet, loops, agent);
    let left_out = sheet.left_out();
    Rendered { body: sheet.finish(), left_out, names_taken: Vec::new() }
}

#[cfg(test)]
#[path = "render_tests.rs"]
pub(crate) mod tests;
