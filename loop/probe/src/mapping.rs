//! A page in a mapped file, and what becomes of it in a forked child.
//!
//! The file's blocks are reserved before it is mapped: without that, a full memory file system would answer the first
//! store to a page with SIGBUS, in the middle of the host's loop. A forked child must not write its parent's page: a
//! fork handler maps fresh private memory over every page of ours, at the same addresses, so that the child's loop
//! goes on writing harmlessly.

use crate::page::Page;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A mapped page file.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<Page>,
    path: PathBuf,
    /// The process that made the file: a forked child has the memory of its own, and the file is not.
    maker: u32,
}

// SAFETY: the mapping is shared memory of atomics; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above: all access goes through `&Page`, whose fields are atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves and maps a new, empty file. On success the page is all zeros.
    pub(crate) fn create(file: &File, path: PathBuf) -> io::Result<Mapping> {
        reserve(file)?;
        // SAFETY: a new mapping at an address of the kernel's choice; the length is the file's, and the blocks are
        // reserved, so that no store can fault unless somebody truncates the file, which its mode reserves to us.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(mapped.cast()).expect("mmap does not map the null page");
        // From here on `drop` unmaps.
        let mapping = Mapping { address, path, maker: std::process::id() };
        if !forget_in_children(address.as_ptr() as usize) {
            return Err(io::Error::other("more than 256 pages in one process"));
        }
        Ok(mapping)
    }

    #[inline(always)]
    pub(crate) fn page(&self) -> &Page {
        // SAFETY: mapped by `create` with the size of a page and page alignment (4096, which `Page` has), valid as
        // zeros, and unmapped only by `drop`.
        unsafe { self.address.as_ref() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn unlink(&self) {
        if self.maker != std::process::id() {
            return;
        }
        // Already gone is as good as removed, and there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        release_slot(self.address.as_ptr() as usize);
        // SAFETY: this exact range was mapped by `create`, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), size_of::<Page>()) };
    }
}

fn reserve(file: &File) -> io::Result<()> {
    // SAFETY: a plain call on an open descriptor.
    let failure = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size_of::<Page>() as libc::off_t) };
    if failure == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failure)) }
}

/// Addresses of live mappings, for the fork handler: it may not allocate or lock.
static MAPPINGS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// Notes the mapping for the fork handler; false where there is no room, and the page must not be used then.
fn forget_in_children(address: usize) -> bool {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler is a plain function that calls only async-signal-safe functions.
        unsafe { libc::pthread_atfork(None, None, Some(replace_mappings)) };
    });
    MAPPINGS.iter().any(|slot| slot.compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed).is_ok())
}

fn release_slot(address: usize) {
    let taken =
        |slot: &AtomicUsize| slot.compare_exchange(address, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let _ = MAPPINGS.iter().any(taken);
}

/// Runs in a forked child, which has one thread. Maps private zeros over every page.
extern "C" fn replace_mappings() {
    crate::registry::forget_agent();
    for slot in &MAPPINGS {
        let address = slot.load(Ordering::Relaxed);
        if address != 0 {
            // SAFETY: the range is one of our own mappings; replacing it in place keeps every `&Page` valid, because
            // zeros are a valid page. mmap is safe in a fork handler.
            unsafe {
                libc::mmap(
                    address as *mut c_void,
                    size_of::<Page>(),
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
        }
    }
}
