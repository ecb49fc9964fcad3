//! One page of metrics: what is written, in which order, and how much of it.

use crate::metrics::format::Format;
use crate::metrics::host::HostFamilies;
use crate::metrics::metrics_page::{MetricsPage, SERIES_MAX};
use crate::metrics::view::{AgentView, HostView, LoopView};
use crate::metrics::{agent_families, compat, host_families, loop_families, worker_families};

/// Names that begin so are the agent's own.
pub const OWN_PREFIX: &str = "loopscope_";

/// Of these, so many are for the agent itself, whatever the loops have: it must be able to say that it left some out.
const SERIES_OF_AGENT: usize = 500;

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
pub fn render(format: Format, loops: &[LoopView], agent: &AgentView, host: &str) -> Rendered {
    let mut sheet = MetricsPage::new(format, SERIES_MAX - SERIES_OF_AGENT);
    // About the size of the last one.
    let last = agent.scrapes[format as usize].bytes.max(PAGE_MIN);
    sheet.reserve(usize::try_from(last).unwrap_or(0) / 8 * 9);
    loop_families::write(&mut sheet, loops);
    worker_families::write(&mut sheet, loops);
    compat::write(&mut sheet, agent.compat, loops);
    sheet.allow(SERIES_OF_AGENT);
    agent_families::write(&mut sheet, loops, agent);
    let left_out = sheet.left_out();
    let host = HostFamilies::read(host, |name| name.starts_with(OWN_PREFIX) || sheet.has(name));
    host.families.iter().for_each(|family| sheet.host(family));
    Rendered { body: sheet.finish(), left_out, names_taken: host.left_out }
}

/// Most series of the page of a whole host: 500 busy loops.
const SERIES_MAX_OF_HOST: usize = 50_000;

/// Writes the page of a whole host: the loops of all its processes, with the labels of their owners, and then what there
/// is to say of the one that serves it.
pub fn render_host(format: Format, loops: &[LoopView], host: &HostView, agent: &AgentView) -> Rendered {
    let mut sheet = MetricsPage::new(format, SERIES_MAX_OF_HOST - SERIES_OF_AGENT);
    let last = agent.scrapes[format as usize].bytes.max(PAGE_MIN);
    sheet.reserve(usize::try_from(last).unwrap_or(0) / 8 * 9);
    loop_families::write(&mut sheet, loops);
    worker_families::write(&mut sheet, loops);
    sheet.allow(SERIES_OF_AGENT);
    host_families::write(&mut sheet, host);
    agent_families::write(&mut sheet, loops, agent);
    let left_out = sheet.left_out();
    Rendered { body: sheet.finish(), left_out, names_taken: Vec::new() }
}

#[cfg(test)]
#[path = "page_tests.rs"]
pub(crate) mod tests;
