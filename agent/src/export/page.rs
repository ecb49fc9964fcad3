//! One page of metrics: what is written, in which order, and how much of it.

use crate::export::text::{SERIES_MAX, Text};
use crate::export::view::{AgentView, LoopView};
use crate::export::{agent_families, facade, loop_families};

/// Of these, so many are for the agent itself, whatever the loops have: it must be able to say that it left some out.
const SERIES_OF_AGENT: usize = 500;

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
