//! Callback sites: where a callback was registered, found once and named by a small number ever after.
//!
//! The number lives in the callback's slot, so naming costs nothing when the callback runs. Finding it costs a look-up
//! by the address of the `Location` (1 to 5 ns), and a copy of the strings to the page the first time.
//! The table is bounded: when it is full, further sites share the last entry, and are counted.

use crate::kind::Kind;
use crate::limits::count;
use crate::printable::is_hidden;
use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};
use std::collections::HashMap;
use std::panic::Location;

/// How many sites a page has room for, the shared last one included.
pub const SITES: usize = 512;

const NAME_WORDS: usize = 8;
const FILE_WORDS: usize = 15;

/// The number of a site on its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub(crate) u16);

impl SiteId {
    /// No site: nothing runs, or the place is not known.
    pub const NONE: SiteId = SiteId(0);
    /// The shared entry of all sites that came after the table was full.
    pub const OTHER: SiteId = SiteId(SITES as u16 - 1);

    /// Returns the number, as it is on the page.
    pub fn as_u16(self) -> u16 {
        self.0
    }

    /// Returns the index of the site in the page's table, below [`SITES`].
    pub fn index(self) -> usize {
        usize::from(self.0).min(SITES - 1)
    }
}

/// Takes a number as it was read: a site that the page does not have is shown as unknown.
impl From<u16> for SiteId {
    fn from(number: u16) -> SiteId {
        SiteId(number)
    }
}

/// One entry of the site table: 192 bytes. Written once, before the table's length counts it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SiteWords {
    /// Kind in bits 0..8, column in 8..24, line in 32..64.
    meta: SharedU64<LoopOwned>,
    name: [SharedU64<LoopOwned>; NAME_WORDS],
    file: [SharedU64<LoopOwned>; FILE_WORDS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(SiteWords, "site", meta, name, file);

/// The site table in shared memory.
#[repr(C)]
#[derive(Debug)]
pub struct SiteTable {
    /// Entries in use; published (release) after the entry is written.
    length: SharedU64<LoopOwned>,
    /// Registrations that found the table full.
    overflow: SharedU64<LoopOwned>,
    entries: [SiteWords; SITES],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(SiteTable, "sites", length, overflow, entries);

/// A place in the program where callbacks are registered. Write one as `Site { kind, name, ..Site::default() }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// What is registered there.
    pub kind: Kind,
    /// The user's name for it; empty where none was given.
    pub name: String,
    /// Source file as the compiler saw it; a long path keeps its end. Empty where not known.
    pub file: String,
    /// Line, from 1; 0 where not known.
    pub line: u32,
    /// Column, from 1; 0 where not known.
    pub column: u32,
}

impl Default for Site {
    /// Returns a place of which nothing is known.
    fn default() -> Site {
        Site { kind: Kind::Other, name: String::new(), file: String::new(), line: 0, column: 0 }
    }
}

impl Site {
    /// Returns `name (file:line)`, or what there is of it; `?` where nothing is known.
    pub fn label(&self) -> String {
        match (self.name.is_empty(), self.file.is_empty()) {
            (true, true) => "?".to_owned(),
            (true, false) => format!("{}:{}", self.file, self.line),
            (false, true) => self.name.clone(),
            (false, false) => format!("{} ({}:{})", self.name, self.file, self.line),
        }
    }
}

impl SiteTable {
    fn write(&self, pen: &WriteToken<LoopOwned>, id: SiteId, site: &Site) {
        let entry = &self.entries[id.index()];
        let column = u64::from(site.column.min(0xffff));
        entry.meta.set(pen, site.kind as u64 | column << 8 | u64::from(site.line) << 32);
        store_text(pen, &entry.name, &site.name, false);
        store_text(pen, &entry.file, &site.file, true);
    }

    /// Bytes before the entries.
    #[cfg(target_os = "linux")]
    pub(crate) const HEAD_BYTES: usize = std::mem::offset_of!(SiteTable, entries);

    /// Returns how many bytes of the table [`SiteTable::read`] reads.
    #[cfg(target_os = "linux")]
    pub(crate) fn bytes_in_use(&self) -> usize {
        // The last entry is in use from the first overflow on.
        let in_use = if self.overflow() > 0 { SITES } else { (self.length.observe() as usize).min(SITES) };
        SiteTable::HEAD_BYTES + in_use * size_of::<SiteWords>()
    }

    /// Returns how many registrations shared the last entry because the table was full.
    pub fn overflow(&self) -> u64 {
        count(self.overflow.get())
    }

    /// Copies the sites in use; the index in the result is the site's number. A damaged entry reads as unknown.
    pub fn read(&self) -> Vec<Site> {
        let length = (self.length.observe() as usize).min(SITES);
        let mut sites: Vec<Site> = self.entries[..length].iter().map(SiteWords::read).collect();
        if self.overflow() > 0 && length < SITES {
            sites.resize(SITES - 1, unknown_site());
            sites.push(self.entries[SiteId::OTHER.index()].read());
        }
        sites
    }

    /// Copies one site, or `None` where the number is not in use.
    pub fn read_one(&self, id: SiteId) -> Option<Site> {
        let in_use = (self.length.observe() as usize).min(SITES) > id.index();
        (in_use || id == SiteId::OTHER).then(|| self.entries[id.index()].read())
    }

    /// Returns the [label](Site::label) of one site; `?` where it is not known.
    pub fn label(&self, id: SiteId) -> String {
        self.read_one(id).map_or_else(|| "?".to_owned(), |site| site.label())
    }

    /// Returns the name of one site, empty where it has none; `?` where the site is not known.
    pub fn name(&self, id: SiteId) -> String {
        self.read_one(id).map_or_else(|| "?".to_owned(), |site| site.name)
    }
}

impl SiteWords {
    fn read(&self) -> Site {
        let meta = self.meta.get();
        Site {
            kind: Kind::from_index(meta as usize & 0xff).unwrap_or(Kind::Other),
            name: load_text(&self.name),
            file: load_text(&self.file),
            line: (meta >> 32) as u32,
            column: (meta >> 8) as u32 & 0xffff,
        }
    }
}

fn unknown_site() -> Site {
    Site { kind: Kind::Other, name: String::new(), file: String::new(), line: 0, column: 0 }
}

/// Stores `text` in whole words, zero-padded; what does not fit is cut off at a character, at the end or the front.
pub(crate) fn store_text<Owner>(
    pen: &WriteToken<Owner>,
    words: &[SharedU64<Owner>],
    text: &str,
    keep_end: bool,
) {
    let room = words.len() * 8;
    let excess = text.len().saturating_sub(room);
    let kept = if keep_end {
        let start = (excess..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        &text[start..]
    } else {
        &text[..(0..=text.len() - excess).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)]
    };
    let mut bytes = kept.as_bytes().chunks(8);
    for word in words {
        let mut packed = [0; 8];
        let chunk = bytes.next().unwrap_or_default();
        packed[..chunk.len()].copy_from_slice(chunk);
        word.set(pen, u64::from_ne_bytes(packed));
    }
}

/// Reads what [`store_text`] stored; bytes that are not UTF-8 and characters that are not to be shown become replacement
/// characters, so that a hostile page can send a terminal neither control codes nor text in another order.
pub(crate) fn load_text<Owner>(words: &[SharedU64<Owner>]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.get().to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes);
    match text.contains(is_hidden) {
        true => text.replace(is_hidden, "\u{fffd}"),
        false => text.into_owned(),
    }
}

/// What a site is found by, without a look at a string: addresses of static data, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SiteAddress {
    place: usize,
    /// 0 where the function is not known.
    function: usize,
    kind: Kind,
}

impl SiteAddress {
    #[inline]
    pub(crate) fn of(place: usize, kind: Kind) -> SiteAddress {
        SiteAddress { place, function: 0, kind }
    }

    #[inline]
    pub(crate) fn of_function(at: &'static Location<'static>, function: &'static str, kind: Kind) -> Self {
        let function = if function.is_empty() { 0 } else { function.as_ptr() as usize };
        SiteAddress { place: std::ptr::from_ref(at) as usize, function, kind }
    }

    /// Locations are static data, eight bytes aligned and a few words long; the names of functions are not aligned.
    #[inline]
    fn recent_index(self) -> usize {
        ((self.place / 8) ^ self.function) % RECENT
    }
}

/// How many recently found sites are remembered by address alone.
const RECENT: usize = 256;

/// The writer's memory of which site has which number.
#[derive(Debug)]
pub(crate) struct SiteIndex {
    /// Direct-mapped by the location's address: registrations repeat, and this answers without the hash map.
    recent: Box<[(SiteAddress, SiteId); RECENT]>,
    by_location: HashMap<SiteAddress, SiteId, std::hash::BuildHasherDefault<AddressHasher>>,
    by_value: HashMap<Site, SiteId>,
}

impl SiteIndex {
    /// Writes the two fixed entries: number 0 is "unknown", the last is "other".
    pub(crate) fn new(pen: &WriteToken<LoopOwned>, table: &SiteTable) -> Self {
        table.write(pen, SiteId::NONE, &unknown_site());
        let other = Site { name: "(other)".to_owned(), ..unknown_site() };
        table.write(pen, SiteId::OTHER, &other);
        table.length.publish(pen, 1);
        let recent = Box::new([(SiteAddress::of(0, Kind::Other), SiteId::NONE); RECENT]);
        SiteIndex { recent, by_location: HashMap::default(), by_value: HashMap::new() }
    }

    /// Finds the site of a source location, or makes it.
    #[inline]
    pub(crate) fn at(
        &mut self,
        pen: &WriteToken<LoopOwned>,
        table: &SiteTable,
        at: &'static Location<'static>,
        kind: Kind,
    ) -> SiteId {
        let address = std::ptr::from_ref(at) as usize;
        self.addressed(pen, table, SiteAddress::of(address, kind), || site_at(at, kind, ""))
    }

    /// Finds the site that stands for an address, or makes it.
    #[inline]
    pub(crate) fn addressed(
        &mut self,
        pen: &WriteToken<LoopOwned>,
        table: &SiteTable,
        address: SiteAddress,
        make: impl FnOnce() -> Site,
    ) -> SiteId {
        let (known, id) = self.recent[address.recent_index()];
        if known == address {
            return id;
        }
        self.search(pen, table, address, make)
    }

    fn search(
        &mut self,
        pen: &WriteToken<LoopOwned>,
        table: &SiteTable,
        address: SiteAddress,
        make: impl FnOnce() -> Site,
    ) -> SiteId {
        let id = match self.by_location.get(&address) {
            Some(id) => *id,
            None => {
                // The same place may have several `Location`s (one per codegen unit), so the value decides.
                let id = self.intern(pen, table, make());
                self.by_location.insert(address, id);
                id
            }
        };
        self.recent[address.recent_index()] = (address, id);
        id
    }

    /// Finds the site with these values, or makes it.
    pub(crate) fn intern(&mut self, pen: &WriteToken<LoopOwned>, table: &SiteTable, site: Site) -> SiteId {
        if let Some(id) = self.by_value.get(&site) {
            return *id;
        }
        let length = table.length.get() as usize;
        if length >= SITES - 1 {
            table.overflow.add(pen, 1);
            return SiteId::OTHER;
        }
        let id = SiteId(length as u16);
        table.write(pen, id, &site);
        table.length.publish(pen, length as u64 + 1);
        self.by_value.insert(site, id);
        id
    }
}

/// Returns the site of a source location with a user's name (empty for none).
pub(crate) fn site_at(at: &'static Location<'static>, kind: Kind, name: &str) -> Site {
    Site { kind, name: name.to_owned(), file: at.file().to_owned(), line: at.line(), column: at.column() }
}

/// Multiplicative hash for addresses and small numbers, which need no defence against chosen keys.
#[derive(Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl std::hash::Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "site_tests.rs"]
mod tests;
