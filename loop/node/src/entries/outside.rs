//! Entries outside of any scope: what they are for is known by the resource that Node says it is, or by their phase.
//!
//! ```text
//!   enter  resolves a promise  left    RunMicrotasks    enter  ticks  checkpoint  left
//! ```
//!
//! **For no resource** are those in which Node makes an object, and those in which it runs its ticks after what it calls without a
//! scope: promises of files, `import()`, an addon's callbacks. Only ticks come to a checkpoint, so that it is known there. Until then
//! an entry is taken for ticks where it comes right after another one outside of any scope, or after the drain of that; and where
//! the program runs for a resource when it is interrupted, because each tick is one.

use super::drains::Drain;
use super::{Entries, Frame, Runtime};
use loopscope_probe::{Kind, Phase, SiteId, TaskTimes, Ticks};

/// Stands for a resource that the entry before was for: no resource has this number.
const UNKNOWN: u64 = u64::MAX;

impl<R: Runtime> Entries<R> {
    /// Asks for which resource an entry outside of any scope is.
    #[inline]
    pub(super) fn resource_of_entry(&mut self) -> Option<u64> {
        let is_asked = self.has_traces && self.told != Phase::MAIN;
        if is_asked { self.ask(|runtime| runtime.async_id()) } else { None }
    }

    /// Tells whether an entry for this resource goes on with what the one before was for: a parser of HTTP that has found the next
    /// thing in what was read, or is through with it. It begins where that one ended, and the clock need not be read: between
    /// the two nothing was read from a socket, and nothing else ran.
    #[inline]
    pub(super) fn goes_on(&self, id: Option<u64>) -> bool {
        self.resource != 0 && id == Some(self.resource)
    }

    /// Returns the resource of an entry in the scope of immediates that is for none of them: a handle of another addon's.
    pub(super) fn other_in_check(&mut self) -> Option<u64> {
        self.ask(|runtime| runtime.async_id()).filter(|id| *id != 0)
    }

    /// An entry outside any scope begins, for this resource.
    pub(super) fn begins_without_scope(&mut self, now: Ticks, id: Option<u64>) {
        let comes_after = std::mem::take(&mut self.resource) != 0;
        self.is_nobodys = self.has_traces && id == Some(0) && self.told != Phase::MAIN;
        self.needs_checkpoints = self.is_nobodys;
        if self.is_nobodys && comes_after && self.has_checkpoints {
            self.callback_begins(now, Kind::Other, self.sites.node);
            return self.becomes_ticks();
        }
        // What the entry before it left behind was drained meanwhile.
        self.writer.drained();
        let (kind, site) = self.without_scope(id);
        if self.told == Phase::POLL && !self.is_nobodys {
            let is_known = site != self.sites.unnamed;
            self.resource = id.filter(|_| is_known).unwrap_or(UNKNOWN);
        }
        self.resource_entry = (kind, site);
        self.callback_begins(now, kind, site);
    }

    /// A drain of microtasks that comes in no scope: Node's ticks come after it, where there are any.
    #[inline]
    pub(super) fn drains_outside(&mut self) {
        if self.resource == 0 && self.told == Phase::POLL && self.scopes.is_empty() {
            self.resource = UNKNOWN;
        }
    }

    /// The entry that runs is told as a round of ticks from its begin on, which was the last stamp.
    pub(super) fn becomes_ticks(&mut self) {
        let is_nobodys = self.is_nobodys;
        self.ticks_begin();
        (self.is_round_sure, self.is_nobodys) = (false, is_nobodys);
    }

    /// The entry that runs is one of ticks, for sure, where it is not known.
    #[inline]
    pub(super) fn is_surely_ticks(&mut self) {
        if std::mem::take(&mut self.is_nobodys) && self.frame == Frame::Callback {
            self.becomes_ticks();
        }
    }

    /// Asks whether the program runs for a resource within an entry that was for none: then Node runs a tick. Returns whether it does;
    /// false where it is no such entry.
    #[cold]
    pub(super) fn ask_for_ticks(&mut self) -> bool {
        let is_asked = self.is_nobodys && matches!(self.drain, Drain::None);
        is_asked && self.runtime.async_id().is_some_and(|id| id != 0)
    }

    /// The entry that runs was taken for ticks, and is told as what it was before that.
    #[cold]
    pub(super) fn is_no_ticks(&mut self) {
        self.writer.drain_forget();
        self.writer.drained();
        self.writer.begin(Kind::Other, self.sites.node, TaskTimes::UNKNOWN);
        self.frame = Frame::Callback;
    }

    /// Returns what an entry outside any scope is for: what its resource says. Without Node's traces its phase is all that is
    /// known.
    fn without_scope(&mut self, id: Option<u64>) -> (Kind, SiteId) {
        if self.told == Phase::MAIN {
            return (Kind::Other, self.sites.main);
        }
        if self.has_traces {
            if id == Some(0) {
                return (Kind::Other, self.sites.node);
            }
            let name = id.and_then(|id| self.resources.provider(id));
            if let Some(named) = name.and_then(|name| self.names.get(name)) {
                return (named.kind, named.site);
            }
        }
        match self.told {
            Phase::TIMERS => (Kind::Timer, self.sites.timers),
            Phase::CHECK if !self.is_in_natives => (Kind::Immediate, self.sites.immediates),
            Phase::CLOSE if !self.has_traces => (Kind::Close, self.sites.closing),
            _ => {
                self.unnamed += 1;
                (Kind::Other, self.sites.unnamed)
            }
        }
    }
}
