//! The last iterations: what a timeline needs besides the callbacks.
//!
//! One entry per busy stretch, written when it ends, five stores an iteration. Between two entries the loop was in its
//! poll.

use crate::clock::Ticks;
use crate::limits::count;
use crate::ring::{ENTRY_WORDS, EntryWords, Ring};
use crate::word::{LoopOwned, Word};

/// How many iterations a page keeps.
pub const ITERATIONS: usize = 1024;

/// The ring in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct IterationWords {
    count: Word<LoopOwned>,
    entries: [[Word<LoopOwned>; ENTRY_WORDS]; ITERATIONS],
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(IterationWords, "iterations", count, entries);

/// One busy stretch: from the return of one poll to the begin of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IterationRecord {
    /// Number since the page was made.
    pub number: u64,
    /// When the poll before it returned.
    pub begin: Ticks,
    /// When the next poll began.
    pub end: Ticks,
    /// Events that the poll before it returned.
    pub events: u64,
    /// Number of the first callback's entry in the recorder.
    pub first_record: u64,
}

impl IterationWords {
    #[inline(always)]
    pub(crate) fn ring(&self) -> Ring<'_> {
        Ring::new(&self.count, &self.entries)
    }

    /// Copies the entries numbered `from` and up.
    pub(crate) fn read(&self, from: u64) -> Vec<IterationRecord> {
        let decode = |(number, [begin, end, events, first_record]): (u64, EntryWords)| IterationRecord {
            number,
            begin: Ticks(begin),
            end: Ticks(end),
            events: count(events),
            first_record: count(first_record),
        };
        self.ring().read(from).into_iter().map(decode).collect()
    }
}
