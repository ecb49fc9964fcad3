//! The timers of a loop: what each is, their lists, and the one alarm that all of them share.
//!
//! When the alarm is due the timers phase runs the lists ([`phases`](crate::phases)).
//!
//! # Source
//! `setupTimers` in `lib/internal/timers.js` of Node v20.

use crate::callback::State;
use crate::key::Key;
use crate::queues::timer_lists::{NodeId, TimerLists};
use crate::sites::Place;

/// What a program started. 24 bytes, for there may be a million of them.
pub(crate) struct Timer<S: State> {
    /// Missing while it runs.
    pub(crate) run: Option<Box<dyn Callback<S>>>,
    pub(crate) place: Place,
    pub(crate) repeat: Repeat,
    pub(crate) is_ref: bool,
    /// It fired and is not armed; only a re-armable timer is still there then.
    pub(crate) is_spent: bool,
}

/// What becomes of a timer that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    /// It is kept until it is closed, and a refresh arms it again.
    Rearmable,
    Every,
}

/// The callback of a timer: one that runs once, or one that runs again and again. One pointer for both keeps a timer
/// small.
pub(crate) trait Callback<S: State> {
    fn run_once(self: Box<Self>, cx: &mut S::Cx<'_>);
    fn run_again(&mut self, cx: &mut S::Cx<'_>);
}

/// The lists and the one alarm.
pub(crate) struct Timers<S: State> {
    pub(crate) lists: TimerLists<Timer<S>>,
    /// When the alarm is due, in milliseconds of the loop's clock.
    pub(crate) alarm_ms: Option<u64>,
    /// Whether the alarm keeps the loop alive.
    pub(crate) is_alarm_ref: bool,
    pub(crate) next_expiry_ms: u64,
    /// Timers that are referenced, and armed or running.
    pub(crate) referenced: usize,
    pub(crate) counts: Counts,
    /// The counts that the probe knows of.
    pub(crate) published: Counts,
}

/// What the probe is told once an iteration, instead of twice for each timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) started: u64,
    pub(crate) timeouts: i64,
    pub(crate) intervals: i64,
}

impl Counts {
    #[inline]
    pub(crate) fn open(&mut self, repeat: Repeat) -> &mut i64 {
        match repeat {
            Repeat::Every => &mut self.intervals,
            Repeat::Once | Repeat::Rearmable => &mut self.timeouts,
        }
    }
}

impl<S: State> Timers<S> {
    pub(crate) fn new() -> Self {
        Timers {
            lists: TimerLists::new(),
            alarm_ms: None,
            is_alarm_ref: true,
            next_expiry_ms: u64::MAX,
            referenced: 0,
            counts: Counts::default(),
            published: Counts::default(),
        }
    }

    #[inline]
    pub(crate) fn keep_alive(&self) -> bool {
        self.alarm_ms.is_some() && self.is_alarm_ref
    }

    /// Returns when the poll must end for timers, also for unreferenced ones.
    #[inline]
    pub(crate) fn alarm_ms(&self) -> Option<u64> {
        self.alarm_ms
    }

    /// Returns how many timers keep the loop alive.
    #[inline]
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// Returns how many timers are armed.
    #[inline]
    pub(crate) fn armed_count(&self) -> usize {
        self.lists.armed_count()
    }

    #[inline]
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.alarm_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    #[inline]
    pub(crate) fn start(&mut self, duration_ms: u64, timer: Timer<S>, now_ms: u64) -> Key {
        self.counts.started += 1;
        *self.counts.open(timer.repeat) += 1;
        let node = self.lists.add(duration_ms, timer);
        self.reference();
        self.arm(node, now_ms, now_ms);
        self.lists.key(node)
    }

    /// Puts a node at the end of its list, and the alarm earlier where that made a list that expires first.
    #[inline]
    pub(crate) fn arm(&mut self, node: NodeId, start_ms: u64, now_ms: u64) {
        if let Some((duration_ms, expiry_ms)) = self.lists.link(node, start_ms)
            && self.next_expiry_ms > expiry_ms
        {
            self.alarm_ms = Some(now_ms.saturating_add(duration_ms));
            self.next_expiry_ms = expiry_ms;
        }
    }

    #[inline]
    pub(crate) fn reference(&mut self) {
        self.is_alarm_ref |= self.referenced == 0;
        self.referenced += 1;
    }

    #[inline]
    fn unreference(&mut self) {
        self.referenced -= 1;
        self.is_alarm_ref &= self.referenced > 0;
    }

    /// Takes a timer out for good. Returns `false` for a stale key, and for one that is not a timer's.
    #[inline]
    pub(crate) fn clear(&mut self, key: Key) -> bool {
        let Some(node) = self.lists.find(key) else { return false };
        let Timer { repeat, is_ref, is_spent, .. } = *self.lists.timer(node);
        *self.counts.open(repeat) -= 1;
        match is_ref && !is_spent {
            // Node keeps the lists of unreferenced timers, which are likely to be used again.
            false => _ = self.lists.remove(node),
            true => {
                self.lists.remove_with_list(node);
                self.unreference();
            }
        }
        true
    }

    /// Tells whether a timer keeps the loop alive while it is armed; `None` for a stale key.
    pub(crate) fn is_ref(&self, key: Key) -> Option<bool> {
        self.lists.find(key).map(|node| self.lists.timer(node).is_ref)
    }

    /// Changes whether a timer keeps the loop alive. `false` for a stale key.
    pub(crate) fn set_ref(&mut self, key: Key, is_ref: bool) -> bool {
        let Some(node) = self.lists.find(key) else { return false };
        let timer = self.lists.timer_mut(node);
        let was_ref = std::mem::replace(&mut timer.is_ref, is_ref);
        match (timer.is_spent || was_ref == is_ref, is_ref) {
            (true, _) => {}
            (false, true) => self.reference(),
            (false, false) => self.unreference(),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_small() {
        assert_eq!(size_of::<Timer<()>>(), 24);
    }
}
