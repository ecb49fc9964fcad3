//! A stall in which the loop's thread sleeps until another one wakes it, because the program wants that: as a worker of a pool does
//! that has nothing to do. Known by the runtime's function that it sleeps in, from the stack that was captured last.

use crate::watch::stack_symbolizer::Named;
use crate::watch::thread_state::Found;
use loopscope_report::compute::classify::FoundState;

/// What is known of one incident.
#[derive(Debug, Default)]
pub(crate) struct ThreadWait {
    /// The system call in which the thread was asleep at the last look.
    asleep_in: Option<String>,
    /// The last stack that has names shows such a wait.
    is_on_stack: bool,
}

impl ThreadWait {
    /// Takes over how the thread was found.
    pub(crate) fn found(&mut self, found: &Found) {
        let call = found.waiting_in.clone();
        self.asleep_in = call.filter(|_| found.state == Some(FoundState::Asleep));
    }

    /// Takes over what a stack shows, once its native frames have names; what comes late is of an earlier one.
    pub(crate) fn named(&mut self, named: &Named) {
        if !named.fingerprint.is_empty() && named.replaces.is_none() {
            self.is_on_stack = named.is_thread_wait;
        }
    }

    /// Tells whether the thread waits so, as far as is known.
    pub(crate) fn lasts(&self) -> bool {
        self.is_on_stack && self.asleep_in.is_some()
    }

    /// Returns the system call in which the thread was asleep at the last look.
    pub(crate) fn asleep_in(&self) -> Option<&str> {
        self.asleep_in.as_deref()
    }
}
