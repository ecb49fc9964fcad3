//! Asks the observers of loops whose threads do not tell everything, and writes what they saw to the pages.

use crate::state::{AgentState, Watched};
use loopscope_probe::observer::Sighting;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is remembered of one loop's observer.
#[derive(Debug, Default)]
pub(super) struct Observing {
    /// The number of the last hidden poll.
    turn: u64,
    /// It panicked, and is not asked again.
    is_given_up: bool,
}

impl Watched {
    /// Asks the loop's observer, where it has one. Returns within how many nanoseconds it is to be asked again.
    pub(super) fn ask_observer(&mut self, notes: &mut Vec<String>) -> Option<u64> {
        let observer = self.page.observer().filter(|_| !self.observing.is_given_up)?;
        let taken = self.page.clock().now();
        let Ok(sighting) = catch_unwind(AssertUnwindSafe(|| observer.look(taken))) else {
            self.observing.is_given_up = true;
            notes.push(format!(
                "the observer of loop {} panicked and is not asked again: what the loop's thread does not tell is not known",
                self.name
            ));
            return None;
        };
        let control = self.control.as_ref()?;
        let Sighting { turn, is_retired, observed, again_ns, .. } = sighting;
        if std::mem::replace(&mut self.observing.turn, turn) != turn && turn != 0 {
            control.set_turned(taken);
        }
        if let Some(observed) = observed {
            control.set_observed(observed);
        }
        if is_retired {
            control.retire(taken);
        }
        Some(again_ns).filter(|ns| *ns > 0)
    }
}

impl AgentState {
    /// Says farewell to loops that their threads have ceased to run, as if they had ended.
    pub(super) fn let_go_of_the_retired(&mut self) {
        if self.loops.iter().any(|watched| watched.page.is_retired()) {
            // At the next look, which must not wait for a loop to come or go.
            self.changes = None;
        }
    }
}
