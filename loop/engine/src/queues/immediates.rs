//! The queue of immediates: what the check phase runs, and what was cleared since.

use crate::callback::{Once, Site, State};
use crate::key::Key;
use loopscope_probe::Ticks;
use std::collections::VecDeque;

/// The queue of immediates. They have no slots: the key of one is its number, which is its place in the queue, so that
/// queueing and running one touches nothing else. A cleared one stays as a hole until its turn.
pub(crate) struct Immediates<S: State> {
    pub(crate) queue: VecDeque<WaitingImmediate<S>>,
    /// The number of the one at the front.
    pub(crate) front: u64,
    /// How many at the end of the queue were made by the callback that runs now: they are ready when it ends.
    pub(crate) unstamped: usize,
    /// How many keep the loop alive.
    pub(crate) referenced: usize,
    /// How many are not cleared, and how many of them the probe knows of.
    pub(crate) open: usize,
    open_published: usize,
    /// The number of the first that the probe does not know of.
    told: u64,
}

pub(crate) struct WaitingImmediate<S: State> {
    /// `None` once it is cleared.
    pub(crate) run: Option<Once<S>>,
    pub(crate) site: Site,
    pub(crate) ready: Ticks,
    pub(crate) is_ref: bool,
}

impl<S: State> Immediates<S> {
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
    pub(crate) fn has_news(&self) -> bool {
        self.open != self.open_published || self.told != self.front + self.queue.len() as u64
    }

    /// Returns how the number of open immediates changed since the last call.
    #[inline]
    pub(crate) fn open_change(&mut self) -> i64 {
        self.open as i64 - std::mem::replace(&mut self.open_published, self.open) as i64
    }

    /// Returns how many were queued since the last call.
    #[inline]
    pub(crate) fn queued_count(&mut self) -> u64 {
        let next = self.front + self.queue.len() as u64;
        next - std::mem::replace(&mut self.told, next)
    }

    fn get(&self, key: Key) -> Option<&WaitingImmediate<S>> {
        let place = key.immediate()?.checked_sub(self.front)?;
        self.queue.get(usize::try_from(place).ok()?).filter(|waiting| waiting.run.is_some())
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut WaitingImmediate<S>> {
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
