//! Expected blocks: parts of a busy stretch that the program announced, and that nobody is to be warned of.
//!
//! Time under such a scope is time in which the loop does not poll, and lag says so; only the stall thresholds, and what
//! is counted by them, leave it out.

use crate::clock::Ticks;
use crate::site::SiteId;
use crate::word::{LoopOwned, Word};

/// The words that tell of expected blocks.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct ExpectedWords {
    /// When the outermost open scope began, in ticks; 0 outside any.
    pub(crate) since: Word<LoopOwned>,
    /// Its site.
    pub(crate) site: Word<LoopOwned>,
    /// Time under scopes that have ended within the stretch named below, in ticks.
    pub(crate) ticks: Word<LoopOwned>,
    /// Start of the busy stretch that `ticks` is about: a new stretch has none without anybody resetting it.
    pub(crate) stretch: Word<LoopOwned>,
    /// Scopes open within each other.
    pub(crate) depth: Word<LoopOwned>,
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(ExpectedWords, "expected", since, site, ticks, stretch, depth);

impl ExpectedWords {
    /// Returns the expected part of the stretch that began at `stretch` and has lasted until `now`, in ticks.
    pub(crate) fn ticks(&self, stretch: Ticks, now: Ticks) -> u64 {
        let ended = if self.stretch.get() == stretch.0 { self.ticks.get() } else { 0 };
        let open = match self.since.get() {
            0 => 0,
            since => now.since(Ticks(since.max(stretch.0))),
        };
        ended.saturating_add(open).min(now.since(stretch))
    }

    /// Returns the site of the open scope.
    pub(crate) fn open_site(&self) -> Option<SiteId> {
        (self.since.get() != 0).then(|| SiteId(self.site.get() as u16))
    }
}
