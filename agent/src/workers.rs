//! The agent's helping threads: they name stacks, write incidents to disk, and act on them, so that the agent's own
//! thread waits for nothing.

use crate::capture::{Captures, captures};
use crate::settings::Settings;
use crate::watch::incident_action::Actor;
use crate::watch::incident_queue::IncidentQueue;
use crate::watch::incident_writer::{DiskBounds, IncidentWriter};
use crate::watch::kept_incidents::KeptIncidents;
use crate::watch::stack_symbolizer::{Named, StackSymbolizer};
use loopscope_report::metrics::loop_metrics::Outcomes;
use loopscope_stacks::CaptureSupport;

/// The threads that there are.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    namer: Option<StackSymbolizer>,
    disk: Option<IncidentWriter>,
    kept: Option<KeptIncidents>,
    actor: Option<Actor>,
    /// What to tell the program's log.
    notes: Vec<String>,
}

impl Workers {
    /// Starts those that the settings ask for. What cannot be had is done without, and said.
    pub(crate) fn start(settings: &Settings) -> Workers {
        let mut workers = Workers::default();
        if captures() == Captures::On {
            workers.start_namer(settings);
        }
        if let Some(path) = &settings.incidents_dir {
            workers.disk = workers
                .started("incidents on disk", IncidentWriter::start(path.clone(), DiskBounds::default()));
        }
        workers.kept = settings.keeps_incidents.then(KeptIncidents::new);
        if !settings.actions.is_empty() {
            workers.actor = workers.started("actions on incidents", Actor::start(settings.actions.clone()));
        }
        workers
    }

    fn start_namer(&mut self, settings: &Settings) {
        match loopscope_stacks::prepare() {
            ready @ (CaptureSupport::Ready { .. } | CaptureSupport::Untested(_)) => {
                self.notes.extend(shortcoming(&ready));
                let namer =
                    StackSymbolizer::start(settings.frame_sources.clone(), settings.address_sources.clone());
                self.namer = self.started("stacks", namer);
            }
            unavailable => self.notes.extend(shortcoming(&unavailable)),
        }
        loopscope_stacks::block_signal();
    }

    fn started<T>(&mut self, what: &str, outcome: std::io::Result<T>) -> Option<T> {
        outcome.map_err(|error| self.notes.push(format!("cannot start the thread for {what}: {error}"))).ok()
    }

    /// Takes what lies in the queue for these threads.
    pub(crate) fn hand_out(&mut self, queue: &mut IncidentQueue) {
        for work in queue.work.drain(..) {
            let (number, age_ns) = (work.number, work.age_ns);
            if !self.namer.as_mut().is_some_and(|namer| namer.name(work)) {
                let note = Some("a stack was not symbolized: too many are queued".to_owned());
                queue.unnamed.push(Named { number, age_ns, note, is_final: true, ..Named::default() });
            }
        }
        for incident in queue.kept.drain(..) {
            if let Some(kept) = &mut self.kept {
                kept.keep(&incident);
            }
            if let Some(disk) = &self.disk {
                disk.keep(incident);
            }
        }
        for incident in queue.acts.drain(..) {
            if let Some(actor) = &mut self.actor {
                actor.act(incident);
            }
        }
    }

    /// Returns the stacks that have been named since.
    pub(crate) fn named(&self) -> Vec<Named> {
        self.namer.as_ref().map(StackSymbolizer::named).unwrap_or_default()
    }

    /// Takes what there is to tell.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.disk.as_ref().map(IncidentWriter::notes).unwrap_or_default());
        notes.extend(self.kept.as_mut().map(KeptIncidents::notes).unwrap_or_default());
        notes.extend(self.actor.as_ref().map(Actor::notes).unwrap_or_default());
        notes
    }

    /// Returns what writing incidents came to.
    pub(crate) fn writes(&self) -> Outcomes {
        self.disk.as_ref().map(IncidentWriter::outcomes).unwrap_or_default()
    }

    /// Returns what acting on them came to.
    pub(crate) fn actions(&self) -> Outcomes {
        self.actor.as_ref().map(Actor::outcomes).unwrap_or_default()
    }
}

/// Returns what is less than full, for the log.
fn shortcoming(readiness: &CaptureSupport) -> Option<String> {
    match readiness {
        CaptureSupport::Ready { shortcoming, .. } => {
            shortcoming.as_ref().map(|why| format!("stacks of stalls are incomplete: {why}"))
        }
        CaptureSupport::Untested(why) => Some(format!("stalls are reported without stacks for now: {why}")),
        CaptureSupport::Unavailable(why) => Some(format!("stalls are reported without stacks: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Agent;

    #[test]
    fn incidents_are_kept_unless_that_is_turned_off() {
        for are_kept in [true, false] {
            let settings = Agent::builder().keep_incidents(are_kept).settings;
            assert_eq!(Workers::start(&settings).kept.is_some(), are_kept);
        }
    }
}
