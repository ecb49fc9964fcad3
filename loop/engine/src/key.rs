//! Keys: how a program names what it registered, and why an old name can do no harm.
//!
//! A key is a slot number and a generation. Each registration gets a generation of its own, so a key whose timer has
//! fired or whose socket was closed matches nothing any more, also when the slot has a new tenant: every operation on
//! it is a no-op that returns `false` or `None`.

use slab::Slab;

/// The name of a timer, an immediate, a hook, a socket or a pool job of one loop. Plain data: copy it, keep it,
/// compare it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    slot: u32,
    generation: u32,
}

/// How many bits of an operating-system token hold the slot; the others hold generation bits, so that an event of a
/// closed source is recognised as stale.
const TOKEN_SLOT_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };

/// Marks the keys of immediates, which have a number instead of a slot.
const IMMEDIATE: u32 = 1 << 31;

/// Marks the keys of timers, whose slots are their own.
const TIMER: u32 = 1 << 30;

impl Key {
    /// A key that matches nothing: generations start at 1.
    pub(crate) const NOBODY: Key = Key { slot: 0, generation: 0 };

    /// Names the immediate with this number. Immediates are numbered through and never numbered again.
    #[inline]
    pub(crate) fn of_immediate(number: u64) -> Key {
        Key { slot: IMMEDIATE | (number >> 32) as u32, generation: number as u32 }
    }

    /// Returns the immediate's number; `None` for other keys.
    #[inline]
    pub(crate) fn immediate(self) -> Option<u64> {
        let is_immediate = self.slot & IMMEDIATE != 0;
        is_immediate.then(|| u64::from(self.slot & !IMMEDIATE) << 32 | u64::from(self.generation))
    }

    /// The largest slot of a timer.
    pub(crate) const TIMERS_MAX: u32 = TIMER - 1;

    /// Names the timer in this slot.
    #[inline]
    pub(crate) fn of_timer(slot: u32, generation: u32) -> Key {
        Key { slot: TIMER | slot, generation }
    }

    /// Returns the timer's slot and generation; `None` for other keys.
    #[inline]
    pub(crate) fn timer(self) -> Option<(u32, u32)> {
        let is_timer = self.slot & (IMMEDIATE | TIMER) == TIMER;
        is_timer.then_some((self.slot & !TIMER, self.generation))
    }

    /// Returns the whole key as one word; never 0, but for [`Key::NOBODY`].
    #[inline]
    pub(crate) fn packed(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// Takes back [`Key::packed`].
    #[inline]
    pub(crate) fn of_packed(word: u64) -> Key {
        Key { slot: (word >> 32) as u32, generation: word as u32 }
    }

    /// Packs the key into a number that the operating system carries along with a source.
    pub(crate) fn token(self) -> usize {
        self.slot as usize | (self.generation as usize) << TOKEN_SLOT_BITS
    }
}

/// Values with keys. Insertion and removal take a few nanoseconds and do not allocate in the steady state.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slab: Slab<Tenant<T>>,
    generation: u32,
}

#[derive(Debug)]
struct Tenant<T> {
    generation: u32,
    value: T,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Slots { slab: Slab::new(), generation: 0 }
    }

    /// Stores a value and returns its key.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.slab.insert(Tenant { generation, value });
        let slot = u32::try_from(slot).ok().filter(|slot| slot & (IMMEDIATE | TIMER) == 0);
        Key { slot: slot.expect("memory ends before a thousand million slots"), generation }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let tenant = self.slab.get(key.slot as usize)?;
        (tenant.generation == key.generation).then_some(&tenant.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let tenant = self.slab.get_mut(key.slot as usize)?;
        (tenant.generation == key.generation).then_some(&mut tenant.value)
    }

    /// Returns the key and value behind an operating-system token, `None` for a token of a former tenant.
    #[inline]
    pub(crate) fn by_token(&mut self, token: usize) -> Option<(Key, &mut T)> {
        let slot = token & ((1 << TOKEN_SLOT_BITS) - 1);
        let Tenant { generation, value } = self.slab.get_mut(slot)?;
        let key = Key { slot: slot as u32, generation: *generation };
        (key.token() == token).then_some((key, value))
    }

    /// Takes a value out; its key is stale from now on.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slab.remove(key.slot as usize).value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_former_tenant_matches_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot, second.slot, "the slot is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.by_token(first.token()), None);
        assert_eq!(slots.by_token(second.token()), Some((second, &mut "second")));
        assert_eq!(slots.get(second), Some(&"second"));
    }
}
