//! Between two ticks: observers that want to be asked more often than pages have to be read.
//!
//! A tick reads every page and the kernel's accounts of its thread. It has to come when what runs becomes a stall: a threshold after
//! its begin, or after the last tick. An observer has to be asked sooner, because what it tells (when a busy
//! period began, that there was a hidden poll) is as old as its last answer. In between, it is asked alone, and its answer written
//! to the page: a few loads and stores.
//!
//! A tick comes at once where a loop has come or gone, a stall has ended, or an incident is under way, and where no observer wants to
//! be asked again.

use crate::state::observers::ObserverRequests;
use crate::state::{AgentState, Pace, Watched};
use loopscope_probe::Ticks;
use loopscope_probe::raw::registry;
use std::time::Duration;

/// A tick is made so much earlier, in nanoseconds, where the agent is awake for an observer: one wake-up less.
const EARLY_NS: u64 = 3_000_000;
/// And so much earlier where no observer wants to be asked before it: each tick would be a wake-up of its own otherwise.
const EARLY_ALONE_NS: u64 = 10_000_000;
/// A busy period is a stall when it has lasted for its threshold; a tick that finds it comes so much later, in nanoseconds: the page's
/// clock and the one that wakes the agent differ by some millionths, and a tick just before would be one too many.
const AFTER_NS: u64 = 200_000;

impl AgentState {
    /// Asks the observers, where a tick is not due and nothing calls for one. Returns when to look again; `None` where a tick is to
    /// be made now.
    pub(super) fn ask_between_ticks(&mut self, now: Ticks, notes: &mut Vec<String>) -> Option<Pace> {
        let is_due = now.0 >= self.tick_at_ns || self.changes != Some(registry::changes());
        if is_due || self.loops.iter().any(Watched::needs_ticks) {
            return None;
        }
        if self.may_tick_early(now, EARLY_NS) {
            return None;
        }
        self.wake.look_between(now.0);
        let mut wishes = ObserverRequests::default();
        let mut has_news = false;
        for watched in &mut self.loops {
            match watched.ask_between(notes, &mut wishes) {
                News::Nothing => {}
                News::StallIn(ns) => self.tick_at_ns = self.tick_at_ns.min(now.0.saturating_add(ns)),
                News::Now => has_news = true,
            }
        }
        let (again_ns, asleep_ns) = wishes.arm(&mut self.next_events, now.0);
        let until_tick_ns = self.tick_at_ns.saturating_sub(now.0);
        // Where nobody wants to be asked again, the agent may fall asleep: a tick decides.
        let delay_ns = again_ns?.min(until_tick_ns).min(asleep_ns.unwrap_or(u64::MAX));
        if has_news || delay_ns == until_tick_ns && self.may_tick_early(now, EARLY_ALONE_NS) {
            return None;
        }
        self.wake.plan(Some(now.0.saturating_add(delay_ns)));
        Some(Pace::Again(Duration::from_nanos(delay_ns)))
    }

    /// Tells whether a tick may be made now that is due within so many nanoseconds. What is about to become a stall is found to be one
    /// when it is.
    fn may_tick_early(&self, now: Ticks, within_ns: u64) -> bool {
        self.tick_at_ns - now.0 < within_ns && !self.loops.iter().any(Watched::is_busy_for_long)
    }
}

/// What the answer of an observer means for the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Nothing,
    /// A busy period that began, also some time ago, is a stall in so long, in nanoseconds.
    StallIn(u64),
    /// The loop has ended, or a busy period that was a stall.
    Now,
}

impl Watched {
    /// Tells whether ticks follow something of this loop.
    fn needs_ticks(&self) -> bool {
        self.control.is_none() || self.tracker.follows_something() || self.watch.stalls.next_ns().is_some()
    }

    /// Tells whether the loop has been busy for half its threshold.
    fn is_busy_for_long(&self) -> bool {
        let (since, clock) = (self.page.page().busy_since(), self.page.clock());
        since != Ticks::NONE && clock.ns_between(since, clock.now()) > self.thresholds.warning_ns / 2
    }

    /// Asks the loop's observer.
    fn ask_between(&mut self, notes: &mut Vec<String>, wishes: &mut ObserverRequests) -> News {
        if self.page.observer().is_none() {
            return News::Nothing;
        }
        let before = self.page.page().busy_since();
        self.ask_observer(notes, wishes);
        let (page, clock) = (self.page.page(), self.page.clock());
        let (after, at) = (page.busy_since(), clock.now());
        let warning_ns = self.thresholds.warning_ns;
        let was_stall = before != Ticks::NONE && clock.ns_between(before, at) > warning_ns;
        match before != after {
            _ if self.page.is_retired() => News::Now,
            true if was_stall => News::Now,
            true if after != Ticks::NONE => {
                let age_ns = clock.ns_between(after, at);
                News::StallIn(warning_ns.saturating_add(AFTER_NS).saturating_sub(age_ns))
            }
            _ => News::Nothing,
        }
    }
}
