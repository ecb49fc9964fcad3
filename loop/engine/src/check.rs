//! Immediates: what runs in the check phase, right after the poll.
//!
//! The phase runs those that are queued when it begins; what they queue waits for the next iteration. A referenced
//! immediate keeps the loop alive and its poll from waiting; an unreferenced one only rides along.
//!
//! # Source
//! `processImmediate` in `lib/internal/timers.js` of Node v20.

use crate::call::Once;
use crate::core::What;
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{Kind, Life, Phase, Ticks};
use std::collections::VecDeque;
use std::panic::Location;

/// The queue of immediates. Their callbacks are in the slots; a cleared one leaves its stale key here.
#[derive(Debug, Default)]
pub(crate) struct Immediates {
    queue: VecDeque<Waiting>,
    /// How many at the end of the queue were made by the callback that runs now: they are ready when it ends.
    unstamped: usize,
    /// How many keep the loop alive.
    pub(crate) referenced: usize,
}

#[derive(Debug)]
struct Waiting {
    key: Key,
    ready: Ticks,
}

impl Immediates {
    #[inline]
    pub(crate) fn push(&mut self, key: Key) {
        self.queue.push_back(Waiting { key, ready: Ticks::NONE });
        self.unstamped += 1;
        self.referenced += 1;
    }

    /// The callback that made the last ones ended at `end`.
    #[inline(always)]
    pub(crate) fn stamp(&mut self, end: Ticks) {
        if self.unstamped > 0 {
            let from = self.queue.len().saturating_sub(self.unstamped);
            for waiting in self.queue.range_mut(from..) {
                waiting.ready = end;
            }
            self.unstamped = 0;
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Queues a callback for the check phase of this iteration, or of the next one when called from that phase.
    /// Node's `setImmediate`.
    #[track_caller]
    pub fn immediate(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.immediate_at(Location::caller(), Box::new(run))
    }

    #[inline]
    fn immediate_at(&mut self, at: &'static Location<'static>, run: Once<S>) -> Key {
        let site = self.core.site(at, Kind::Immediate);
        let key = self.core.insert(site, What::Immediate(run));
        self.core.immediates.push(key);
        key
    }

    pub(crate) fn run_immediates(&mut self) {
        let mut left = self.core.immediates.queue.len();
        if left == 0 {
            return;
        }
        self.core.enter_phase(Phase::Check);
        while left > 0 && self.goes_on() {
            left -= 1;
            let Some(Waiting { key, ready }) = self.core.immediates.queue.pop_front() else { break };
            let Some(entry) = self.core.remove(key) else { continue };
            let What::Immediate(run) = entry.what else { continue };
            if entry.is_ref {
                self.core.immediates.referenced -= 1;
            }
            self.enter(Kind::Immediate, entry.site, Life::ready_at(ready), run);
            self.drain();
        }
    }
}
