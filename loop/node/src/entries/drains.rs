//! Drains of Node's two queues: microtasks, which V8 begins, ends and counts, and nextTick, of which the time is known.
//!
//! Node runs its queue of ticks in rounds: all ticks, then a checkpoint of V8's microtasks, and again where these have queued
//! further ticks. A round is a drain. Its checkpoint tells the end of one; that a further one begins is known only by its own
//! checkpoint, or by what happens in it. So the end of a round is told once that is known, or once the entry ends, as of its
//! checkpoint. Where a drain of microtasks has ended the round, what comes after it is taken for a further one, and forgotten where
//! the entry ends without.
//!
//! A drain that the program begins in the middle of its own code is none of these, and a part of what runs.

use super::{Entries, Frame, Runtime};
use loopscope_probe::{Inside, Kind, Phase, Queue, Ticks};

/// A drain of microtasks that runs, and what it interrupted.
#[derive(Debug)]
pub(super) enum Drain {
    None,
    /// After a callback.
    After,
    /// Inside a callback, which goes on.
    Inside(Inside),
    /// Between two members of a batch.
    InBatch,
    /// Between two ticks.
    InTicks,
}

impl<R: Runtime> Entries<R> {
    /// A second entry in a scope: Node runs the nextTick queue, and does not say how many jobs it has.
    pub(super) fn ticks_begin(&mut self) {
        self.writer.drain_begin(Queue::NextTick, 0);
        self.writer.begin_many(Kind::Tick, self.sites.ticks);
        self.frame = Frame::Tick;
        (self.is_round_sure, self.is_nobodys, self.needs_checkpoints) = (true, false, true);
    }

    /// What runs as a round of ticks ends now.
    fn ticks_end(&mut self) {
        self.further_round_begins();
        // Else a drain of microtasks has ended the round, and its checkpoint is not there yet.
        if self.writer.is_running() {
            self.round_ends(self.writer.clock().now());
        }
    }

    #[inline]
    fn round_ends(&mut self, at: Ticks) {
        self.writer.end_many_at(0, at);
        self.writer.drain_end(Queue::NextTick, 0);
    }

    /// A round of ticks ends with this checkpoint, and another may begin.
    #[inline]
    pub(super) fn ticks_may_end(&mut self) {
        self.further_round_begins();
        match self.writer.is_running() {
            true => self.round_ended = self.writer.clock().now(),
            false => {
                self.ticks_begin();
                self.is_round_sure = false;
            }
        }
    }

    /// What runs now is a further round of ticks, where one has come to its checkpoint. Returns whether one has.
    #[inline]
    pub(super) fn further_round_begins(&mut self) -> bool {
        let has_ended = self.round_ended != Ticks::NONE;
        if has_ended {
            self.next_round();
        }
        has_ended
    }

    #[cold]
    fn next_round(&mut self) {
        let at = std::mem::take(&mut self.round_ended);
        self.round_ends(at);
        self.ticks_begin();
    }

    /// The entry that runs ticks is over.
    // Apart, as other entries have no use for it.
    #[inline(never)]
    pub(super) fn ticks_are_over(&mut self) {
        match std::mem::take(&mut self.round_ended) {
            Ticks::NONE => self.uncertain_ticks_are_over(),
            at => self.round_ends(at),
        }
    }

    /// It ends without a checkpoint of the round that runs.
    #[cold]
    fn uncertain_ticks_are_over(&mut self) {
        match self.is_round_sure {
            true => self.ticks_end(),
            false if self.is_nobodys => self.ends_without_ticks(),
            false => self.writer.drain_forget(),
        }
    }

    pub(super) fn microtasks_begin(&mut self) {
        if self.is_programs_drain() {
            self.inner_drains = self.inner_drains.saturating_add(1);
            return;
        }
        self.runtime.drain_begins();
        self.poll_has_returned(None);
        self.is_surely_ticks();
        self.drain = match self.frame {
            Frame::Callback => match self.batch {
                Some(batch) => {
                    self.is_thrown = false;
                    self.batch_part_ends(batch);
                    self.writer.drain_begin(Queue::Microtask, 0);
                    Drain::InBatch
                }
                None => Drain::Inside(self.writer.drain_inside_begin(Queue::Microtask, 0)),
            },
            Frame::Tick => {
                self.ticks_end();
                self.writer.drain_begin(Queue::Microtask, 0);
                Drain::InTicks
            }
            Frame::None => {
                // A stamp: what lies between the callback and here is Node's.
                let now = if self.is_in_entry { self.untold_ends() } else { self.writer.end() };
                self.enter_phase(now);
                self.drains_outside();
                self.writer.drain_begin(Queue::Microtask, 0);
                Drain::After
            }
        };
        // A main script that is a module is evaluated in one of these.
        let site = if self.start.is_under_way() { self.sites.main } else { self.sites.microtasks };
        self.writer.begin_many(Kind::Microtask, site);
    }

    /// Tells whether the program begins this drain, in the middle of its own code, and not Node, between two callbacks: that of a
    /// `vm` context which has a queue of its own (`microtaskMode`). It is a part of what runs.
    fn is_programs_drain(&mut self) -> bool {
        if self.inner_drains > 0 || !matches!(self.drain, Drain::None) {
            return true;
        }
        match (self.frame, self.batch) {
            (Frame::None, _) => false,
            // Within a callback Node drains nothing; of a main script that is a module the callback is not known.
            (Frame::Callback, None) if !self.is_nobodys => self.told != Phase::MAIN,
            // Between two callbacks, or two ticks, no resource is entered.
            _ => self.ask(|runtime| runtime.async_id()).is_some_and(|id| id != 0),
        }
    }

    pub(super) fn microtasks_end(&mut self, count: u64) {
        if let Some(others) = self.inner_drains.checked_sub(1) {
            self.inner_drains = others;
            return;
        }
        let drain = std::mem::replace(&mut self.drain, Drain::None);
        if matches!(drain, Drain::None) {
            return;
        }
        self.runtime.drain_ended(count);
        self.writer.end_many(count);
        match drain {
            Drain::Inside(inside) => self.writer.drain_inside_end(Queue::Microtask, count, inside),
            Drain::InBatch => {
                self.writer.drain_end(Queue::Microtask, count);
                self.writer.drained();
                self.next_of_batch();
            }
            Drain::InTicks => {
                self.writer.drain_end(Queue::Microtask, count);
                if !self.has_checkpoints {
                    self.ticks_begin();
                }
            }
            Drain::After | Drain::None => self.writer.drain_end(Queue::Microtask, count),
        }
    }
}
