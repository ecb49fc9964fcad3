//! Reading and changing stall thresholds while the program runs.

use crate::state::AgentState;
use loopscope_report::duration::show_ns;
use loopscope_report::model::threshold_change::{LoopThresholds, ThresholdChange, ThresholdList};
use loopscope_report::model::thresholds::Thresholds;

impl AgentState {
    /// Returns the thresholds of all loops.
    pub(crate) fn threshold_list(&self) -> ThresholdList {
        let of_loop = |watched: &super::Watched| LoopThresholds {
            r#loop: watched.watch.called.label.clone(),
            name: watched.name.clone(),
            group: watched.watch.called.runtime.clone(),
            warning_ns: watched.thresholds.warning_ns,
            critical_ns: watched.thresholds.critical_ns,
        };
        ThresholdList {
            warning_ns: self.thresholds.all.warning_ns,
            critical_ns: self.thresholds.all.critical_ns,
            loops: self.loops.iter().map(of_loop).collect(),
        }
    }

    /// Changes them, of one loop or of all, and counts that. Returns what was changed, in words, or what is wrong with the
    /// wish: its status code and words.
    pub(crate) fn set_thresholds(&mut self, wish: &ThresholdChange) -> Result<String, (u16, String)> {
        if wish.is_empty() {
            return Err((400, "nothing to change: set warning=, critical= or both\n".to_owned()));
        }
        let wrong = |message| (400, message);
        let (of, before, after) = match &wish.loop_name {
            None => {
                let before = self.thresholds.all;
                let thresholds = wish.apply(before).map_err(wrong)?;
                self.thresholds.set_all(thresholds);
                ("all loops".to_owned(), before, thresholds)
            }
            Some(name) => {
                let is_meant = |watched: &&super::Watched| {
                    let called = &watched.watch.called;
                    [&called.label, &called.runtime, &watched.name].contains(&name)
                };
                let found = self.loops.iter().find(is_meant);
                let Some(watched) = found else {
                    let mut labels: Vec<&str> = self.loops.iter().flat_map(names).collect();
                    labels.dedup();
                    return Err((404, format!("no loop {name:?}; there are: {}\n", labels.join(", "))));
                };
                let before = watched.thresholds;
                let thresholds = wish.apply(before).map_err(wrong)?;
                let workers: Vec<String> =
                    self.loops.iter().flat_map(|other| workers_of(name, other)).collect();
                self.thresholds.set_runtime(name, &workers, thresholds);
                (format!("loop {name}"), before, thresholds)
            }
        };
        // What lasts already may be a stall from now on.
        self.tick_at_ns = 0;
        for watched in &mut self.loops {
            watched.thresholds = self.thresholds.of(&watched.watch.called, &watched.name);
            if let Some(control) = &watched.control {
                control.set_thresholds(watched.thresholds.warning_ns, watched.thresholds.critical_ns);
            }
        }
        self.accounts.agent.threshold_changes += 1;
        Ok(format!("stall thresholds of {of} changed from {} to {}", words(before), words(after)))
    }
}

/// Returns what the loop is called, where it is a worker of this runtime: what was set for it alone goes.
fn workers_of(runtime: &str, watched: &super::Watched) -> Vec<String> {
    let called = &watched.watch.called;
    let names = [&called.label, &watched.name].into_iter().filter(|name| *name != runtime).cloned();
    if called.runtime == runtime { names.collect() } else { Vec::new() }
}

/// Returns what thresholds are set by: a runtime comes before each of its workers.
fn names(watched: &super::Watched) -> impl Iterator<Item = &str> {
    let called = &watched.watch.called;
    let runtime = Some(called.runtime.as_str()).filter(|runtime| !runtime.is_empty());
    runtime.into_iter().chain([called.label.as_str()])
}

fn words(thresholds: Thresholds) -> String {
    format!("{} (critical {})", show_ns(thresholds.warning_ns), show_ns(thresholds.critical_ns))
}
