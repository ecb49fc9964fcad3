//! What a server counts of itself, for its own metrics: its looks, its answers, its faults.

use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::AgentMetrics;
use crate::metrics::render::Rendered;
use std::collections::BTreeMap;

/// The counts; the same for the agent of a process and for the server of a host.
#[derive(Debug)]
pub struct SelfMetrics {
    /// All that is not counted by path.
    pub agent: AgentMetrics,
    requests: BTreeMap<(&'static str, u16), u64>,
}

impl SelfMetrics {
    /// Counts answers by these paths. Each is there from the begin on, so that its first answer is an increase.
    pub fn new(paths: &[&'static str], agent: AgentMetrics) -> SelfMetrics {
        let usual = |path: &&'static str| ((*path, if *path == "other" { 404 } else { 200 }), 0);
        SelfMetrics { agent, requests: paths.iter().map(usual).collect() }
    }

    /// Returns a copy of everything, to be completed and shown.
    pub fn view(&self) -> AgentMetrics {
        let requests = self.requests.iter().map(|((path, code), count)| (*path, *code, *count)).collect();
        AgentMetrics { requests, ..self.agent.clone() }
    }

    /// Notes a look that was taken because its time had come, at a wall-clock time.
    pub fn note_tick(&mut self, unix_ns: u64) {
        self.agent.ticks += 1;
        self.agent.last_tick_unix_ns = unix_ns;
    }

    /// Notes how much later than planned a look was taken.
    pub fn note_lateness(&mut self, ns: u64) {
        self.agent.tick_lateness.record(ns);
    }

    /// Notes that a page was written, and how long that took.
    pub fn note_scrape(&mut self, format: MetricsFormat, ns: u64, page: &Rendered) {
        let scrapes = &mut self.agent.scrapes[format as usize];
        scrapes.duration.record(ns);
        scrapes.bytes = page.body.len() as u64;
        let overflow = &mut self.agent.overflow;
        (overflow.series, overflow.names) = (page.left_out, page.names_taken.len() as u64);
    }

    pub fn count_request(&mut self, path: &'static str, code: u16) {
        *self.requests.entry((path, code)).or_default() += 1;
    }

    /// Counts a panic; returns how many there were.
    pub fn count_panic(&mut self) -> u64 {
        self.agent.panics += 1;
        self.agent.panics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_for_as_long_as_it_is() {
        let mut accounts = SelfMetrics::new(&[], AgentMetrics::default());
        let mut scrape = |left_out, names: &[&str]| {
            let names_taken = names.iter().map(|name| (*name).to_owned()).collect();
            accounts.note_scrape(
                MetricsFormat::Text,
                1,
                &Rendered { body: Vec::new(), left_out, names_taken },
            );
            let overflow = accounts.view().overflow;
            (overflow.series, overflow.names)
        };
        assert_eq!(scrape(0, &["a", "b"]), (0, 2));
        assert_eq!(scrape(7, &["b", "a"]), (7, 2));
        assert_eq!(scrape(5, &["c"]), (5, 1));
        assert_eq!(scrape(0, &[]), (0, 0));
    }
}
