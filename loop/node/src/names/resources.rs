//! Resources that live, by Node's number for them: what an entry without a name of its own is for.

use super::NameId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Resources that are kept in mind. A server with more sockets has entries that are named by their phase alone.
const RESOURCES: usize = 1 << 16;

/// Living resources, each with the name of its provider.
#[derive(Debug, Default)]
pub struct Resources {
    living: HashMap<u64, NameId, BuildHasherDefault<IdHasher>>,
    /// Births that found no room.
    left_out: u64,
}

impl Resources {
    /// A resource was made.
    #[inline]
    pub fn born(&mut self, id: u64, provider: NameId) {
        if self.living.len() < RESOURCES {
            self.living.insert(id, provider);
        } else {
            self.left_out += 1;
        }
    }

    /// A resource is gone.
    #[inline]
    pub fn died(&mut self, id: u64) {
        self.living.remove(&id);
    }

    /// Returns the provider of a resource.
    #[inline]
    pub fn provider(&self, id: u64) -> Option<NameId> {
        self.living.get(&id).copied()
    }

    /// Returns how many are kept in mind, and how many found no room.
    pub fn counts(&self) -> (u64, u64) {
        (self.living.len() as u64, self.left_out)
    }
}

/// Ids are counted up: one multiplication spreads them.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_known_and_their_number_is_bounded() {
        let mut resources = Resources::default();
        for id in 0..RESOURCES as u64 + 10 {
            resources.born(id, NameId(id as u8));
        }
        assert_eq!(resources.counts(), (RESOURCES as u64, 10));
        assert_eq!(resources.provider(300), Some(NameId(44)));
        resources.died(300);
        assert_eq!(resources.provider(300), None);
        resources.born(1 << 40, NameId(1));
        assert_eq!(resources.provider(1 << 40), Some(NameId(1)), "there is room again");
    }
}
