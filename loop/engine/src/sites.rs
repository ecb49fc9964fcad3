//! The sites of a loop: a small cache in front of the probe's table, and numbers for what exists by the million.
//!
//! A registration asks for the site of its place in the source and of the function that is registered there. A program
//! has few of them and visits them often, so one look at a place in an array, chosen by the addresses of the
//! [`Location`] and of the function's name, saves a hash and a probe of the table: 1 instead of 5 ns. The name that
//! people read is made from it once ([`function_name`]).

use crate::callback::{Origin, Site};
use crate::function_name::function_name;
use loopscope_probe::{Kind, SiteId, Writer};
use std::collections::HashMap;
use std::panic::Location;

/// Entries; a power of two. 64 of 32 bytes lie in the first-level cache.
const ENTRIES: usize = 64;

/// The number of a site of this loop: a quarter of its size, for timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// Sites by the address of their location, and by number.
pub(crate) struct SiteCache {
    entries: Box<[SiteEntry; ENTRIES]>,
    /// The sites that have a number. They are few: places in the source, and names given to them.
    numbered: Vec<Site>,
    numbers: HashMap<(usize, SiteId), Place>,
}

#[derive(Clone, Copy)]
struct SiteEntry {
    /// Of the location and of the function's name; 0 in an empty entry.
    address: (usize, usize),
    kind: Kind,
    id: SiteId,
    /// `None` until it was asked for.
    place: Option<Place>,
}

fn address_of(at: &'static Location<'static>) -> usize {
    std::ptr::from_ref(at) as usize
}

impl SiteCache {
    pub(crate) fn new() -> Self {
        let empty = SiteEntry { address: (0, 0), kind: Kind::Other, id: SiteId::NONE, place: None };
        SiteCache { entries: Box::new([empty; ENTRIES]), numbered: Vec::new(), numbers: HashMap::new() }
    }

    /// Finds the site of a callback; asks the probe where the cache does not know it.
    #[inline]
    pub(crate) fn find(&mut self, probe: &mut Writer, origin: Origin, kind: Kind) -> SiteId {
        self.entry(Some(probe), origin, kind).id
    }

    /// Finds the number of the site of a callback.
    #[inline]
    pub(crate) fn place(&mut self, probe: Option<&mut Writer>, origin: Origin, kind: Kind) -> Place {
        let SiteEntry { id, place, .. } = *self.entry(probe, origin, kind);
        match place {
            Some(place) => place,
            None => {
                let place = self.number(Site { at: origin.at, id });
                self.entries[index_of(origin.address())].place = Some(place);
                place
            }
        }
    }

    /// Returns the number of a site, a new one where it has none.
    pub(crate) fn number(&mut self, site: Site) -> Place {
        let numbered = &mut self.numbered;
        *self.numbers.entry((address_of(site.at), site.id)).or_insert_with(|| {
            numbered.push(site);
            Place(u32::try_from(numbered.len() - 1).expect("a program has fewer places than that"))
        })
    }

    /// Returns the site with a number.
    #[inline]
    pub(crate) fn numbered(&self, place: Place) -> Site {
        self.numbered[place.0 as usize]
    }

    #[inline]
    fn entry(&mut self, probe: Option<&mut Writer>, origin: Origin, kind: Kind) -> &mut SiteEntry {
        let address = origin.address();
        let entry = &mut self.entries[index_of(address)];
        if entry.address != address || entry.kind != kind {
            let id = probe.map_or(SiteId::NONE, |probe| site_of(probe, origin, kind));
            *entry = SiteEntry { address, kind, id, place: None };
        }
        entry
    }
}

/// Locations are aligned to eight bytes: the lowest bits say nothing. Names are not.
#[inline]
fn index_of((location, function): (usize, usize)) -> usize {
    (location >> 3 ^ function) % ENTRIES
}

#[cold]
fn site_of(probe: &mut Writer, Origin { at, type_name }: Origin, kind: Kind) -> SiteId {
    probe.function_site(at, kind, type_name, || function_name(type_name).unwrap_or_default())
}
