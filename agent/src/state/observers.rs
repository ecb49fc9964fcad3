//! Asks the observers of loops whose threads do not tell everything, and writes what they saw to the pages.

use crate::next_event::{Arming, NextEvents};
use crate::state::{AgentState, Watched};
use loopscope_probe::Ticks;
use loopscope_probe::observer::{Asleep, Sighting};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often to look at a loop that waits for something that the agent cannot wait for, in nanoseconds.
const UNARMED_LOOK_NS: u64 = 25_000_000;

/// What the observers of all loops wish, in one look.
#[derive(Debug, Default)]
pub(super) struct ObserverRequests {
    /// To be asked again so soon, in nanoseconds.
    again_ns: Option<u64>,
    /// To be asked so soon if nothing wakes the agent before.
    asleep_ns: Option<u64>,
    sleepers: Vec<(i32, u64)>,
}

impl ObserverRequests {
    fn add(&mut self, sighting: &Sighting) {
        let sooner =
            |known: &mut Option<u64>, ns: u64| *known = Some(known.map_or(ns, |known| known.min(ns)));
        if sighting.again_ns > 0 {
            sooner(&mut self.again_ns, sighting.again_ns);
        }
        if let Some(Asleep { descriptor, within_ns }) = sighting.asleep {
            sooner(&mut self.asleep_ns, within_ns);
            self.sleepers.extend(descriptor.map(|descriptor| (descriptor, within_ns)));
        }
    }

    /// Has what wakes the sleeping loops wake the agent, too. Returns within how many nanoseconds to look again, if there is such a
    /// time, and within how many if all loops wait and nothing wakes the agent.
    pub(super) fn arm(mut self, events: &mut NextEvents, now_ns: u64) -> (Option<u64>, Option<u64>) {
        events.begin();
        for (descriptor, within_ns) in self.sleepers {
            let look_ns = match events.arm(descriptor, now_ns) {
                Arming::Waits => continue,
                // Whether it still waits is asked once more, now that nothing can be missed.
                Arming::New => 1,
                Arming::Look(ns) => ns.min(within_ns),
                Arming::Refused => UNARMED_LOOK_NS.min(within_ns),
            };
            self.again_ns = Some(self.again_ns.map_or(look_ns, |ns| ns.min(look_ns)));
        }
        events.end();
        (self.again_ns, self.asleep_ns)
    }
}

/// What is remembered of one loop's observer.
#[derive(Debug, Default)]
pub(super) struct Observing {
    /// The number of the last hidden poll, and when it was.
    turn: u64,
    turned_at: Ticks,
    /// It panicked, and is not asked again.
    is_given_up: bool,
}

impl Watched {
    /// Asks the loop's observer, where it has one, and adds when it is to be asked again to the `wishes`.
    pub(super) fn ask_observer(&mut self, notes: &mut Vec<String>, wishes: &mut ObserverRequests) {
        let Some(observer) = self.page.observer().filter(|_| !self.observing.is_given_up) else { return };
        let taken = self.page.clock().now();
        let Ok(sighting) = catch_unwind(AssertUnwindSafe(|| observer.look(taken))) else {
            self.observing.is_given_up = true;
            notes.push(format!(
                "the observer of loop {} panicked and is disabled: what only it can observe is unknown from now on",
                self.name
            ));
            return;
        };
        let Some(control) = &self.control else { return };
        wishes.add(&sighting);
        let Sighting { turn, turned_at, is_retired, observed, .. } = sighting;
        if std::mem::replace(&mut self.observing.turn, turn) != turn && turn != 0 {
            let turned_at = turned_at.map_or(taken, |at| at.min(taken));
            self.observing.turned_at = self.observing.turned_at.max(turned_at);
            control.set_turned(self.observing.turned_at);
        }
        if let Some(observed) = observed {
            control.set_observed(observed);
        }
        if is_retired {
            control.retire(taken);
        }
    }

    /// The stack of the incident of this number was one outside the runtime: says so to the loop's observer, where the
    /// incident lasts.
    pub(super) fn found_outside(&mut self, number: u64) {
        let Some(observer) = self.page.observer().filter(|_| !self.observing.is_given_up) else { return };
        if self.tracker.lasts(number, self.page.page().busy_since()) {
            self.observing.is_given_up = catch_unwind(AssertUnwindSafe(|| observer.found_outside())).is_err();
        }
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
