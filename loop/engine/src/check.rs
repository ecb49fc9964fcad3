//! Immediates: what runs in the check phase, right after the poll.
//!
//! The phase runs those that are queued when it begins; what they queue waits for the next iteration. A referenced
//! immediate keeps the loop alive and its poll from waiting; an unreferenced one only rides along.
//!
//! # Source
//! `processImmediate` in `lib/internal/timers.js` of Node v20.

use crate::callback::{Once, Site};
use crate::core::Core;
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{HandleType, Kind, Life, Phase, Ticks};
use std::collections::VecDeque;
use std::panic::Location;

/// The queue of immediates. They have no slots: the key of one is its number, which is its place in the queue, so that
/// queueing and running one touches nothing else. A cleared one stays as a hole until its turn.
pub(crate) struct Immediates<S: 'static> {
    queue: VecDeque<Waiting<S>>,
    /// The number of the one at the front.
    front: u64,
    /// How many at the end of the queue were made by the callback that runs now: they are ready when it ends.
    unstamped: usize,
    /// How many keep the loop alive.
    pub(crate) referenced: usize,
    /// How many are not cleared, and how many of them the probe knows of.
    open: usize,
    open_published: usize,
    /// The number of the first that the probe does not know of.
    told: u64,
}

struct Waiting<S: 'static> {
    /// `None` once it is cleared.
    run: Option<Once<S>>,
    site: Site,
    ready: Ticks,
    is_ref: bool,
}

impl<S: 'static> Immediates<S> {
    pub(crate) fn new() -> Self {
        let queue = VecDeque::new();
        Immediates { queue, front: 0, unstamped: 0, referenced: 0, open: 0, open_published: 0, told: 0 }
    }

    /// The callback that made the last ones ended at `end`.
    #[inline(always)]
    pub(crate) fn stamp(&mut self, end: Ticks) {
        match self.unstamped {
            0 => return,
            1 => {
                if let Some(waiting) = self.queue.back_mut() {
                    waiting.ready = end;
                }
            }
            unstamped => {
                let from = self.queue.len().saturating_sub(unstamped);
                self.queue.range_mut(from..).for_each(|waiting| waiting.ready = end);
            }
        }
        self.unstamped = 0;
    }

    /// Tells whether any were queued, run or cleared since the probe was last told.
    #[inline]
    fn has_news(&self) -> bool {
        self.open != self.open_published || self.told != self.front + self.queue.len() as u64
    }

    /// Returns how the number of open immediates changed since the last call.
    pub(crate) fn open_change(&mut self) -> i64 {
        self.open as i64 - std::mem::replace(&mut self.open_published, self.open) as i64
    }

    /// Returns how many were queued since the last call.
    pub(crate) fn queued_count(&mut self) -> u64 {
        let next = self.front + self.queue.len() as u64;
        next - std::mem::replace(&mut self.told, next)
    }

    fn get(&self, key: Key) -> Option<&Waiting<S>> {
        let place = key.immediate()?.checked_sub(self.front)?;
        self.queue.get(usize::try_from(place).ok()?).filter(|waiting| waiting.run.is_some())
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Waiting<S>> {
        let place = key.immediate()?.checked_sub(self.front)?;
        self.queue.get_mut(usize::try_from(place).ok()?).filter(|waiting| waiting.run.is_some())
    }

    /// Tells whether it keeps the loop alive; `None` for a stale key or another kind of key.
    pub(crate) fn is_ref(&self, key: Key) -> Option<bool> {
        self.get(key).map(|waiting| waiting.is_ref)
    }

    /// Changes whether it keeps the loop alive. `false` for a stale key.
    pub(crate) fn set_ref(&mut self, key: Key, is_ref: bool) -> bool {
        let Some(waiting) = self.get_mut(key) else { return false };
        match (std::mem::replace(&mut waiting.is_ref, is_ref), is_ref) {
            (false, true) => self.referenced += 1,
            (true, false) => self.referenced -= 1,
            _ => {}
        }
        true
    }

    /// Returns the site, for giving it a name.
    pub(crate) fn site_mut(&mut self, key: Key) -> Option<&mut Site> {
        self.get_mut(key).map(|waiting| &mut waiting.site)
    }

    /// Takes its callback out; `None` for a stale key.
    pub(crate) fn clear(&mut self, key: Key) -> Option<Once<S>> {
        let waiting = self.get_mut(key)?;
        let (run, is_ref) = (waiting.run.take()?, waiting.is_ref);
        self.referenced -= usize::from(is_ref);
        self.open -= 1;
        Some(run)
    }
}

impl<S: 'static> Core<S> {
    /// Tells the probe how many immediates there are and were queued: once an iteration, instead of twice for each.
    pub(crate) fn publish_immediates(&mut self) {
        if let Some(probe) = &mut self.probe
            && self.immediates.has_news()
        {
            probe.handles(HandleType::Immediate, self.immediates.open_change());
            probe.submitted_many(Kind::Immediate, self.immediates.queued_count());
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Queues a callback for the check phase of this iteration, or of the next one when called from that phase.
    /// Node's `setImmediate`.
    #[track_caller]
    #[inline]
    pub fn immediate(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.immediate_at(Location::caller(), Box::new(run))
    }

    #[inline(always)]
    fn immediate_at(&mut self, at: &'static Location<'static>, run: Once<S>) -> Key {
        let site = self.core.site(at, Kind::Immediate);
        let immediates = &mut self.core.immediates;
        let key = Key::of_immediate(immediates.front + immediates.queue.len() as u64);
        immediates.queue.push_back(Waiting { run: Some(run), site, ready: Ticks::NONE, is_ref: true });
        immediates.unstamped += 1;
        immediates.referenced += 1;
        immediates.open += 1;
        key
    }

    #[inline]
    pub(crate) fn run_immediates(&mut self) {
        if !self.core.immediates.queue.is_empty() {
            self.run_queued_immediates();
        }
    }

    #[inline(never)]
    fn run_queued_immediates(&mut self) {
        let mut left = self.core.immediates.queue.len();
        self.core.enter_phase(Phase::Check);
        while left > 0 && self.goes_on() {
            left -= 1;
            let immediates = &mut self.core.immediates;
            let Some(Waiting { run, site, ready, is_ref }) = immediates.queue.pop_front() else { break };
            immediates.front += 1;
            let Some(run) = run else { continue };
            immediates.referenced -= usize::from(is_ref);
            immediates.open -= 1;
            self.enter(Kind::Immediate, site, Life::ready_at(ready), run);
            self.drain();
        }
    }
}
