//! The start of a program: its main script is an expected block, up to the end of what it is evaluated in.
//!
//! A script is evaluated before the first poll. A module may be evaluated later: Node 18 and 20 read its files with promises,
//! and top-level `await` goes on after polls in all versions. What runs for files until then belongs to the start; the first
//! entry for anything else, such as a timer or a connection, ends it.

use loopscope_probe::{ExpectedBlock, Kind, SiteId, Ticks, Writer};

/// What is not evaluated after so long is no start any more, in nanoseconds.
const LONGEST_NS: u64 = 10_000_000_000;

#[derive(Debug)]
pub(super) struct Start {
    expected: Option<ExpectedBlock>,
    site: SiteId,
    limit: Ticks,
    is_module: bool,
    /// The first poll has come, and the module is not known to be evaluated.
    is_under_way: bool,
}

impl Start {
    /// Begins within the main script, which has this site.
    pub(super) fn begin(writer: &mut Writer, site: SiteId) -> Start {
        let expected = Some(writer.expect_block(site));
        let limit = writer.last().0.saturating_add(writer.clock().scale().ticks(LONGEST_NS));
        Start { expected, site, limit: Ticks(limit), is_module: false, is_under_way: false }
    }

    /// The main script is a module.
    pub(super) fn is_of_module(&mut self) {
        self.is_module = true;
    }

    /// Tells whether a module may be evaluated now, after the first poll.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// The loop is about to poll.
    #[inline]
    pub(super) fn polls(&mut self, at: Ticks) {
        if self.expected.is_some() {
            self.expected = None;
            self.is_under_way = self.is_module && at < self.limit;
        }
    }

    /// A poll has returned.
    #[inline]
    pub(super) fn poll_has_returned(&mut self, writer: &mut Writer) {
        if self.is_under_way {
            self.expected = Some(writer.expect_block_since(self.site, writer.last()));
        }
    }

    /// An entry of this kind begins.
    #[inline]
    pub(super) fn entry(&mut self, kind: Kind) {
        if self.is_under_way && !matches!(kind, Kind::WorkDone | Kind::Other) {
            self.is_over();
        }
    }

    /// What comes is no start any more.
    #[cold]
    #[inline(never)]
    pub(super) fn is_over(&mut self) {
        self.expected = None;
        self.is_under_way = false;
    }
}
