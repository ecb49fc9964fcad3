//! Resources that live, by Node's number for them: what an entry without a name of its own is for.
//!
//! Node does not tell the end of all: a parser of HTTP gets a new number for each request, and only its last one ends. So of
//! those that are kept in mind the oldest give way.

use super::NameId;

/// Resources that are kept in mind: half a MiB, of which memory is what was used.
const RESOURCES: usize = 1 << 16;
/// Places that a resource can be in. Numbers are counted up, so that newer ones come to all of them in turn.
const WAYS: usize = 4;
const SETS: usize = RESOURCES / WAYS;
/// A place holds the number, and the name in its lowest bits; 0 where it is empty.
const NAME_BITS: u32 = 8;

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
    /// A resource was made.
    #[inline]
    pub fn born(&mut self, id: u64, NameId(name): NameId) {
        let set = &mut self.sets[id as usize % SETS];
        // An empty place, or that of the oldest.
        let Some(place) = set.iter_mut().min() else { return };
        match *place {
            0 => self.living += 1,
            _ => self.left_out += 1,
        }
        *place = id << NAME_BITS | u64::from(name);
    }

    /// A resource is gone.
    #[inline]
    pub fn died(&mut self, id: u64) {
        if let Some(place) = self.sets[id as usize % SETS].iter_mut().find(|place| **place >> NAME_BITS == id)
        {
            self.living -= u64::from(*place != 0);
            *place = 0;
        }
    }

    /// Returns the provider of a resource.
    #[inline]
    pub fn provider(&self, id: u64) -> Option<NameId> {
        let set = &self.sets[id as usize % SETS];
        let place = set.iter().find(|place| **place != 0 && **place >> NAME_BITS == id)?;
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
            resources.born(id, NameId(id as u8));
        }
        assert_eq!(resources.counts(), (RESOURCES as u64, 10));
        assert_eq!(resources.provider(10), None, "ten gave way");
        assert_eq!(resources.provider(300), Some(NameId(44)));
        assert_eq!(resources.provider(RESOURCES as u64 + 10), Some(NameId(10)), "the newest is known");
        resources.died(300);
        resources.died(300);
        assert_eq!((resources.provider(300), resources.provider(0)), (None, None));
        assert_eq!(resources.counts(), (RESOURCES as u64 - 1, 10));
        resources.born(1 << 40, NameId(1));
        assert_eq!(resources.provider(1 << 40), Some(NameId(1)));
    }
}
