//! The modules of this process (program, libraries, vDSO), described from memory, without opening a file: so also those
//! that were stripped, deleted or linked statically.
//!
//! The list is read with `dl_iterate_phdr`, on the asking side only: it takes the loader's lock, which the blocked thread
//! may hold inside `dlopen` for as long as a constructor runs, but not while the list is being read by others.
//!
//! **Nothing here reads a library's mapping later on.** The unwind tables are copied inside the callback, while the
//! loader's lock keeps the library mapped. Pinning (`dlopen` with `RTLD_NOLOAD`) would save the copy, some 100 kB for most
//! libraries, but would keep a plug-in from being unloaded and loaded anew, which changes the program. The program itself
//! and the vDSO are never unmapped, and are not copied.

use crate::tables::{Bytes, Tables, frames_begin};
use std::ffi::{CStr, OsStr};
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

/// How many modules were ever added and removed: while both stay, the list stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    added: u64,
    removed: u64,
}

/// Returns the loader's counts. The walk ends at the first module.
pub(crate) fn changes() -> Changes {
    let mut changes = Changes::default();
    walk(&mut |info| {
        changes = Changes { added: info.dlpi_adds, removed: info.dlpi_subs };
        false
    });
    changes
}

/// Lists the modules by address. One that is in `known` keeps its number and its tables.
pub(crate) fn list(known: &[Module]) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    walk(&mut |info| {
        let is_program = modules.is_empty();
        modules.extend(module(&Image::of(info), is_program, known));
        true
    });
    if !modules.iter().any(|module| module.path.is_none()) {
        // A static program's loader does not tell of the vDSO.
        modules.extend(vdso().and_then(|image| module(&image, false, known)));
    }
    modules.sort_by_key(|module| module.range.start);
    modules
}

/// A module as the loader, or the kernel, tells of it.
struct Image<'a> {
    name: &'a [u8],
    base: u64,
    headers: &'a [libc::Elf64_Phdr],
}

impl<'a> Image<'a> {
    fn of(info: &'a libc::dl_phdr_info) -> Image<'a> {
        let name = match info.dlpi_name.is_null() {
            true => &[][..],
            // SAFETY: the loader's name is a C string that lives during the callback, and longer.
            false => unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes(),
        };
        // SAFETY: the loader passes the module's program headers and their count; they are mapped during the callback.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        Image { name, base: info.dlpi_addr, headers }
    }

    /// Returns where a segment is mapped.
    fn place(&self, header: &libc::Elf64_Phdr) -> Range<u64> {
        let begin = self.base.wrapping_add(header.p_vaddr);
        begin..begin.saturating_add(header.p_memsz)
    }

    /// Returns where the segments are that can be read.
    fn readable(&self) -> impl Iterator<Item = Range<u64>> {
        let is_readable =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0;
        self.headers.iter().filter(is_readable).map(|header| self.place(header))
    }

    /// Whether a place lies in a segment that can be read: what a header tells of need not be mapped.
    fn holds(&self, place: &Range<u64>) -> bool {
        self.readable().any(|segment| segment.start <= place.start && place.end <= segment.end)
    }

    fn places(&self, kind: u32) -> impl Iterator<Item = Range<u64>> {
        self.headers.iter().filter(move |header| header.p_type == kind).map(|header| self.place(header))
    }
}

/// Calls `each` for every module until it returns false, with the loader's lock held.
fn walk(each: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: `walk` passes a pointer to its own live reference, and nobody else uses it during the walk.
        let each = unsafe { &mut *data.cast::<&mut dyn FnMut(&libc::dl_phdr_info) -> bool>() };
        // SAFETY: the loader passes a description that lives during the callback.
        let info = unsafe { &*info };
        libc::c_int::from(!each(info))
    }
    let mut each = each;
    let data = (&raw mut each).cast::<libc::c_void>();
    // SAFETY: `visit` expects what `data` is, and the call does not outlive it; the closures passed here do not panic
    // save for a lack of memory, which aborts.
    unsafe { libc::dl_iterate_phdr(Some(visit), data) };
}

fn module(image: &Image<'_>, is_program: bool, known: &[Module]) -> Option<Module> {
    /// Numbers are taken from here.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let start = image.places(libc::PT_LOAD).map(|place| place.start).min()?;
    let end = image.places(libc::PT_LOAD).map(|place| place.end).max()?;
    let is_vdso = image.name.starts_with(b"linux-vdso") || image.name.starts_with(b"linux-gate");
    let (name, path) = match (is_program, is_vdso) {
        (true, _) => {
            let (told, path) = program();
            (told, Some(path))
        }
        (_, true) => (PathBuf::from("[vdso]"), None),
        _ => {
            let path = PathBuf::from(OsStr::from_bytes(image.name));
            (path.clone(), Some(path))
        }
    };
    let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
    let is_code =
        |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
    let build_id = image.places(libc::PT_NOTE).filter(|place| image.holds(place));
    let build_id = build_id.map(|place| mapped(&place)).find_map(build_id_of);
    let mut module = Module {
        name: name.into(),
        path,
        range: start..end,
        base: image.base,
        build_id,
        number: 0,
        code: image.headers.iter().filter(is_code).map(|header| image.place(header)).collect(),
        tables: None,
    };
    if let Some(same) = known.iter().find(|known| known.is_same(&module)) {
        return Some(same.clone());
    }
    module.number = NUMBER.fetch_add(1, Ordering::Relaxed);
    module.tables = tables(image, is_program || is_vdso);
    Some(module)
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

/// Bytes of the module that is being visited. The reference must not leave the visit, save for what is never unmapped.
fn mapped(place: &Range<u64>) -> &'static [u8] {
    let length = place.end.saturating_sub(place.start) as usize;
    // SAFETY: the place lies within a segment that the loader mapped readable, and holds its lock for; the two callers
    // either copy the bytes during the visit or pass modules that are never unmapped.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(place.start as usize), length) }
}

fn tables(image: &Image<'_>, is_permanent: bool) -> Option<Tables> {
    let kept = |place: &Range<u64>| match is_permanent {
        true => Bytes::Mapped(mapped(place)),
        false => Bytes::Copied(mapped(place).into()),
    };
    let index_at = image.places(libc::PT_GNU_EH_FRAME).next()?;
    let index_at = Some(index_at).filter(|place| image.holds(place))?;
    let frames_at = frames_begin(mapped(&index_at), index_at.start)?;
    // The section's length is in no program header; its entries end themselves, so the segment's end will do.
    let frames_at = frames_at..image.readable().find(|place| place.contains(&frames_at))?.end;
    Some(Tables {
        index: kept(&index_at),
        index_at: index_at.start,
        frames: kept(&frames_at),
        frames_at: frames_at.start,
    })
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
fn vdso() -> Option<Image<'static>> {
    // SAFETY: getauxval takes a number and returns one.
    let at = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if at == 0 {
        return None;
    }
    // SAFETY: the kernel maps a whole ELF image there, which is never unmapped; it begins with this header.
    let header = unsafe { &*std::ptr::with_exposed_provenance::<libc::Elf64_Ehdr>(at as usize) };
    let headers =
        std::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(at as usize + header.e_phoff as usize);
    // SAFETY: as above; the header tells where the program headers are and how many.
    let headers = unsafe { std::slice::from_raw_parts(headers, usize::from(header.e_phnum)) };
    let first = headers.iter().find(|header| header.p_type == libc::PT_LOAD)?;
    Some(Image { name: b"linux-vdso", base: (at as u64).wrapping_sub(first.p_vaddr), headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_its_libraries_and_the_vdso_are_listed_by_address() {
        let modules = list(&[]);
        assert!(modules.is_sorted_by_key(|module| module.range.start));
        let own = find(&modules, (list as fn(&[Module]) -> _ as *const ()).addr() as u64).unwrap();
        assert_eq!(own.path, std::env::current_exe().ok());
        assert!(own.build_id.is_some() || cfg!(target_env = "musl"));
        // An emulator has none.
        assert_eq!(modules.iter().any(|module| module.path.is_none()), vdso().is_some(), "{modules:?}");
        assert_eq!(changes(), changes());
    }

    #[test]
    fn a_module_that_stays_keeps_its_number() {
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
