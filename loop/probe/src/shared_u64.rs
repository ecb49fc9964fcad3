//! A 64-bit cell that exactly one owner may write and anybody may read.
//!
//! The cell knows its owner by type, and only the owner's [`WriteToken`] can write it. A pen is minted once per page and
//! owner, so a second writing thread does not compile. Writes are plain loads and stores: never a read-modify-write,
//! never a lock prefix.

use crate::sync::{AtomicU64, Ordering};
use std::marker::PhantomData;

/// Marks cells that only the loop's thread writes.
///
/// Not `Send`: its pen stays on the thread that made the page.
#[derive(Debug)]
pub struct LoopOwned(PhantomData<*const ()>);

/// Marks cells that are written under the pool's mutex: one writer at a time, on changing threads.
#[derive(Debug)]
pub struct PoolOwned(());

/// Marks cells that an adapter writes from any of its threads, one at a time: numbers that only its runtime has.
#[derive(Debug)]
pub struct GaugeOwned(());

/// Marks cells that the watching agent writes: thresholds and its own address.
#[derive(Debug)]
pub struct AgentOwned(());

/// The right to write the cells of one owner. Zero-sized, and made only inside this crate.
#[derive(Debug)]
pub struct WriteToken<Owner>(PhantomData<Owner>);

impl<Owner> WriteToken<Owner> {
    /// Mints the pen. Called once per page and owner, by the code that makes the page.
    pub(crate) fn mint() -> Self {
        WriteToken(PhantomData)
    }

    /// Mints a pen for a model in `tests/loom.rs`, which has no page. Exists in `--cfg loom` builds only.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn mint_for_model() -> Self {
        WriteToken::mint()
    }
}

/// One shared 64-bit value with one writer.
///
/// All accesses are relaxed unless the method says otherwise: a reader sees some value that was written, never a torn
/// one, and learns about the order of several words only through the release and acquire pairs that their users name.
#[repr(transparent)]
#[derive(Debug)]
pub struct SharedU64<Owner> {
    value: AtomicU64,
    owner: PhantomData<fn(Owner)>,
}

impl<Owner> Default for SharedU64<Owner> {
    fn default() -> Self {
        SharedU64 { value: AtomicU64::new(0), owner: PhantomData }
    }
}

impl<Owner> SharedU64<Owner> {
    /// Returns the value (relaxed).
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Returns the value, and makes visible what the owner wrote before the matching [`SharedU64::publish`] (acquire).
    #[inline(always)]
    pub fn observe(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Stores `value` (relaxed).
    #[inline(always)]
    pub fn set(&self, _pen: &WriteToken<Owner>, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// Stores `value` after everything the owner wrote before it (release); pairs with [`SharedU64::observe`].
    #[inline(always)]
    pub fn publish(&self, _pen: &WriteToken<Owner>, value: u64) {
        self.value.store(value, Ordering::Release);
    }

    /// Returns the cell itself, for copying from a place where nothing but a load is allowed.
    #[cfg(not(loom))]
    pub(crate) fn cell(&self) -> &AtomicU64 {
        &self.value
    }

    /// Adds `amount`, wrapping: a load and a store, which is enough because nobody else writes.
    #[inline(always)]
    pub fn add(&self, pen: &WriteToken<Owner>, amount: u64) {
        self.set(pen, self.get().wrapping_add(amount));
    }

    /// Raises the value to `value` if it is below it.
    #[inline(always)]
    pub fn raise(&self, pen: &WriteToken<Owner>, value: u64) {
        if value > self.get() {
            self.set(pen, value);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_eight_bytes_and_counts() {
        assert_eq!(size_of::<SharedU64<LoopOwned>>(), 8);
        let (word, pen) = (SharedU64::<LoopOwned>::default(), WriteToken::mint());
        word.add(&pen, 3);
        word.add(&pen, 4);
        word.raise(&pen, 5);
        assert_eq!(word.get(), 7);
        word.raise(&pen, 9);
        assert_eq!(word.get(), 9);
    }
}
