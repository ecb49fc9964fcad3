//! The incidents that the agent has, for who asks.

use crate::incident::Incident;
use crate::sidecar::State;
use std::sync::Arc;

impl State {
    /// Returns the incidents in memory, newest first; those under way as they are now.
    pub(crate) fn incidents(&mut self) -> Vec<Arc<Incident>> {
        self.refresh();
        self.desk.shelf.newest_first().cloned().collect()
    }

    /// Returns the incident with this id.
    pub(crate) fn incident(&mut self, id: &str) -> Option<Arc<Incident>> {
        self.refresh();
        self.desk.shelf.find(id)
    }

    fn refresh(&mut self) {
        for watched in &mut self.loops {
            watched.cases.refresh(watched.page.page(), &mut self.desk);
        }
    }
}
