//! Exceptions that nobody caught, in a program that goes on with a handler for them.
//!
//! One that leaves a batch of timers or immediates ends its entry, and Node enters JavaScript again within the same scope, for the
//! rest of the batch; of timers also where nothing is left, which is counted as a timer then:
//!
//! ```text
//!   enter  timer  timer throws  left    enter  timer  checkpoint  timer  left    enter  ticks  left
//! ```
//!
//! Others are reported and leave nothing: that of a microtask, or of a promise that nobody handled. After these the entry comes to
//! a checkpoint, or to a drain. After each of them Node empties its list of resources, which it has once for all timers, and
//! once for each entry of immediates: it is not shortened any more then ([`Entries::part`]).

use super::drains::Drain;
use super::{Entries, Frame, Runtime};
use crate::names::Class;
use loopscope_probe::Kind;

impl<R: Runtime> Entries<R> {
    /// An exception was caught by nobody.
    pub fn threw(&mut self) {
        if self.ask_for_ticks() {
            self.is_surely_ticks();
        }
        self.further_round_begins();
        self.count_exception();
        // A round of ticks that throws ends without its checkpoint.
        self.is_round_sure |= self.frame == Frame::Tick && !self.is_nobodys;
        if self.batch.is_some() {
            // Without checkpoints it is not known whether the batch is left.
            self.is_thrown = self.has_checkpoints && matches!(self.drain, Drain::None);
            if let Some(scope) = self.scopes.last_mut() {
                scope.has_no_list = true;
            }
        }
    }

    /// Counts an exception by the kind of entry that it was thrown in, or after which it was thrown by a tick or a microtask.
    fn count_exception(&mut self) {
        match (&self.drain, self.frame) {
            (Drain::None, Frame::Callback) => self.writer.panicked(),
            // In the midst of the entry that is told.
            (Drain::Inside(_) | Drain::InBatch, _) => self.writer.failed(self.kind),
            (Drain::After | Drain::InTicks, _) | (Drain::None, Frame::Tick) => self.writer.job_failed(),
            // Nothing is told of what runs.
            (Drain::None, Frame::None) => {
                let kind = self.immediates_scope().map_or(Kind::Other, |(kind, _)| kind);
                self.writer.failed(kind);
            }
        }
    }

    /// The entry of a batch was left by an exception: the next one is of the same batch.
    #[cold]
    pub(super) fn batch_goes_on(&mut self) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.entries = 0;
            scope.has_no_list &= scope.named.class != Class::Immediates;
        }
    }
}
