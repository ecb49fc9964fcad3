//! Which list holds the timers of a duration: an array where durations are usual, a map for the others.
//!
//! A program with many durations looks here at each start of a timer. In a map of tens of thousands that is two places in
//! memory which are in no cache; in an array, whose entries are four bytes, the durations that are used lie together.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Durations of so many milliseconds, some two minutes, and longer ones are in the map.
const NEAR_MS: u64 = 1 << 17;

/// Durations side by side in a page of the array; pages are made when one of them is first used. 1 KiB.
const PAGE: usize = 256;

/// No list. Slots are smaller.
const NONE: u32 = u32::MAX;

/// Slots of lists by duration.
#[derive(Debug)]
pub(crate) struct Durations {
    near: Vec<Option<Box<[u32; PAGE]>>>,
    far: HashMap<u64, u32, BuildHasherDefault<DurationHasher>>,
}

impl Durations {
    pub(crate) fn new() -> Self {
        Durations { near: Vec::new(), far: HashMap::default() }
    }

    /// Returns the slot of the list of a duration.
    #[inline]
    pub(crate) fn get(&self, duration_ms: u64) -> Option<u32> {
        if duration_ms >= NEAR_MS {
            return self.far.get(&duration_ms).copied();
        }
        let (page, at) = place(duration_ms);
        let slot = self.near.get(page)?.as_ref()?[at];
        (slot != NONE).then_some(slot)
    }

    /// Remembers the list of a duration that has none.
    pub(crate) fn insert(&mut self, duration_ms: u64, slot: u32) {
        if duration_ms >= NEAR_MS {
            self.far.insert(duration_ms, slot);
            return;
        }
        let (page, at) = place(duration_ms);
        if page >= self.near.len() {
            self.near.resize(page + 1, None);
        }
        self.near[page].get_or_insert_with(|| Box::new([NONE; PAGE]))[at] = slot;
    }

    /// Forgets the list of a duration.
    pub(crate) fn remove(&mut self, duration_ms: u64) {
        if duration_ms >= NEAR_MS {
            self.far.remove(&duration_ms);
            return;
        }
        let (page, at) = place(duration_ms);
        if let Some(Some(page)) = self.near.get_mut(page) {
            page[at] = NONE;
        }
    }
}

#[inline]
fn place(duration_ms: u64) -> (usize, usize) {
    let duration_ms = duration_ms as usize;
    (duration_ms / PAGE, duration_ms % PAGE)
}

/// Hashes one `u64` by a multiplication: durations come from the program, not from its clients.
#[derive(Debug, Default)]
struct DurationHasher(u64);

impl Hasher for DurationHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_has_its_own_list_and_can_lose_it() {
        let mut durations = Durations::new();
        let all = [0, 1, 255, 256, 60_000, NEAR_MS - 1, NEAR_MS, NEAR_MS + 1, u64::MAX / 4];
        for (slot, duration_ms) in (0..).zip(all) {
            assert_eq!(durations.get(duration_ms), None, "{duration_ms}");
            durations.insert(duration_ms, slot);
        }
        for (slot, duration_ms) in (0..).zip(all) {
            assert_eq!(durations.get(duration_ms), Some(slot), "{duration_ms}");
            durations.remove(duration_ms);
            assert_eq!(durations.get(duration_ms), None, "{duration_ms}");
            durations.remove(duration_ms);
        }
    }
}
