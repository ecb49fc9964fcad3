//! The incidents that the agent has: handed out to the threads that write, name and act, and for who asks.

use crate::state::{AgentState, Seen};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::Incident;
use std::sync::Arc;

impl AgentState {
    /// Returns the incidents in memory, newest first; those under way as they are now.
    pub(crate) fn incidents(&mut self) -> Vec<Arc<Incident>> {
        self.refresh();
        self.queue.store.newest_first().cloned().collect()
    }

    /// Returns the incident with this id.
    pub(crate) fn incident(&mut self, id: IncidentId) -> Option<Arc<Incident>> {
        self.refresh();
        self.queue.store.find(id)
    }

    fn refresh(&mut self) {
        for watched in &mut self.loops {
            watched.tracker.refresh(watched.page.page(), &mut self.queue);
        }
    }

    /// Takes over the names of stacks that have come.
    pub(super) fn take_names(&mut self) {
        let mut all = std::mem::take(&mut self.queue.unnamed);
        all.extend(self.workers.named());
        for named in all {
            let followed = self.loops.iter_mut().find_map(|watched| {
                watched.tracker.named(&named, watched.page.page(), &mut self.queue).then_some(watched)
            });
            match followed {
                Some(watched) if named.is_outside => watched.found_outside(named.number),
                Some(_) => {}
                None => self.queue.join(&named),
            }
        }
    }

    /// Hands out what lies in the queue.
    pub(super) fn hand_out(&mut self, seen: &mut Seen) {
        seen.reports.append(&mut self.queue.said);
        self.workers.hand_out(&mut self.queue);
        seen.notes.append(&mut self.workers.notes());
    }

    /// The agent ends: returns what was not said yet.
    pub(crate) fn farewell(&mut self) -> Vec<crate::watch::log_report::LogReport> {
        for watched in &mut self.loops {
            watched.tracker.farewell(&watched.watch.called.label, &mut self.queue);
        }
        self.workers.hand_out(&mut self.queue);
        std::mem::take(&mut self.queue.said)
    }
}
