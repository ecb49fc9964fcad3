//! What the loader tells of the modules of this process, noted while its lock is held, and nothing more.
//!
//! `dl_iterate_phdr` holds the lock that `dlopen` and `dlclose` of the program wait for, and with an older C library every
//! exception and panic, too. So during the walk names and addresses are copied to memory that was reserved before: no
//! allocation, no system call, and no touch of a library's mapping, whose pages may be on a disk, or cut off.

use std::ffi::CStr;
use std::ops::Range;

/// How many modules were ever added and removed: while both stay, the list stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub added: u64,
    pub removed: u64,
}

impl Changes {
    /// Returns the loader's counts. The walk ends at the first module.
    pub fn now() -> Changes {
        let mut changes = Changes::default();
        walk(&mut |info| {
            changes = Changes::of(info);
            false
        });
        changes
    }

    fn of(info: &libc::dl_phdr_info) -> Changes {
        Changes { added: info.dlpi_adds, removed: info.dlpi_subs }
    }
}

/// A module as the loader tells of it. It may have been unloaded since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    pub name: &'a [u8],
    pub base: u64,
    /// Where its program headers are.
    pub headers_at: u64,
    pub header_count: usize,
}

/// The modules in the loader's order, the program first.
#[derive(Debug, Default)]
pub(crate) struct LoaderList {
    names: Vec<u8>,
    modules: Vec<Noted>,
}

#[derive(Debug)]
struct Noted {
    /// Where its name lies in the list's names.
    name: Range<usize>,
    base: u64,
    headers_at: u64,
    header_count: usize,
}

impl LoaderList {
    /// Walks the list, twice where nothing is loaded meanwhile.
    pub fn now() -> LoaderList {
        /// So often it may grow beyond the room for it while it is read.
        const TRIES: u32 = 8;
        let mut list = LoaderList::default();
        for _ in 0..TRIES {
            let (mut modules, mut name_bytes) = (0, 0);
            walk(&mut |info| {
                (modules, name_bytes) = (modules + 1, name_bytes + name_of(info).len());
                true
            });
            list = LoaderList::with_room(modules + 8, name_bytes + 1024);
            let mut is_whole = true;
            walk(&mut |info| {
                is_whole = list.note(info);
                is_whole
            });
            if is_whole {
                break;
            }
        }
        list
    }

    fn with_room(modules: usize, name_bytes: usize) -> LoaderList {
        LoaderList { names: Vec::with_capacity(name_bytes), modules: Vec::with_capacity(modules) }
    }

    /// Notes a module; false where there is no room for it.
    fn note(&mut self, info: &libc::dl_phdr_info) -> bool {
        let (name, begin) = (name_of(info), self.names.len());
        let has_room = self.modules.len() < self.modules.capacity()
            && name.len() <= self.names.capacity() - self.names.len();
        if has_room {
            self.names.extend_from_slice(name);
            self.modules.push(Noted {
                name: begin..self.names.len(),
                base: info.dlpi_addr,
                headers_at: info.dlpi_phdr.addr() as u64,
                header_count: usize::from(info.dlpi_phnum),
            });
        }
        has_room
    }

    /// Returns what was noted.
    pub fn modules(&self) -> impl Iterator<Item = Told<'_>> {
        self.modules.iter().map(|noted| Told {
            name: &self.names[noted.name.clone()],
            base: noted.base,
            headers_at: noted.headers_at,
            header_count: noted.header_count,
        })
    }
}

/// Returns a module's name, of the program an empty one or a link to it: the loader's own memory, not the library's.
fn name_of(info: &libc::dl_phdr_info) -> &[u8] {
    match info.dlpi_name.is_null() {
        true => &[],
        // SAFETY: the loader's name is a C string that lives during the callback, as `info` does.
        false => unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes(),
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
    // SAFETY: `visit` expects what `data` is, and the call does not outlive it; the closures passed here do not panic:
    // they write within the room that they have.
    unsafe { libc::dl_iterate_phdr(Some(visit), data) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_comes_first_and_a_list_without_room_is_cut() {
        let list = LoaderList::now();
        let modules: Vec<Told<'_>> = list.modules().collect();
        let own = (LoaderList::now as fn() -> _ as *const ()).addr() as u64;
        assert!(modules[0].base <= own && modules[1..].iter().all(|told| told.base != modules[0].base));
        assert!(modules.iter().all(|told| told.header_count > 0), "{list:?}");
        let (mut cut, mut noted) = (LoaderList::with_room(1, modules[0].name.len()), Vec::new());
        let room = cut.modules.capacity();
        walk(&mut |info| {
            noted.push(cut.note(info));
            true
        });
        assert!(noted[0] && noted.iter().filter(|is_noted| **is_noted).count() <= room, "{noted:?}");
        assert_eq!(cut.modules().next(), Some(modules[0]));
        let mut without_room = LoaderList::with_room(0, 0);
        walk(&mut |info| without_room.note(info));
        assert_eq!(without_room.modules().count(), 0);
    }
}
