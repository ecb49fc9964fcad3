//! A page in a mapped file, and what becomes of it in a forked child.
//!
//! The file's blocks are reserved before it is mapped: without that, a full memory file system would answer the first
//! store to a page with SIGBUS, in the middle of the host's loop. A forked child must not write its parent's page: a
//! fork handler maps fresh private memory over every page of ours, at the same addresses, so that the child's loop
//! goes on writing harmlessly.
//!
//! The file stays open, with a lock on it (flock(2)) for as long as it is mapped. The kernel lets go of it when the
//! process ends or replaces its program (the descriptor is closed on exec), so that the lock tells, across pid namespaces
//! too, whether a page still has a writer. A lock belongs to the open file, which a forked child shares: its fork handler
//! closes the descriptor, or the child would hold its parent's lock.

use crate::page::Page;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

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
    /// Locks, reserves and maps a new, empty file. On success the page is all zeros.
    pub(crate) fn create(file: File, path: PathBuf) -> io::Result<Mapping> {
        // Nobody else asks for the lock of a page that is not complete.
        file.try_lock()?;
        crate::file_limit::reserve(&file, size_of::<Page>() as u64)?;
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
        if !forget_in_children(address.as_ptr() as usize, file) {
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

/// A live mapping, as the fork handler has to know it: it may not allocate or lock.
struct Slot {
    /// Where the page is mapped, 0 for a free slot. Taken and freed by the threads that make and drop pages; the
    /// exchange that takes a slot (acquire) comes after all that its last owner did (release).
    address: AtomicUsize,
    /// The descriptor that holds the lock, [`CLOSED`] where there is none. Written by the slot's owner and by the fork
    /// handler in a child of one thread; whoever exchanges it for [`CLOSED`] closes it, so that it is closed once.
    descriptor: AtomicI32,
}

const CLOSED: i32 = -1;

static MAPPINGS: [Slot; 256] =
    [const { Slot { address: AtomicUsize::new(0), descriptor: AtomicI32::new(CLOSED) } }; 256];

impl Slot {
    fn close(&self) {
        let descriptor = self.descriptor.swap(CLOSED, Ordering::Relaxed);
        if descriptor != CLOSED {
            // SAFETY: the descriptor is this slot's own and was taken out of it, so nobody else uses or closes it.
            // `close` is safe in a fork handler.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Notes the mapping and its file for the fork handler; false where there is no room, and the page must not be used then.
fn forget_in_children(address: usize, file: File) -> bool {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler is a plain function that calls only async-signal-safe functions.
        unsafe { libc::pthread_atfork(None, None, Some(replace_mappings)) };
    });
    let take = |slot: &&Slot| {
        slot.address.compare_exchange(0, address, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    let Some(slot) = MAPPINGS.iter().find(take) else { return false };
    slot.descriptor.store(file.into_raw_fd(), Ordering::Relaxed);
    true
}

fn release_slot(address: usize) {
    let own = MAPPINGS.iter().find(|slot| slot.address.load(Ordering::Relaxed) == address);
    if let Some(slot) = own {
        slot.close();
        slot.address.store(0, Ordering::Release);
    }
}

/// Runs in a forked child, which has one thread. Maps private zeros over every page, and lets go of its parent's locks.
extern "C" fn replace_mappings() {
    crate::registry::forget_agent();
    for slot in &MAPPINGS {
        slot.close();
        let address = slot.address.load(Ordering::Relaxed);
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
