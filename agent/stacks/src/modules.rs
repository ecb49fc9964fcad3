//! The modules of this process (program, libraries, vDSO), described from memory, without opening a file: so also those
//! that were stripped, deleted or linked statically.
//!
//! The list is read on the asking side only, see [`loader_list`](crate::loader_list): for that the loader's lock is held, and
//! for nothing else.
//!
//! **Nothing here touches a library's mapping.** Its headers and unwind tables are copied by system call, because it may be
//! unloaded meanwhile, and its file be cut off, where a touch would end the program by SIGBUS; what cannot be read is not
//! there. What was read holds only if the loader has unloaded nothing meanwhile: else it may be of another library at that
//! place. Pinning (`dlopen` with `RTLD_NOLOAD`) would save the copy, some 100 kB for most libraries, but would keep a
//! plug-in from being unloaded and loaded anew, which changes the program. The program itself and the vDSO are never
//! unmapped, and are not copied.

use crate::loader_list::{Changes, LoaderList, Told};
use crate::memory::Memory;
use crate::tables::{Bytes, Tables, frames_begin};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One loaded module.
#[derive(Clone)]
pub struct Module {
    /// Its file's name, such as `libc.so.6`.
    pub name: Arc<str>,
    /// Its file; `None` for the vDSO.
    pub path: Option<PathBuf>,
    /// The addresses it takes up, from its first to its last segment.
    pub range: Range<u64>,
    /// What was added to the addresses in its file.
    pub base: u64,
    /// Its build id, in hexadecimal digits.
    pub build_id: Option<Arc<str>>,
    /// Different for every module that was ever listed in this process, also at the same address.
    pub(crate) number: u64,
    pub(crate) code: Vec<Range<u64>>,
    pub(crate) tables: Option<Tables>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:#x}..{:#x}", self.name, self.range.start, self.range.end)
    }
}

impl Module {
    /// Returns where the function that an address lies in begins, by the unwind tables; `None` where they do not cover it.
    pub fn function_begin(&self, address: u64) -> Option<u64> {
        self.tables.as_ref()?.function(address).map(|function| function.start)
    }

    pub(crate) fn function_end(&self, address: u64) -> Option<u64> {
        self.tables.as_ref()?.function(address).map(|function| function.end)
    }

    pub(crate) fn has_code(&self, address: u64) -> bool {
        self.code.iter().any(|code| code.contains(&address))
    }

    fn is_same(&self, other: &Module) -> bool {
        self.base == other.base
            && self.range == other.range
            && self.path == other.path
            && self.build_id == other.build_id
    }
}

/// Finds the module of an address in a list that is sorted by address.
pub(crate) fn find(modules: &[Module], address: u64) -> Option<&Module> {
    let index = modules.partition_point(|module| module.range.start <= address).checked_sub(1)?;
    modules.get(index).filter(|module| module.range.contains(&address))
}

/// Lists the modules by address. One that is in `known` keeps its number and its tables. A library that is unloaded meanwhile
/// is left out: so are, where that goes on and on, all that are not known yet.
pub(crate) fn list(known: &[Module]) -> Vec<Module> {
    let memory = Memory::open();
    let read = |at, bytes: &mut [u8]| memory.as_ref().is_ok_and(|memory| memory.read_into(at, bytes).is_ok());
    listed(known, &read, || Changes::now().removed)
}

/// Fills bytes from an address on; false where that is not mapped, or what is mapped there was cut off.
type Read<'a> = dyn Fn(u64, &mut [u8]) -> bool + 'a;

/// `removed` tells how many modules were ever unloaded.
fn listed(known: &[Module], read: &Read<'_>, removed: impl Fn() -> u64) -> Vec<Module> {
    /// What was read while a library was unloaded may be of another at its place: it is then read anew, so often.
    const TRIES: u32 = 3;
    let mut modules = Vec::new();
    for _ in 0..TRIES {
        let before = removed();
        modules = listed_once(known, read);
        if removed() == before {
            return modules;
        }
    }
    modules.retain(|module| known.iter().any(|known| known.number == module.number));
    modules
}

fn listed_once(known: &[Module], read: &Read<'_>) -> Vec<Module> {
    let list = LoaderList::now();
    let images = list.modules().enumerate();
    let images = images.filter_map(|(index, told)| Image::of(told, index == 0, read));
    let mut modules: Vec<Module> = images.filter_map(|image| image.module(known)).collect();
    if !modules.iter().any(|module| module.path.is_none()) {
        // A static program's loader does not tell of the vDSO.
        modules.extend(vdso().and_then(|told| Image::of(told, false, read)?.module(known)));
    }
    modules.sort_by_key(|module| module.range.start);
    modules
}

/// What a program header tells.
struct Segment {
    kind: u32,
    flags: u32,
    place: Range<u64>,
}

/// A module that is being looked at.
struct Image<'a> {
    name: &'a [u8],
    base: u64,
    segments: Vec<Segment>,
    is_program: bool,
    is_vdso: bool,
    read: &'a Read<'a>,
}

impl<'a> Image<'a> {
    /// Reads the program headers; `None` where they are not there any more.
    fn of(told: Told<'a>, is_program: bool, read: &'a Read<'a>) -> Option<Image<'a>> {
        let Told { name, base, headers_at, header_count } = told;
        let is_vdso = name.starts_with(b"linux-vdso") || name.starts_with(b"linux-gate");
        let mut image = Image { name, base, segments: Vec::new(), is_program, is_vdso, read };
        let length = header_count.saturating_mul(size_of::<libc::Elf64_Phdr>()) as u64;
        let headers = image.bytes(&(headers_at..headers_at.saturating_add(length)))?;
        let headers = headers.chunks_exact(size_of::<libc::Elf64_Phdr>());
        image.segments = headers.map(|header| segment(header, base)).collect();
        Some(image)
    }

    /// The program and the vDSO are never unmapped, and the file of a program that runs cannot be written.
    fn is_permanent(&self) -> bool {
        self.is_program || self.is_vdso
    }

    /// Returns what lies at a place of this module: itself where it is permanent, else a copy. `None` where that cannot be
    /// read, or is not of a length that anything here has.
    fn bytes(&self, place: &Range<u64>) -> Option<Bytes> {
        /// No tables are as long: a header that says so is not the module's any more.
        const BYTES_MAX: usize = 256 << 20;
        if self.is_permanent() {
            return Some(Bytes::Mapped(mapped(place)));
        }
        let length = usize::try_from(place.end.checked_sub(place.start)?).ok()?;
        let mut bytes = Vec::new();
        if length > BYTES_MAX || bytes.try_reserve_exact(length).is_err() {
            return None;
        }
        bytes.resize(length, 0);
        (self.read)(place.start, &mut bytes).then(|| Bytes::Copied(bytes.into()))
    }

    /// Returns where the segments are that can be read.
    fn readable(&self) -> impl Iterator<Item = &Range<u64>> {
        let is_readable =
            |segment: &&Segment| segment.kind == libc::PT_LOAD && segment.flags & libc::PF_R != 0;
        self.segments.iter().filter(is_readable).map(|segment| &segment.place)
    }

    /// Whether a place lies in a segment that can be read: what a header tells of need not be mapped.
    fn holds(&self, place: &Range<u64>) -> bool {
        self.readable().any(|segment| segment.start <= place.start && place.end <= segment.end)
    }

    fn places(&self, kind: u32) -> impl Iterator<Item = &Range<u64>> {
        self.segments.iter().filter(move |segment| segment.kind == kind).map(|segment| &segment.place)
    }

    fn module(&self, known: &[Module]) -> Option<Module> {
        /// Numbers are taken from here.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let start = self.places(libc::PT_LOAD).map(|place| place.start).min()?;
        let end = self.places(libc::PT_LOAD).map(|place| place.end).max()?;
        let (name, path) = match (self.is_program, self.is_vdso) {
            (true, _) => {
                let (told, path) = program();
                (told, Some(path))
            }
            (_, true) => (PathBuf::from("[vdso]"), None),
            _ => {
                let path = PathBuf::from(OsStr::from_bytes(self.name));
                (path.clone(), Some(path))
            }
        };
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        let is_code = |segment: &&Segment| segment.kind == libc::PT_LOAD && segment.flags & libc::PF_X != 0;
        let notes = self.places(libc::PT_NOTE).filter(|place| self.holds(place));
        let build_id = notes.filter_map(|place| self.bytes(place)).find_map(|notes| build_id_of(&notes));
        let mut module = Module {
            name: name.into(),
            path,
            range: start..end,
            base: self.base,
            build_id,
            number: 0,
            code: self.segments.iter().filter(is_code).map(|segment| segment.place.clone()).collect(),
            tables: None,
        };
        if let Some(same) = known.iter().find(|known| known.is_same(&module)) {
            return Some(same.clone());
        }
        module.number = NUMBER.fetch_add(1, Ordering::Relaxed);
        module.tables = self.tables();
        Some(module)
    }

    fn tables(&self) -> Option<Tables> {
        let index_at = self.places(libc::PT_GNU_EH_FRAME).next().filter(|place| self.holds(place))?;
        let index = self.bytes(index_at)?;
        let frames_at = frames_begin(&index, index_at.start)?;
        // The section's length is in no program header; its entries end themselves, so the segment's end will do.
        let frames_at = frames_at..self.readable().find(|place| place.contains(&frames_at))?.end;
        let frames = self.bytes(&frames_at)?;
        Some(Tables { index, index_at: index_at.start, frames, frames_at: frames_at.start })
    }
}

/// Reads a program header.
///
/// # Source
/// `Elf64_Phdr` of elf(5): type, flags; offset, address, physical address, size in the file, size in memory.
fn segment(header: &[u8], base: u64) -> Segment {
    let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
    let long = |at: usize| header[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    let begin = base.wrapping_add(long(16));
    Segment { kind: word(0), flags: word(4), place: begin..begin.saturating_add(long(40)) }
}

/// Returns the program's path when it started, and a path that opens it, also where it was replaced or deleted meanwhile.
fn program() -> (PathBuf, PathBuf) {
    /// What the kernel appends to the path of a file that is gone; the link itself still opens it.
    const GONE: &[u8] = b" (deleted)";
    let link = PathBuf::from("/proc/self/exe");
    let Ok(told) = std::fs::read_link(&link) else { return (link.clone(), link) };
    match told.as_os_str().as_bytes().strip_suffix(GONE) {
        Some(path) if !told.exists() => (PathBuf::from(OsStr::from_bytes(path)), link),
        _ => (told.clone(), told),
    }
}

/// Bytes of a module that is never unmapped.
fn mapped(place: &Range<u64>) -> &'static [u8] {
    let length = place.end.saturating_sub(place.start) as usize;
    // SAFETY: the callers pass headers, and places within segments that the loader or the kernel mapped readable, of the
    // program or the vDSO, which stay mapped as long as the process lives.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(place.start as usize), length) }
}

/// Finds the build id among notes.
fn build_id_of(mut notes: &[u8]) -> Option<Arc<str>> {
    const BUILD_ID: u32 = 3;
    while let Some((header, rest)) = notes.split_at_checked(12) {
        let word = |index: usize| {
            header.get(index..index + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
        };
        let (name_length, length, kind) = (word(0) as usize, word(4) as usize, word(8));
        let name = rest.get(..name_length)?;
        let rest = rest.get(name_length.next_multiple_of(4)..)?;
        let bytes = rest.get(..length)?;
        if kind == BUILD_ID && name == b"GNU\0" {
            return Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into());
        }
        notes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Finds the vDSO where the kernel says it is.
fn vdso() -> Option<Told<'static>> {
    // SAFETY: getauxval takes a number and returns one.
    let at = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if at == 0 {
        return None;
    }
    // SAFETY: the kernel maps a whole ELF image there, which is never unmapped; it begins with this header.
    let header = unsafe { &*std::ptr::with_exposed_provenance::<libc::Elf64_Ehdr>(at as usize) };
    let (headers_at, header_count) = (at.wrapping_add(header.e_phoff), usize::from(header.e_phnum));
    let length = header_count.saturating_mul(size_of::<libc::Elf64_Phdr>()) as u64;
    let headers = mapped(&(headers_at..headers_at.saturating_add(length)));
    let segments = headers.chunks_exact(size_of::<libc::Elf64_Phdr>()).map(|header| segment(header, 0));
    let first = segments.into_iter().find(|segment| segment.kind == libc::PT_LOAD)?;
    let base = at.wrapping_sub(first.place.start);
    Some(Told { name: b"linux-vdso", base, headers_at, header_count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::ffi::CStr;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[test]
    fn the_program_its_libraries_and_the_vdso_are_listed_by_address() {
        let _alone = alone();
        let modules = list(&[]);
        assert!(modules.is_sorted_by_key(|module| module.range.start));
        let own = find(&modules, (list as fn(&[Module]) -> _ as *const ()).addr() as u64).unwrap();
        assert_eq!(own.path, std::env::current_exe().ok());
        assert!(own.build_id.is_some() || cfg!(target_env = "musl"));
        // An emulator has none.
        assert_eq!(modules.iter().any(|module| module.path.is_none()), vdso().is_some(), "{modules:?}");
        assert_eq!(Changes::now(), Changes::now());
    }

    /// One of these tests loads a library and unloads it, which the others would notice.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn removed() -> u64 {
        Changes::now().removed
    }

    fn read(at: u64, bytes: &mut [u8]) -> bool {
        Memory::open().unwrap().read_into(at, bytes).is_ok()
    }

    #[test]
    fn the_loaders_lock_is_free_while_a_library_is_read() {
        let _alone = alone();
        let (is_free, was_read) = (Cell::new(true), Cell::new(false));
        let modules = listed(
            &[],
            &|at, bytes| {
                // Another thread walks the list: it waits for whoever has the lock.
                let (send, receive) = std::sync::mpsc::channel();
                std::thread::spawn(move || send.send(Changes::now()));
                is_free
                    .set(is_free.get() && receive.recv_timeout(std::time::Duration::from_secs(20)).is_ok());
                was_read.set(true);
                read(at, bytes)
            },
            removed,
        );
        assert!(is_free.get() && (was_read.get() || cfg!(target_env = "musl")));
        assert!(!modules.is_empty());
    }

    #[test]
    fn a_library_that_is_unloaded_while_it_is_read_is_not_listed() {
        const NAME: &CStr = c"libBrokenLocale.so.1";
        let has = |modules: &[Module]| modules.iter().any(|module| *module.name == *NAME.to_str().unwrap());
        let _alone = alone();
        // SAFETY: a small library of the C library's that nothing else here loads; it has no constructors of its own.
        let handle = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            println!("skipped: a library that is unloaded while it is read: none can be loaded here");
            return;
        }
        let own = listed(&[], &read, removed)
            .into_iter()
            .find(|module| *module.name == *NAME.to_str().unwrap())
            .unwrap();
        assert!(own.tables.is_some() && own.build_id.is_some());
        let open = Cell::new(Some(handle));
        let modules = listed(
            &[],
            &|at, bytes| {
                let is_read = read(at, bytes);
                if own.range.contains(&at) {
                    open.take().into_iter().for_each(|handle| {
                        // SAFETY: the handle is open, and nothing of the library is used.
                        assert_eq!(unsafe { libc::dlclose(handle) }, 0);
                    });
                }
                is_read
            },
            removed,
        );
        assert!(open.get().is_none() && !has(&modules) && !modules.is_empty());
    }

    #[test]
    fn where_libraries_go_all_the_time_those_that_are_known_are_listed() {
        let _alone = alone();
        let gone = Cell::new(0);
        let go_on = || gone.replace(gone.get() + 1);
        assert!(listed(&[], &read, go_on).is_empty(), "they may be others by now");
        let known = listed(&[], &read, || 0);
        let numbers = |modules: &[Module]| modules.iter().map(|module| module.number).collect::<Vec<_>>();
        assert_eq!(numbers(&listed(&known, &read, go_on)), numbers(&known));
    }

    #[test]
    fn what_cannot_be_read_has_no_tables_and_the_program_needs_no_reading() {
        let _alone = alone();
        let modules = listed(&[], &|_, _| false, removed);
        assert!(modules.iter().any(|module| module.path == std::env::current_exe().ok()));
        assert!(
            modules.iter().all(|module| module.tables.is_some() || cfg!(target_env = "musl")),
            "{modules:?}"
        );
    }

    #[test]
    fn a_module_that_stays_keeps_its_number() {
        let _alone = alone();
        let modules = list(&[]);
        let again = list(&modules);
        let numbers = |modules: &[Module]| modules.iter().map(|module| module.number).collect::<Vec<_>>();
        assert_eq!(numbers(&modules), numbers(&again));
        assert_ne!(numbers(&modules), numbers(&list(&[])));
    }

    #[test]
    fn notes_of_others_are_passed_over_and_broken_ones_end_the_search() {
        let note = |kind: u32, name: &[u8; 4], bytes: &[u8; 4]| {
            [&4_u32.to_ne_bytes()[..], &4_u32.to_ne_bytes(), &kind.to_ne_bytes(), name, bytes].concat()
        };
        let notes = [note(1, b"GNU\0", &[9; 4]), note(3, b"GNU\0", &[0xab, 1, 2, 3])].concat();
        assert_eq!(build_id_of(&notes).as_deref(), Some("ab010203"));
        assert_eq!(build_id_of(&notes[..30]), None);
        assert_eq!(build_id_of(&[0xff; 64]), None);
    }
}
