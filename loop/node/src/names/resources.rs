//! Resources that live, by Node's number for them: what an entry without a name of its own is for.
//!
//! Node does not tell the end of all: a socket that an `http.Agent` uses again gets a new number for each request, and only the
//! last one ends; and a file that was closed ends when its garbage is collected. Of those that are kept in mind some give way:
//! first those that are called within a scope of their name, as sockets are, then those that nothing was ever run for, and of
//! each sort the oldest.

use super::NameId;

/// Resources that are kept in mind: half a MiB, of which memory is what was used.
const RESOURCES: usize = 1 << 16;
/// Places that a resource can be in. Numbers are counted up, so that newer ones come to all of them in turn.
const WAYS: usize = 4;
const SETS: usize = RESOURCES / WAYS;
/// A place holds the number, the name in its lowest bits, and in its highest whether only the number tells what is called, and
/// whether it was asked for: so the least of several is the one that gives way. 0 where it is empty.
const NAME_BITS: u32 = 8;
const NEEDED: u64 = 1 << 63;
const ASKED_FOR: u64 = 1 << 62;

/// Returns the number that a place holds.
#[inline]
fn id_of(place: u64) -> u64 {
    (place & !(NEEDED | ASKED_FOR)) >> NAME_BITS
}

/// Living resources, each with the name of its provider.
#[derive(Debug)]
pub struct Resources {
    sets: Box<[[u64; WAYS]]>,
    living: u64,
    /// Those that gave way.
    left_out: u64,
}

impl Default for Resources {
    fn default() -> Self {
        Resources { sets: vec![[0; WAYS]; SETS].into_boxed_slice(), living: 0, left_out: 0 }
    }
}

impl Resources {
    /// A resource was made. `is_scoped` where Node calls it within a scope of its name.
    #[inline]
    pub fn born(&mut self, id: u64, NameId(name): NameId, is_scoped: bool) {
        let set = &mut self.sets[id as usize % SETS];
        let Some(place) = set.iter_mut().min() else { return };
        match *place {
            0 => self.living += 1,
            _ => self.left_out += 1,
        }
        *place = id << NAME_BITS | u64::from(name) | if is_scoped { 0 } else { NEEDED };
    }

    /// A resource is gone.
    #[inline]
    pub fn died(&mut self, id: u64) {
        if let Some(place) = self.sets[id as usize % SETS].iter_mut().find(|place| id_of(**place) == id) {
            self.living -= u64::from(*place != 0);
            *place = 0;
        }
    }

    /// Returns the provider of a resource.
    #[inline]
    pub fn provider(&mut self, id: u64) -> Option<NameId> {
        let set = &mut self.sets[id as usize % SETS];
        let place = set.iter_mut().find(|place| **place != 0 && id_of(**place) == id)?;
        // It stays: what ran once for it is likely to run again.
        if *place & (NEEDED | ASKED_FOR) == NEEDED {
            *place |= ASKED_FOR;
        }
        Some(NameId(*place as u8))
    }

    /// Returns how many are kept in mind, and how many gave way.
    pub fn counts(&self) -> (u64, u64) {
        (self.living, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_known_and_the_oldest_give_way() {
        let mut resources = Resources::default();
        for id in 1..=RESOURCES as u64 + 10 {
            resources.born(id, NameId(id as u8), false);
        }
        assert_eq!(resources.counts(), (RESOURCES as u64, 10));
        assert_eq!(resources.provider(10), None, "ten gave way");
        assert_eq!(resources.provider(300), Some(NameId(44)));
        assert_eq!(resources.provider(RESOURCES as u64 + 10), Some(NameId(10)), "the newest is known");
        resources.died(300);
        resources.died(300);
        assert_eq!((resources.provider(300), resources.provider(0)), (None, None));
        assert_eq!(resources.counts(), (RESOURCES as u64 - 1, 10));
        resources.born(1 << 40, NameId(1), false);
        assert_eq!(resources.provider(1 << 40), Some(NameId(1)));
    }

    #[test]
    fn sockets_and_what_nothing_runs_for_drive_out_nothing_else() {
        let mut resources = Resources::default();
        resources.born(7, NameId(1), false);
        for id in 8..4 * RESOURCES as u64 {
            resources.born(id, NameId(2), true);
        }
        assert_eq!(resources.provider(7), Some(NameId(1)));
        for id in 8..4 * RESOURCES as u64 {
            resources.born(id, NameId(3), false);
        }
        assert_eq!(resources.provider(7), Some(NameId(1)), "the others were never asked for");
        resources.died(7);
        assert_eq!(resources.provider(7), None);
    }
}
