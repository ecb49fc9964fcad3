//! Expected blocks: parts of a busy period that the program announced, and that nobody is to be warned of.
//!
//! Time under such a scope is time in which the loop does not poll, and lag says so; only the stall thresholds, and what
//! is counted by them, leave it out.

use crate::clock::Ticks;
use crate::shared_u64::{LoopOwned, SharedU64};
use crate::site::SiteId;

/// The words that tell of expected blocks.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct ExpectedWords {
    /// When the outermost open scope began, in ticks; 0 outside any.
    pub(crate) since: SharedU64<LoopOwned>,
    /// Its site.
    pub(crate) site: SharedU64<LoopOwned>,
    /// Time under scopes that have ended within the busy period named below, in ticks.
    pub(crate) ticks: SharedU64<LoopOwned>,
    /// Start of the busy period that `ticks` is about: a new busy period has none without anybody resetting it.
    pub(crate) busy_since: SharedU64<LoopOwned>,
    /// Scopes open within each other.
    pub(crate) depth: SharedU64<LoopOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(ExpectedWords, "expected", since, site, ticks, busy_since, depth);

impl ExpectedWords {
    /// Returns the expected part of the busy period that began at `busy_since` and has lasted until `now`, in ticks.
    pub(crate) fn ticks(&self, busy_since: Ticks, now: Ticks) -> u64 {
        // In this order: a scope that ends meanwhile is counted as open, and perhaps as ended, too, but not as neither.
        let since = self.since.observe();
        let ended = if self.busy_since.observe() == busy_since.0 { self.ticks.get() } else { 0 };
        let open = match since {
            0 => 0,
            since => now.since(Ticks(since.max(busy_since.0))),
        };
        ended.saturating_add(open).min(now.since(busy_since))
    }

    /// Returns the site of the open scope.
    pub(crate) fn open_site(&self) -> Option<SiteId> {
        (self.since.get() != 0).then(|| SiteId(self.site.get() as u16))
    }
}
