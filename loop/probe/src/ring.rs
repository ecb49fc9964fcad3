//! Rings of the last callbacks, iterations and jobs, overwritten in place: the recorder.
//!
//! The writer never waits and nothing is ever full: the ring is a flight recorder, not a queue. A reader copies
//! entries and afterwards drops those that the writer may have begun to overwrite meanwhile.
//!
//! Orderings, with their pairs:
//! - the writer stores an entry (relaxed), then publishes the count (release); a reader that observes the count
//!   (acquire) therefore sees every entry below it;
//! - before it overwrites an entry, the writer issues a release fence after the last count; a reader copies entries
//!   (relaxed), issues an acquire fence and reads the count again: if it copied any word of the new entry, it also
//!   sees a count that condemns the slot.

use crate::limits::count;
use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};
use crate::sync::{Ordering, fence};

/// Words per entry.
pub const ENTRY_WORDS: usize = 4;

/// One entry: what ran, when it was ready, when it began, when it ended.
pub type EntryWords = [u64; ENTRY_WORDS];

/// A ring of [`EntryWords`] over borrowed cells.
#[derive(Debug)]
pub struct Ring<'a, Owner = LoopOwned> {
    count: &'a SharedU64<Owner>,
    cells: &'a [[SharedU64<Owner>; ENTRY_WORDS]],
}

impl<'a, Owner> Ring<'a, Owner> {
    /// Views `cells` as a ring whose entries so far are counted in `count`.
    ///
    /// # Panics
    /// Panics where the number of cells is not a power of two.
    #[inline(always)]
    pub fn new(count: &'a SharedU64<Owner>, cells: &'a [[SharedU64<Owner>; ENTRY_WORDS]]) -> Self {
        assert!(cells.len().is_power_of_two(), "a ring's length is a power of two");
        Ring { count, cells }
    }

    /// Returns how many entries were ever pushed.
    pub fn count(&self) -> u64 {
        count(self.count.get())
    }

    /// Appends an entry over the oldest. Four stores, one more for the count, no branch. Returns the new count.
    #[inline(always)]
    pub fn push(&self, pen: &WriteToken<Owner>, entry: EntryWords) -> u64 {
        let count = self.count.get();
        let cell = &self.cells[count as usize & (self.cells.len() - 1)];
        // Pairs with the acquire fence in `read`. A compiler barrier on x86-64.
        fence(Ordering::Release);
        for (word, value) in cell.iter().zip(entry) {
            word.set(pen, value);
        }
        self.count.publish(pen, count.wrapping_add(1));
        count.wrapping_add(1)
    }

    /// Copies the entries numbered `from` and up, oldest first, each with its number; entries that are gone or being
    /// overwritten are left out.
    pub fn read(&self, from: u64) -> Vec<(u64, EntryWords)> {
        let length = self.cells.len() as u64;
        let end = count(self.count.observe());
        let begin = from.max(end.saturating_sub(length));
        let numbers = begin..end.max(begin);
        let mut entries: Vec<_> = numbers.map(|number| (number, self.copy(number))).collect();
        // Pairs with the release fence in `push`.
        fence(Ordering::Acquire);
        // The entry numbered `count` may be half written over the one numbered `count - length`.
        let intact = (self.count() + 1).saturating_sub(length);
        entries.retain(|(number, _)| *number >= intact);
        entries
    }

    /// Copies one entry for the writer itself, which knows that it is intact.
    #[inline(always)]
    pub(crate) fn own_entry(&self, number: u64) -> EntryWords {
        self.copy(number)
    }

    /// Returns the entries numbered `from..to`, in one or two parts, for the writer itself, which knows that they are intact. At most as
    /// many as the ring has, and in order: what is beyond is left out.
    #[inline(always)]
    pub(crate) fn own_entries(&self, from: u64, to: u64) -> [&'a [[SharedU64<Owner>; ENTRY_WORDS]]; 2] {
        let first = from as usize & (self.cells.len() - 1);
        let count = to.saturating_sub(from) as usize;
        let until_end = &self.cells[first..];
        match until_end.get(..count) {
            Some(all) => [all, &[]],
            None => [until_end, self.cells.get(..count - until_end.len()).unwrap_or(&[])],
        }
    }

    #[inline(always)]
    fn copy(&self, number: u64) -> EntryWords {
        let cell = &self.cells[number as usize & (self.cells.len() - 1)];
        std::array::from_fn(|word| cell[word].get())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_entries_in_order() {
        let cells: [[SharedU64<LoopOwned>; ENTRY_WORDS]; 4] = Default::default();
        let (count, pen) = (SharedU64::default(), WriteToken::mint());
        let ring = Ring::new(&count, &cells);
        assert_eq!(ring.read(0), []);
        for number in 0..10u64 {
            ring.push(&pen, [number; ENTRY_WORDS]);
        }
        // One less than the length: the writer might already be overwriting the oldest.
        assert_eq!(ring.read(0), [(7, [7; 4]), (8, [8; 4]), (9, [9; 4])]);
        assert_eq!(ring.read(9), [(9, [9; 4])]);
        assert_eq!(ring.read(100), []);
    }

    #[test]
    fn the_writer_finds_its_entries_in_two_parts() {
        let cells: [[SharedU64<LoopOwned>; ENTRY_WORDS]; 4] = Default::default();
        let (count, pen) = (SharedU64::default(), WriteToken::mint());
        let ring = Ring::new(&count, &cells);
        for number in 0..10u64 {
            ring.push(&pen, [number; ENTRY_WORDS]);
        }
        let found = |from, to| {
            let parts = ring.own_entries(from, to);
            parts.map(|part| part.iter().map(|[first, ..]| first.get()).collect::<Vec<_>>())
        };
        assert_eq!(found(8, 10), [vec![8, 9], vec![]]);
        assert_eq!(found(6, 10), [vec![6, 7], vec![8, 9]]);
        assert_eq!(found(7, 7), [[]; 2].map(|none: [u64; 0]| none.to_vec()));
        assert_eq!(found(9, 8), [vec![], vec![]]);
        assert_eq!(found(6, 11)[0], [6, 7]);
    }
}
