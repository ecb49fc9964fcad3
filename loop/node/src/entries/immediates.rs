//! Immediates of Node's own, which run before those of the program in the same scope: destroy hooks of `async_hooks`, HTTP/2.
//!
//! ```text
//!   enter  a destroy hook  left    enter  immediates  left    enter  the list is shortened  left    enter  ticks  checkpoint  left
//! ```
//!
//! Node tells where it runs them, in every turn of the loop, and for that nothing is listened to in a program that has none. So the
//! first of them are taken for the program's: how many there are is not known before the scope is over. The first entry is told as
//! immediates, and a later one where it takes long; of the short ones, the third and those after it, only what comes to a checkpoint
//! is one of ticks. From then on it is listened to what Node tells, until it has had none for many turns.

use super::drains::Drain;
use super::{Entered, Entries, Frame, Runtime};
use crate::names::Class;
use loopscope_probe::{Kind, SiteId, TaskTimes, Ticks};

/// For so many turns it is listened to, after the last one that had an immediate of Node's own.
const TURNS: u16 = 1000;

impl<R: Runtime> Entries<R> {
    /// Tells whether Node is to tell of immediates of its own in the check phase that begins.
    #[inline]
    pub fn listens_to_natives(&mut self) -> bool {
        let has_had_some = self.natives_turns > 0;
        self.natives_turns -= u16::from(has_had_some);
        has_had_some
    }

    /// Node has immediates of its own.
    #[inline]
    pub(super) fn natives_are_seen(&mut self) {
        self.natives_turns = TURNS;
    }

    /// Tells whether there may be immediates of Node's own that are not told as such.
    #[inline]
    pub(super) fn has_untold_natives(&self) -> bool {
        self.natives_turns > 0 && self.scopes.is_untold()
    }

    /// An entry begins where Node runs immediates of its own, or in a scope of immediates that it did not tell.
    #[inline(never)]
    pub(super) fn begins_in_check(&mut self) {
        if self.is_in_natives && self.immediates_scope().is_some() {
            return self.native_begins();
        }
        if self.scopes.is_untold()
            && let Some(id) = self.other_in_check()
        {
            return self.begins_beside(id);
        }
        match self.scopes.count() {
            Entered::Outside => self.begins_outside(),
            Entered::First(id) => self.begins_first(id),
            // Node's own use of an object after the immediates, in every turn that has some, is one of these: nothing is told of it.
            Entered::Again(number) => self.begins_again(number),
        }
    }

    /// An entry begins for this resource, beside the scope of immediates.
    fn begins_beside(&mut self, id: u64) {
        match self.resource {
            0 => {
                let now = self.enter_at();
                self.begins_without_scope(now, Some(id));
            }
            _ => self.begins_after_another(Some(id)),
        }
    }

    /// An entry of an immediate of Node's own begins, or of the ticks after them: none of the program's immediates.
    #[cold]
    pub(super) fn native_begins(&mut self) {
        self.natives_are_seen();
        let now = self.enter_at();
        let id = self.resource_of_entry();
        self.begins_without_scope(now, id);
    }

    /// Node's own immediates are over.
    #[inline]
    pub(super) fn natives_end(&mut self) {
        self.is_in_natives = false;
        if !self.is_in_entry {
            self.writer.drained();
        }
    }

    /// Returns what the innermost scope is told as, where it is that of immediates.
    pub(super) fn immediates_scope(&self) -> Option<(Kind, SiteId)> {
        let named = self.scopes.last()?.named;
        (named.class == Class::Immediates).then_some((named.kind, named.site))
    }

    /// The third entry of immediates, or a later one, begins: where Node has some of its own it may be anything.
    pub(super) fn ticks_begin_after_immediates(&mut self) {
        self.ticks_begin();
        if self.has_checkpoints {
            (self.is_round_sure, self.is_nobodys) = (false, true);
        }
    }

    /// An entry that was taken for ticks ends without their checkpoint.
    #[cold]
    pub(super) fn ends_without_ticks(&mut self) {
        if self.immediates_scope().is_some() {
            self.natives_are_seen();
            self.writer.drain_forget();
            self.untold_ends();
            return;
        }
        self.is_no_ticks();
        self.writer.end();
        self.frame = Frame::None;
    }

    /// An entry of which nothing is told so far ends, or comes to a drain, in a program in which Node has immediates of its own: what
    /// is long is no shortening of a list. Returns when.
    #[cold]
    pub(super) fn untold_ends(&mut self) -> Ticks {
        let now = self.writer.clock().now();
        if let Some((kind, site)) = self.immediates_scope()
            && self.is_long(self.writer.last(), now)
        {
            self.writer.drained();
            self.writer.begin(kind, site, TaskTimes::UNKNOWN);
        }
        self.writer.end_at(now)
    }

    /// An entry of which nothing is told blocks the loop, and the program runs for a resource: it is the batch of immediates.
    #[cold]
    pub(super) fn part_what_is_untold(&mut self) {
        let is_untold = self.is_in_entry && self.frame == Frame::None && matches!(self.drain, Drain::None);
        if let Some((kind, site)) = self.immediates_scope().filter(|_| is_untold)
            && self.runtime.async_id().is_some_and(|id| id != 0)
        {
            self.writer.drained();
            self.batch_begins(kind, site);
            if let Some(scope) = self.scopes.last_mut() {
                scope.entries = 1;
            }
        }
    }
}
