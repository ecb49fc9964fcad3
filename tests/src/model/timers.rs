//! The model's timers: a list for every duration, and one alarm for all of them.
//!
//! # Source
//! `lib/internal/timers.js` and `src/env.cc` of Node v20.

use super::{Callback, Model, NoOrder};
use std::collections::VecDeque;

/// The loop's own bound, which libuv has not: after so many passes it polls, and goes on in the next iteration.
const PASSES: usize = 8;

/// A timer that was ever made.
#[derive(Debug)]
struct Timer {
    callback: Option<Callback>,
    /// Runs that an interval has left; `None` for a one-shot timer.
    runs_left: Option<u64>,
    ms: u64,
    start_ms: u64,
    is_referenced: bool,
    /// It fired for the last time, or was cleared.
    is_dead: bool,
    /// Cleared: not even refreshing revives it.
    is_cleared: bool,
}

/// The timers of one duration, in the order of their starts.
#[derive(Debug)]
struct List {
    ms: u64,
    expiry_ms: u64,
    id: u64,
    timers: VecDeque<usize>,
}

/// All timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    all: Vec<Timer>,
    lists: Vec<List>,
    lists_made: u64,
    /// What the alarm is set for, `None` before the first list and during a pass; only an earlier list moves it.
    next_expiry_ms: Option<u64>,
    /// libuv's timer.
    alarm_ms: Option<u64>,
    is_alarm_referenced: bool,
    referenced: usize,
}

impl Timers {
    /// Tells whether libuv's timer keeps the loop alive.
    pub(super) fn keeps_alive(&self) -> bool {
        self.alarm_ms.is_some() && self.is_alarm_referenced
    }

    pub(super) fn alarm_ms(&self) -> Option<u64> {
        self.alarm_ms
    }

    fn reference(&mut self) {
        self.referenced += 1;
        if self.referenced == 1 {
            self.is_alarm_referenced = true;
        }
    }

    fn unreference(&mut self) {
        self.referenced -= 1;
        if self.referenced == 0 {
            self.is_alarm_referenced = false;
        }
    }

    fn unlink(&mut self, number: usize) {
        for list in &mut self.lists {
            list.timers.retain(|timer| *timer != number);
        }
    }

    fn is_linked(&self, number: usize) -> bool {
        self.lists.iter().any(|list| list.timers.contains(&number))
    }

    fn list(&mut self, ms: u64) -> Option<&mut List> {
        self.lists.iter_mut().find(|list| list.ms == ms)
    }

    /// The list that is due first; of equals the one that was armed first.
    fn first(&self) -> Option<(u64, u64, u64)> {
        self.lists.iter().map(|list| (list.expiry_ms, list.id, list.ms)).min()
    }

    fn next_id(&mut self) -> u64 {
        self.lists_made += 1;
        self.lists_made
    }

    fn insert(&mut self, number: usize, start_ms: u64, loop_ms: u64) {
        let ms = self.all[number].ms;
        self.all[number].start_ms = start_ms;
        if self.list(ms).is_none() {
            let (id, expiry_ms) = (self.next_id(), start_ms + ms);
            self.lists.push(List { ms, expiry_ms, id, timers: VecDeque::new() });
            if self.next_expiry_ms.is_none_or(|next_ms| next_ms > expiry_ms) {
                self.alarm_ms = Some(loop_ms + ms);
                self.next_expiry_ms = Some(expiry_ms);
            }
        }
        self.unlink(number);
        if let Some(list) = self.list(ms) {
            list.timers.push_back(number);
        }
    }

    /// A timer that fired for the last time. The alarm is set anew after the pass.
    fn bury(&mut self, number: usize) {
        let timer = &mut self.all[number];
        if !std::mem::replace(&mut timer.is_dead, true) && timer.is_referenced {
            self.referenced -= 1;
        }
    }

    /// `clearTimeout`.
    pub(super) fn clear(&mut self, number: usize) {
        let timer = &mut self.all[number];
        timer.callback = None;
        // Node lets one be refreshed that was cleared after it fired; it then keeps the process alive for its delay
        // and runs nothing. Here a key is stale once it is closed, so the model leaves that out.
        timer.is_cleared = true;
        if std::mem::replace(&mut timer.is_dead, true) {
            return;
        }
        let (ms, is_referenced) = (timer.ms, timer.is_referenced);
        self.unlink(number);
        if is_referenced {
            // Only with a referenced timer does the empty list go at once.
            self.lists.retain(|list| list.ms != ms || !list.timers.is_empty());
            self.unreference();
        }
    }

    /// `ref` and `unref`.
    pub(super) fn set_referenced(&mut self, number: usize, is_wanted: bool) {
        let timer = &mut self.all[number];
        if std::mem::replace(&mut timer.is_referenced, is_wanted) == is_wanted || timer.is_dead {
            return;
        }
        if is_wanted { self.reference() } else { self.unreference() }
    }
}

impl Model {
    /// `setTimeout`, or with a number of runs `setInterval`. Returns the timer's number.
    pub(super) fn start_timer(&mut self, ms: f64, callback: Callback, runs_left: Option<u64>) -> usize {
        let is_in_range = (1.0..=2_147_483_647.0).contains(&ms);
        let ms = if is_in_range { ms as u64 } else { 1 };
        self.timers.all.push(Timer {
            callback: Some(callback),
            runs_left,
            ms,
            start_ms: 0,
            is_referenced: true,
            is_dead: false,
            is_cleared: false,
        });
        let number = self.timers.all.len() - 1;
        self.timers.reference();
        self.insert_timer(number);
        number
    }

    /// Starts counting anew from now.
    fn insert_timer(&mut self, number: usize) {
        self.refresh();
        self.timers.insert(number, self.loop_ms, self.loop_ms);
    }

    /// `timeout.refresh()`.
    pub(super) fn refresh_timer(&mut self, number: usize) {
        if self.timers.all[number].is_cleared {
            return;
        }
        self.insert_timer(number);
        let timer = &mut self.timers.all[number];
        if std::mem::replace(&mut timer.is_dead, false) && timer.is_referenced {
            self.timers.reference();
        }
    }

    /// `uv__run_timers` with Node's one timer.
    pub(super) fn run_timers(&mut self) -> Result<(), NoOrder> {
        self.phase = 't';
        for _ in 0..PASSES {
            if self.timers.alarm_ms.is_none_or(|at_ms| at_ms > self.loop_ms) {
                break;
            }
            self.timers.alarm_ms = None;
            self.refresh();
            let next_ms = self.process_timers(self.loop_ms)?;
            if let Some(next_ms) = next_ms {
                self.timers.alarm_ms = Some(self.loop_ms + next_ms.saturating_sub(self.loop_ms).max(1));
            }
            self.timers.is_alarm_referenced = next_ms.is_some() && self.timers.referenced > 0;
            self.drain()?;
        }
        Ok(())
    }

    /// Runs the lists that are due at `now_ms`; returns when the next is.
    fn process_timers(&mut self, now_ms: u64) -> Result<Option<u64>, NoOrder> {
        self.timers.next_expiry_ms = None;
        let mut is_first = true;
        while let Some((expiry_ms, id, ms)) = self.timers.first() {
            if expiry_ms > now_ms {
                self.timers.next_expiry_ms = Some(expiry_ms);
                return Ok(Some(expiry_ms));
            }
            if !std::mem::replace(&mut is_first, false) {
                self.drain()?;
            }
            self.run_list(id, ms, now_ms)?;
        }
        Ok(None)
    }

    /// Runs what is due in one list.
    fn run_list(&mut self, id: u64, ms: u64, now_ms: u64) -> Result<(), NoOrder> {
        let mut is_first = true;
        while let Some(number) = self.front_of(id) {
            let start_ms = self.timers.all[number].start_ms;
            if now_ms.saturating_sub(start_ms) < ms {
                let new_id = self.timers.next_id();
                if let Some(list) = self.timers.lists.iter_mut().find(|list| list.id == id) {
                    (list.expiry_ms, list.id) = ((start_ms + ms).max(now_ms + 1), new_id);
                }
                return Ok(());
            }
            if !std::mem::replace(&mut is_first, false) {
                self.drain()?;
            }
            // It is in hand, whatever the drain did to it.
            self.timers.unlink(number);
            self.fire(number)?;
        }
        self.timers.lists.retain(|list| list.id != id);
        Ok(())
    }

    fn front_of(&self, id: u64) -> Option<usize> {
        self.timers.lists.iter().find(|list| list.id == id)?.timers.front().copied()
    }

    fn fire(&mut self, number: usize) -> Result<(), NoOrder> {
        let Some(callback) = self.timers.all[number].callback.clone() else {
            self.timers.bury(number);
            return Ok(());
        };
        let is_interval = self.timers.all[number].runs_left.is_some();
        if is_interval {
            self.refresh();
        }
        let start_ms = self.loop_ms;
        self.call(callback)?;
        if let Some(left) = &mut self.timers.all[number].runs_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.timers.clear(number);
            }
        }
        if is_interval && !self.timers.all[number].is_cleared {
            self.timers.insert(number, start_ms, self.loop_ms);
        } else if !self.timers.is_linked(number) {
            self.timers.bury(number);
        }
        Ok(())
    }
}
