//! The loops of the whole host as the live page shows them.

use crate::service::HostService;
use loopscope_http::live::Source;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::proc::Stat;
use loopscope_report::live::{LoopSample, PastView, View};

impl Source for HostService {
    fn seen(&self) -> Vec<LoopSample> {
        let mut seen = Vec::new();
        self.shared.state().registry.read_each(|entry, reading| {
            let Ok(reading) = reading else { return };
            let one = LoopSample::of(reading.page, reading.clock, reading.at)
                .called(&entry.watch.called)
                .numbered(entry.number);
            seen.push(match entry.end {
                Some(_) => one.ended(),
                None => one.stopped(Stat::is_stopped(entry.facts.pid, entry.facts.tid)),
            });
        });
        seen
    }

    fn recent(&self) -> Vec<PastView> {
        let seen = self.seen();
        self.shared.state().recent.views_until(seen, unix_ns())
    }

    fn complete(&self, view: &mut View) {
        for process in &mut view.processes {
            process.base = Some(format!("process/{}/debug/loopscope", process.pid));
        }
    }
}
