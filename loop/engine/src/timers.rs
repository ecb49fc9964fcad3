//! Timers: one-shot, re-armable and repeating, in Node's exact order.
//!
//! All timers share one alarm, as Node's share one `uv_timer_t`. When it is due, a pass runs the due lists one after
//! the other ([`TimerLists`]), each from its front, draining ticks and microtasks between two callbacks. Timers made in
//! a pass never run in it. Time is in whole milliseconds; a callback that blocks makes later timers late, never early.
//!
//! # Source
//! `setupTimers`, `processTimers`, `listOnTimeout` in `lib/internal/timers.js` and `Environment::RunTimers` of Node v20.

use crate::call::{Many, Once};
use crate::core::What;
use crate::cx::Cx;
use crate::key::Key;
use crate::timer_lists::{Armed, ListRef, NodeId, TimerLists};
use loopscope_probe::{HandleType, Kind, Life, Phase};
use std::panic::Location;
use std::time::Duration;

/// Passes within one phase: a drained job may block until the alarm is due again, and must not keep the loop from its
/// poll that way for ever. libuv 1.46 has no bound here, later ones run one.
const PASSES_PER_PHASE: usize = 8;

/// The largest delay that Node takes; anything above becomes 1 ms.
const NODE_DELAY_MS_MAX: f64 = 2_147_483_647.0;

/// The largest delay, some 140 million years: sums of it and the time do not overflow.
const DELAY_MS_MAX: u64 = u64::MAX / 4;

/// A timer's entry.
pub(crate) struct Timer<S: 'static> {
    node: NodeId,
    action: Action<S>,
    /// It fired and is not armed; only a re-armable timer is still there then.
    is_spent: bool,
}

/// What a timer does when it is due. A missing callback is running.
enum Action<S: 'static> {
    Once(Once<S>),
    Rearmable(Option<Many<S>>),
    Every(Option<Many<S>>),
}

impl<S: 'static> Timer<S> {
    pub(crate) fn handle_type(&self) -> HandleType {
        match self.action {
            Action::Every(_) => HandleType::Interval,
            Action::Once(_) | Action::Rearmable(_) => HandleType::Timeout,
        }
    }
}

/// The lists and the one alarm.
#[derive(Debug)]
pub(crate) struct Timers {
    pub(crate) lists: TimerLists,
    /// When the alarm is due, in milliseconds of the loop's clock.
    alarm_ms: Option<u64>,
    /// Whether the alarm keeps the loop alive.
    is_alarm_ref: bool,
    next_expiry_ms: u64,
    /// Armed timers that are referenced.
    referenced: usize,
}

impl Timers {
    pub(crate) fn new() -> Self {
        let lists = TimerLists::default();
        Timers { lists, alarm_ms: None, is_alarm_ref: true, next_expiry_ms: u64::MAX, referenced: 0 }
    }

    pub(crate) fn keep_alive(&self) -> bool {
        self.alarm_ms.is_some() && self.is_alarm_ref
    }

    /// Returns when the poll must end for timers, also for unreferenced ones.
    pub(crate) fn alarm_ms(&self) -> Option<u64> {
        self.alarm_ms
    }

    /// Returns how many timers keep the loop alive.
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.alarm_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Puts a node at the end of its list, and the alarm earlier where that made a list that expires first.
    fn arm(&mut self, node: NodeId, start_ms: u64, now_ms: u64) {
        if let Some(expiry_ms) = self.lists.link(node, start_ms)
            && self.next_expiry_ms > expiry_ms
        {
            self.alarm_ms = Some(now_ms.saturating_add(self.lists.duration_ms(node)));
            self.next_expiry_ms = expiry_ms;
        }
    }

    pub(crate) fn reference(&mut self) {
        self.is_alarm_ref |= self.referenced == 0;
        self.referenced += 1;
    }

    pub(crate) fn unreference(&mut self) {
        self.referenced -= 1;
        self.is_alarm_ref &= self.referenced > 0;
    }

    /// Forgets a timer that was taken out of its slot.
    pub(crate) fn clear<S>(&mut self, timer: &Timer<S>, is_ref: bool) {
        let duration_ms = self.lists.duration_ms(timer.node);
        self.lists.remove(timer.node);
        if !timer.is_spent && is_ref {
            self.lists.drop_list_if_empty(duration_ms);
            self.unreference();
        }
    }

    /// Changes whether a timer keeps the loop alive.
    pub(crate) fn set_ref<S>(&mut self, timer: &Timer<S>, is_ref: bool) {
        match (timer.is_spent, is_ref) {
            (true, _) => {}
            (false, true) => self.reference(),
            (false, false) => self.unreference(),
        }
    }
}

/// Rounds a delay up to whole milliseconds, at least one: a timer never fires before its delay is over.
fn whole_ms(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).clamp(1, DELAY_MS_MAX)
}

/// Reads a delay as Node does: not a number, below 1 or above 2^31 - 1 is 1; the fraction is cut off.
fn node_ms(delay_ms: f64) -> u64 {
    if (1.0..=NODE_DELAY_MS_MAX).contains(&delay_ms) { delay_ms as u64 } else { 1 }
}

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback once, `delay` from now at the earliest. The delay is rounded up to whole milliseconds, at least
    /// one. Node's `setTimeout`.
    #[track_caller]
    pub fn after(&mut self, delay: Duration, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.after_at(Location::caller(), delay, Box::new(run))
    }

    pub(crate) fn after_at(&mut self, at: &'static Location<'static>, delay: Duration, run: Once<S>) -> Key {
        self.start(at, whole_ms(delay), Action::Once(run))
    }

    /// Like [`Cx::after`], with Node's reading of the delay in milliseconds: the fraction is cut off, and what is not
    /// a number, below 1 or above 2^31 - 1 becomes 1.
    #[track_caller]
    pub fn after_ms(&mut self, delay_ms: f64, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Location::caller(), node_ms(delay_ms), Action::Once(Box::new(run)))
    }

    /// Like [`Cx::after`], and after it fired [`Cx::refresh`] arms it again. Its slot is kept until it is closed.
    #[track_caller]
    pub fn rearmable(&mut self, delay: Duration, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Location::caller(), whole_ms(delay), Action::Rearmable(Some(Box::new(run))))
    }

    /// Like [`Cx::rearmable`], with Node's reading of the delay in milliseconds (see [`Cx::after_ms`]).
    #[track_caller]
    pub fn rearmable_ms(&mut self, delay_ms: f64, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Location::caller(), node_ms(delay_ms), Action::Rearmable(Some(Box::new(run))))
    }

    /// Runs a callback every `period` until it is closed; never catches up on what it missed. Node's `setInterval`.
    #[track_caller]
    pub fn every(&mut self, period: Duration, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Location::caller(), whole_ms(period), Action::Every(Some(Box::new(run))))
    }

    /// Like [`Cx::every`], with Node's reading of the period in milliseconds (see [`Cx::after_ms`]).
    #[track_caller]
    pub fn every_ms(&mut self, period_ms: f64, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Location::caller(), node_ms(period_ms), Action::Every(Some(Box::new(run))))
    }

    fn start(&mut self, at: &'static Location<'static>, delay_ms: u64, action: Action<S>) -> Key {
        let core = &mut *self.core;
        let site = core.site(at, Kind::Timer);
        // The node needs the key and the entry the node, so the key is filled in afterwards.
        let node = core.timers.lists.add(delay_ms);
        let key = core.insert(site, What::Timer(Timer { node, action, is_spent: false }));
        core.timers.lists.set_key(node, key);
        core.timers.reference();
        let now_ms = core.clock.refresh();
        core.timers.arm(node, now_ms, now_ms);
        key
    }

    /// Starts a timer's delay anew, at the end of its list; a re-armable one that fired is armed again. Returns
    /// `false` for a stale key and for what is not a timer.
    pub fn refresh(&mut self, key: Key) -> bool {
        let core = &mut *self.core;
        let Some(entry) = core.slots.get_mut(key) else { return false };
        let What::Timer(timer) = &mut entry.what else { return false };
        let now_ms = core.clock.refresh();
        core.timers.arm(timer.node, now_ms, now_ms);
        if std::mem::take(&mut timer.is_spent) && entry.is_ref {
            core.timers.reference();
        }
        true
    }

    pub(crate) fn run_timers(&mut self) {
        if !self.core.timers.is_due(self.core.clock.now_ms()) {
            return;
        }
        self.core.enter_phase(Phase::Timers);
        for _ in 0..PASSES_PER_PHASE {
            if !self.core.timers.is_due(self.core.clock.now_ms()) || !self.goes_on() {
                break;
            }
            self.core.timers.alarm_ms = None;
            let next_ms = self.run_due_lists();
            let (timers, now_ms) = (&mut self.core.timers, self.core.clock.now_ms());
            if let Some(next_ms) = next_ms {
                timers.alarm_ms = Some(now_ms.saturating_add(next_ms.saturating_sub(now_ms).max(1)));
            }
            timers.is_alarm_ref = next_ms.is_some() && timers.referenced > 0;
            // The last callback's ticks run after the alarm is set, as in Node.
            self.drain();
        }
    }

    /// Runs the lists that are due and returns when the next one is.
    fn run_due_lists(&mut self) -> Option<u64> {
        let now_ms = self.core.clock.refresh();
        if let Some(probe) = &self.core.probe {
            self.core.clock.anchor(probe.clock());
        }
        self.core.timers.next_expiry_ms = u64::MAX;
        let mut has_run = false;
        while let Some((list, expiry_ms)) = self.core.timers.lists.first() {
            if expiry_ms > now_ms || !self.goes_on() {
                self.core.timers.next_expiry_ms = expiry_ms;
                return Some(expiry_ms);
            }
            if has_run {
                self.drain();
            }
            has_run = true;
            self.run_list(list, now_ms);
        }
        None
    }

    /// Runs a list from its front until a timer is not due yet, or the list is empty.
    fn run_list(&mut self, list: ListRef, now_ms: u64) {
        let mut has_run = false;
        while let Some(armed) = self.core.timers.lists.front(list) {
            let Armed { key, start_ms, duration_ms, .. } = armed;
            if now_ms.saturating_sub(start_ms) < duration_ms {
                let expiry_ms = start_ms.saturating_add(duration_ms).max(now_ms + 1);
                return self.core.timers.lists.postpone(list, expiry_ms);
            }
            if has_run {
                // What is drained may clear the timer that was chosen; refreshing it does not save it.
                self.drain();
                if !self.goes_on() {
                    return;
                }
            }
            has_run = true;
            if self.core.slots.get(key).is_some() {
                self.fire(armed);
                if !self.goes_on() {
                    return;
                }
            }
        }
        self.core.timers.lists.drop_list(list);
    }

    fn fire(&mut self, armed: Armed) {
        let Armed { node, key, start_ms, duration_ms } = armed;
        self.core.timers.lists.unlink(node);
        let life = self.life(start_ms, start_ms.saturating_add(duration_ms));
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Timer(timer) = &mut entry.what else { return };
        let (mut run, is_interval) = match &mut timer.action {
            Action::Once(_) => return self.fire_once(key, life),
            Action::Rearmable(run) => (run.take(), false),
            Action::Every(run) => (run.take(), true),
        };
        // An interval counts from before its callback.
        let start_ms = if is_interval { self.core.clock.refresh() } else { 0 };
        if let Some(run) = &mut run {
            self.enter(Kind::Timer, site, life, run);
        }
        let core = &mut *self.core;
        let Some(entry) = core.slots.get_mut(key) else { return };
        let What::Timer(timer) = &mut entry.what else { return };
        match &mut timer.action {
            Action::Once(_) => {}
            Action::Rearmable(slot) | Action::Every(slot) => *slot = run,
        }
        if is_interval {
            core.timers.arm(node, start_ms, core.clock.now_ms());
        } else if !core.timers.lists.is_linked(node) {
            timer.is_spent = true;
            core.timers.referenced -= usize::from(entry.is_ref);
        }
    }

    fn fire_once(&mut self, key: Key, life: Life) {
        let Some(entry) = self.core.remove(key) else { return };
        let (What::Timer(timer), site) = (entry.what, entry.site) else { return };
        self.core.timers.lists.remove(timer.node);
        self.core.timers.referenced -= usize::from(entry.is_ref);
        if let Action::Once(run) = timer.action {
            self.enter(Kind::Timer, site, life, run);
        }
    }

    /// Returns when a timer was started and when it was due, as stamps.
    fn life(&self, start_ms: u64, due_ms: u64) -> Life {
        let Some(probe) = &self.core.probe else { return Life::UNKNOWN };
        let stamp = |at_ms| self.core.clock.ticks_at(at_ms, probe.clock());
        Life { submitted: stamp(start_ms), ready: stamp(due_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_up_and_node_s_are_cut_off() {
        let up = [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (15_000_000, 15)];
        assert!(up.iter().all(|(ns, ms)| whole_ms(Duration::from_nanos(*ns)) == *ms));
        assert_eq!(whole_ms(Duration::MAX), DELAY_MS_MAX);
        let node = [(0.0, 1), (-5.0, 1), (f64::NAN, 1), (1.9, 1), (2.999, 2), (2_147_483_648.0, 1)];
        assert!(node.iter().all(|(delay, ms)| node_ms(*delay) == *ms));
    }
}
