//! Where incidents are numbered and handed out: to the store in memory, to the log, to the disk, to actions.

use crate::watch::incident_memory::IncidentMemory;
use crate::watch::incident_stacks;
use crate::watch::log_report::LogReport;
use crate::watch::stack_symbolizer::{Named, Work};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::incident::Incident;
use std::sync::Arc;

/// The agent's own queue. It hands out nothing itself: what lies on it is taken away after each look.
#[derive(Debug, Default)]
pub(crate) struct IncidentQueue {
    numbers: u64,
    pub store: IncidentMemory,
    /// Lines for the log.
    pub said: Vec<LogReport>,
    /// Incidents to be written to disk.
    pub kept: Vec<Arc<Incident>>,
    /// Stacks to be named.
    pub work: Vec<Work>,
    /// Stacks that could not be named.
    pub unnamed: Vec<Named>,
    /// Incidents to act on.
    pub acts: Vec<Arc<Incident>>,
}

impl IncidentQueue {
    /// Returns the next number of an incident, from 1.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers = self.numbers.saturating_add(1);
        self.numbers
    }

    /// Returns the number of the last incident.
    pub(crate) fn numbers(&self) -> u64 {
        self.numbers
    }

    /// Goes on after this number, where it is above the last one's.
    pub(crate) fn go_on_after(&mut self, number: u64) {
        self.numbers = self.numbers.max(number);
    }

    /// Puts an incident in the store, and on disk where that is asked for.
    pub(crate) fn keep(&mut self, incident: Incident, is_for_disk: bool) -> Arc<Incident> {
        let incident = Arc::new(incident);
        self.store.put(incident.clone());
        if is_for_disk {
            self.kept.push(incident.clone());
        }
        incident
    }
    /// Adds a stack that was named late to an incident that nobody follows any more, where it is still in the store.
    pub(crate) fn join(&mut self, named: &Named) {
        let id = IncidentId::new(ProcessId::this_process(), named.number);
        let Some(kept) = self.store.find(id).filter(|_| !named.frames.is_empty()) else { return };
        let mut incident = Incident::clone(&kept);
        incident_stacks::add(&mut incident, named);
        self.keep(incident, true);
    }
}
