//! Timers: one-shot, re-armable and repeating, in Node's exact order.
//!
//! All timers share one alarm, as Node's share one `uv_timer_t`. When it is due, a pass runs the due lists one after
//! the other ([`timer_lists`](crate::queues::timer_lists)), each from its front, draining ticks and microtasks between
//! two callbacks. Timers made in a pass never run in it. Time is in whole milliseconds; a callback that blocks makes
//! later timers late, never early.
//!
//! # Source
//! `setupTimers`, `processTimers`, `listOnTimeout` in `lib/internal/timers.js` and `Environment::RunTimers` of Node v20.

use crate::callback::Origin;
use crate::core::Core;
use crate::cx::Cx;
use crate::key::Key;
use crate::queues::timer_lists::{Armed, ListRef};
use crate::queues::timers::{Callback, Repeat, Timer};
use loopscope_probe::{HandleType, Kind, Phase, TaskTimes};
use std::panic::Location;
use std::time::Duration;

/// Passes within one phase: a drained job may block until the alarm is due again, and must not keep the loop from its
/// poll that way for ever. libuv 1.46 has no bound here, later ones run one.
const PASSES_PER_PHASE: usize = 8;

/// The largest delay that Node takes; anything above becomes 1 ms.
const NODE_DELAY_MS_MAX: f64 = 2_147_483_647.0;

/// The largest delay, some 140 million years: sums of it and the time do not overflow.
const DELAY_MS_MAX: u64 = u64::MAX / 4;

struct RunOnce<F>(F);

impl<S: 'static, F: FnOnce(&mut Cx<'_, S>)> Callback<S> for RunOnce<F> {
    fn run_once(self: Box<Self>, cx: &mut Cx<'_, S>) {
        (self.0)(cx);
    }

    fn run_again(&mut self, _cx: &mut Cx<'_, S>) {
        unreachable!("a timer that fires once is taken out before it runs");
    }
}

struct RunMany<F>(F);

impl<S: 'static, F: FnMut(&mut Cx<'_, S>)> Callback<S> for RunMany<F> {
    fn run_once(mut self: Box<Self>, cx: &mut Cx<'_, S>) {
        self.run_again(cx);
    }

    fn run_again(&mut self, cx: &mut Cx<'_, S>) {
        (self.0)(cx);
    }
}

impl<S: 'static> Core<S> {
    /// Tells the probe what has been started and what there is.
    pub(crate) fn publish_timers(&mut self) {
        let Some(probe) = &mut self.probe else { return };
        let (counts, published) = (self.timers.counts, self.timers.published);
        if counts != published {
            probe.submitted_many(Kind::Timer, counts.started - published.started);
            probe.handles(HandleType::Timeout, counts.timeouts - published.timeouts);
            probe.handles(HandleType::Interval, counts.intervals - published.intervals);
            self.timers.published = counts;
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback once, `delay` from now at the earliest. The delay is rounded up to whole milliseconds, at least
    /// one. Node's `setTimeout`.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.after(Duration::from_secs(2), |cx| cx.state.push("two seconds"));
    ///     let never = cx.after(Duration::from_secs(3), |cx| cx.state.push("three seconds"));
    ///     cx.after(Duration::from_secs(1), move |cx| {
    ///         cx.close(never);
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), ["two seconds"]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn after(&mut self, delay: Duration, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.after_at(Location::caller(), delay, run)
    }

    #[inline]
    pub(crate) fn after_at(
        &mut self,
        at: &'static Location<'static>,
        delay: Duration,
        run: impl FnOnce(&mut Cx<'_, S>) + 'static,
    ) -> Key {
        self.start(Origin::with(at, &run), whole_ms(delay), Repeat::Once, Box::new(RunOnce(run)))
    }

    /// Like [`Cx::after`], with Node's reading of the delay in milliseconds: the fraction is cut off, and what is not
    /// a number, below 1 or above 2^31 - 1 becomes 1.
    #[track_caller]
    pub fn after_ms(&mut self, delay_ms: f64, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Origin::of(&run), node_ms(delay_ms), Repeat::Once, Box::new(RunOnce(run)))
    }

    /// Like [`Cx::after`], and after it fired [`Cx::refresh`] arms it again. Its slot is kept until it is closed.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     // Three seconds without a sign of life.
    ///     let silence = cx.rearmable(Duration::from_secs(3), |cx| *cx.state = cx.now().as_secs());
    ///     cx.after(Duration::from_secs(2), move |cx| {
    ///         cx.refresh(silence);
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 5);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn rearmable(&mut self, delay: Duration, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Origin::of(&run), whole_ms(delay), Repeat::Rearmable, Box::new(RunMany(run)))
    }

    /// Like [`Cx::rearmable`], with Node's reading of the delay in milliseconds (see [`Cx::after_ms`]).
    #[track_caller]
    pub fn rearmable_ms(&mut self, delay_ms: f64, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Origin::of(&run), node_ms(delay_ms), Repeat::Rearmable, Box::new(RunMany(run)))
    }

    /// Runs a callback every `period` until it is closed; never catches up on what it missed. Node's `setInterval`.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let ticker = cx.every(Duration::from_secs(1), |cx| *cx.state += 1);
    ///     cx.after(Duration::from_millis(3_500), move |cx| {
    ///         cx.close(ticker);
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 3);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn every(&mut self, period: Duration, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Origin::of(&run), whole_ms(period), Repeat::Every, Box::new(RunMany(run)))
    }

    /// Like [`Cx::every`], with Node's reading of the period in milliseconds (see [`Cx::after_ms`]).
    #[track_caller]
    pub fn every_ms(&mut self, period_ms: f64, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> Key {
        self.start(Origin::of(&run), node_ms(period_ms), Repeat::Every, Box::new(RunMany(run)))
    }

    fn start(&mut self, origin: Origin, delay_ms: u64, repeat: Repeat, run: Box<dyn Callback<S>>) -> Key {
        let core = &mut *self.core;
        let place = core.sites.place(core.probe.as_mut(), origin, Kind::Timer);
        let timer = Timer { run: Some(run), place, repeat, is_ref: true, is_spent: false };
        core.timers.start(delay_ms, timer, core.clock.refresh())
    }

    /// Starts a timer's delay anew, at the end of its list; a re-armable one that fired is armed again. Returns
    /// `false` for a stale key and for what is not a timer.
    pub fn refresh(&mut self, key: Key) -> bool {
        let core = &mut *self.core;
        let Some(node) = core.timers.lists.find(key) else { return false };
        let now_ms = core.clock.refresh();
        core.timers.arm(node, now_ms, now_ms);
        let timer = core.timers.lists.timer_mut(node);
        if std::mem::take(&mut timer.is_spent) && timer.is_ref {
            core.timers.reference();
        }
        true
    }

    #[inline]
    pub(crate) fn run_timers(&mut self) {
        if self.core.timers.is_due(self.core.clock.now_ms()) {
            self.run_due_timers();
        }
    }

    #[inline(never)]
    fn run_due_timers(&mut self) {
        self.core.enter_phase(Phase::TIMERS);
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
            if self.core.timers.lists.find(key).is_some() {
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
        let life = self.life(start_ms, start_ms.saturating_add(duration_ms));
        let core = &mut *self.core;
        let Timer { place, repeat, is_ref, .. } = *core.timers.lists.timer(node);
        let site = core.sites.numbered(place);
        if repeat == Repeat::Once {
            *core.timers.counts.open(repeat) -= 1;
            core.timers.referenced -= usize::from(is_ref);
            if let Some(run) = core.timers.lists.remove(node).run {
                self.enter(Kind::Timer, site, life, |cx| run.run_once(cx));
            }
            return;
        }
        core.timers.lists.unlink(node);
        // An interval counts from before its callback.
        let start_ms = if repeat == Repeat::Every { core.clock.refresh() } else { 0 };
        let Some(mut run) = core.timers.lists.timer_mut(node).run.take() else { return };
        self.enter(Kind::Timer, site, life, |cx| run.run_again(cx));
        let (timers, now_ms) = (&mut self.core.timers, self.core.clock.now_ms());
        if timers.lists.find(key).is_none() {
            return self.discard(Kind::Timer, site, run);
        }
        timers.lists.timer_mut(node).run = Some(run);
        if repeat == Repeat::Every {
            timers.arm(node, start_ms, now_ms);
        } else if !timers.lists.is_linked(node) {
            let timer = timers.lists.timer_mut(node);
            timer.is_spent = true;
            timers.referenced -= usize::from(timer.is_ref);
        }
    }

    /// Returns when a timer was started and when it was due, as stamps.
    fn life(&self, start_ms: u64, due_ms: u64) -> TaskTimes {
        match &self.core.probe {
            Some(_) => TaskTimes {
                submitted: self.core.clock.ticks_at(start_ms),
                ready: self.core.clock.ticks_at(due_ms),
            },
            None => TaskTimes::UNKNOWN,
        }
    }
}

/// Rounds a delay up to whole milliseconds, at least one: a timer never fires before its delay is over.
fn whole_ms(delay: Duration) -> u64 {
    let (whole, rest) = (delay.as_secs().saturating_mul(1000), delay.subsec_nanos().div_ceil(1_000_000));
    whole.saturating_add(u64::from(rest)).clamp(1, DELAY_MS_MAX)
}

/// Reads a delay as Node does: not a number, below 1 or above 2^31 - 1 is 1; the fraction is cut off.
fn node_ms(delay_ms: f64) -> u64 {
    if (1.0..=NODE_DELAY_MS_MAX).contains(&delay_ms) { delay_ms as u64 } else { 1 }
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
