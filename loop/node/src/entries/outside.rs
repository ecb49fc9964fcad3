//! Entries outside of any scope: what they are for is known by the resource that Node says it is, or by their phase.

use super::{Entries, Runtime};
use loopscope_probe::{Kind, Phase, SiteId, Ticks};

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
        let id = if self.scopes.is_untold() { self.ask(|runtime| runtime.async_id()) } else { None };
        id.filter(|id| *id != 0)
    }

    /// An entry outside any scope begins, for this resource.
    pub(super) fn begins_without_scope(&mut self, now: Ticks, id: Option<u64>) {
        // What the entry before it left behind was drained meanwhile.
        self.writer.drained();
        let (kind, site) = self.without_scope(id);
        let is_known = self.told == Phase::POLL && site != self.sites.unnamed;
        self.resource = id.filter(|_| is_known).unwrap_or(0);
        self.resource_entry = (kind, site);
        self.callback_begins(now, kind, site);
        self.is_nobodys = self.has_traces && id == Some(0);
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
            Phase::CHECK => (Kind::Immediate, self.sites.immediates),
            Phase::CLOSE if !self.has_traces => (Kind::Close, self.sites.closing),
            _ => {
                self.unnamed += 1;
                (Kind::Other, self.sites.unnamed)
            }
        }
    }
}
