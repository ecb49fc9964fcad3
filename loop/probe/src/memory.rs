//! Where a page lies: in a mapped file that other processes can read, or in this process's own memory.

use crate::page::Page;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

/// The memory of one page.
#[derive(Debug)]
pub struct Memory {
    place: Place,
    /// Why the page is not in a file; `None` where it is.
    pub(crate) private_because: Option<String>,
}

#[derive(Debug)]
enum Place {
    #[cfg(target_os = "linux")]
    File(crate::mapping::Mapping),
    Own(Box<Page>),
}

impl Memory {
    /// Makes a page's memory: in a file of this directory (of the user's runtime directory where it is `None`) where
    /// that can be, else this process's own.
    pub(crate) fn shared(directory: Option<&Path>) -> Arc<Memory> {
        Arc::new(match shared_place(directory) {
            Ok(place) => Memory { place, private_because: None },
            Err(reason) => Memory { place: Place::Own(zeroed_page()), private_because: Some(reason) },
        })
    }

    /// Makes a page's memory that no other process can see.
    pub(crate) fn private(reason: &str) -> Arc<Memory> {
        Arc::new(Memory { place: Place::Own(zeroed_page()), private_because: Some(reason.to_owned()) })
    }

    /// Returns the page.
    #[inline(always)]
    pub fn page(&self) -> &Page {
        match &self.place {
            #[cfg(target_os = "linux")]
            Place::File(mapping) => mapping.page(),
            Place::Own(page) => page,
        }
    }

    /// Returns the page's file, `None` where it has none.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            #[cfg(target_os = "linux")]
            Place::File(mapping) => Some(mapping.path()),
            Place::Own(_) => None,
        }
    }

    /// Returns the number in the name of the page's file, `None` where it has none.
    pub(crate) fn number(&self) -> Option<u32> {
        #[cfg(target_os = "linux")]
        return crate::page_file_name::number_of(self.path()?);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Removes the page's file; the memory stays.
    pub(crate) fn unlink(&self) {
        #[cfg(target_os = "linux")]
        if let Place::File(mapping) = &self.place {
            mapping.unlink();
        }
    }
}

/// A page and a share of its memory. One load away from the page, which the verbs of the probe are made of.
#[derive(Clone, Debug)]
pub(crate) struct PageRef {
    address: NonNull<Page>,
    pub(crate) memory: Arc<Memory>,
}

// SAFETY: `Memory` is `Send` and `Sync`, and the address is only a shorter way to what it owns.
unsafe impl Send for PageRef {}
// SAFETY: as above.
unsafe impl Sync for PageRef {}

impl PageRef {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        PageRef { address: NonNull::from(memory.page()), memory }
    }
}

impl Deref for PageRef {
    type Target = Page;

    #[inline(always)]
    fn deref(&self) -> &Page {
        // SAFETY: the page lies in a box or a mapping that `memory` owns; neither moves it, and `memory` lives as
        // long as `self`.
        unsafe { self.address.as_ref() }
    }
}

#[cfg(target_os = "linux")]
fn shared_place(directory: Option<&Path>) -> Result<Place, String> {
    use crate::runtime_directory::{create_own_page_file, create_page_file};
    directory.map_or_else(create_own_page_file, create_page_file).map(Place::File)
}

#[cfg(not(target_os = "linux"))]
fn shared_place(_directory: Option<&Path>) -> Result<Place, String> {
    Err("pages in files need a memory file system, which loopscope knows on Linux only".to_owned())
}

/// Returns a page of zeros.
pub(crate) fn zeroed_page() -> Box<Page> {
    let layout = Layout::new::<Page>();
    // SAFETY: the layout is that of a page, whose size is not zero.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<Page>();
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: the memory comes from the global allocator with the layout of a `Page`, as a box's does, and nobody else
    // has its address. `Page` consists of `AtomicU64`s alone, for which all zeros is a valid value.
    unsafe { Box::from_raw(memory) }
}
