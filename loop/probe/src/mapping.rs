//! A page in a mapped file, and what becomes of it in a forked child.
//!
//! The file's blocks are reserved before it is mapped: without that, a full memory file system would answer the first
//! store to a page with SIGBUS, in the middle of the host's loop. A forked child must not write its parent's page: a
//! fork handler maps fresh private memory over every page of ours, at the same addresses, so that the child's loop
//! goes on writing harmlessly.
//!
//! The file stays open, with a lock on it (flock(2)) for as long as it is mapped. The kernel lets go of it when the
//! process ends or replaces its program (the descriptor is closed on exec), so that the lock tells, across pid namespaces
//! too, whether a page still has a writer.
//!
//! A lock belongs to the open file and lasts as long as any process has that, as a descriptor or mapped, and a forked child
//! has both. So whatever a child is given must be known to the handler, from the first moment on: the address is chosen
//! and noted before the file is mapped there, and the file is opened and noted between two forks ([`forks`](crate::forks)).
//! A lock of fcntl(2), which children do not inherit, would not do: it is gone as soon as this process closes any other
//! descriptor of the same file, as it does when it looks for dead pages. What is left: a child that is made without the
//! fork handlers, by `_Fork` or clone(2) itself, has its parent's page and lock until it ends or replaces its program.

use crate::file_limit;
use crate::forks;
use crate::page::Page;
use crate::sleep_flag;
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// A mapped page file.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<Page>,
    path: PathBuf,
    place: MappingSlot,
}

// SAFETY: the mapping is shared memory of atomics; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above: all access goes through `&Page`, whose fields are atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Locks, reserves and maps the new, empty file at this path. On success the page is all zeros.
    pub(crate) fn create(path: PathBuf) -> io::Result<Mapping> {
        let place = MappingSlot::take()?;
        let file = place.open(&path)?;
        // Nobody else asks for the lock of a page that is not complete.
        let made = file.try_lock().map_err(io::Error::from);
        let made = made.and_then(|()| file_limit::reserve(&file, size_of::<Page>() as u64));
        match made.and_then(|()| place.map(&file)) {
            Ok(address) => {
                // From here on it is the slot's, which has its number.
                let _ = file.into_raw_fd();
                Ok(Mapping { address, path, place })
            }
            Err(error) => {
                place.forget(file);
                Err(error)
            }
        }
    }

    #[inline(always)]
    pub(crate) fn page(&self) -> &Page {
        // SAFETY: mapped by `create` with the size of a page and page alignment (4096, which `Page` has), valid as
        // zeros, and unmapped only when `place` is dropped.
        unsafe { self.address.as_ref() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn unlink(&self) {
        if self.place.is_of_this_process() {
            // Already gone is as good as removed, and there is nobody to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What the fork handler has to know of a mapping: it may not allocate or lock.
#[derive(Debug)]
struct Slot {
    /// Where the page is mapped; [`FREE`] for a free slot, [`TAKEN`] before it is mapped. Taken and freed by the threads
    /// that make and drop pages; the exchange that takes a slot (acquire) comes after all that its last owner did
    /// (release).
    address: AtomicUsize,
    /// The descriptor that holds the lock, [`CLOSED`] where there is none. Written by the slot's owner and by the fork
    /// handler in a child of one thread; whoever exchanges it for [`CLOSED`] closes it, so that it is closed once.
    /// Sequentially consistent with the counts of `forks`, which says why.
    descriptor: AtomicI32,
}

const FREE: usize = 0;
/// No mapping is there: its first page is never mapped.
const TAKEN: usize = 1;
const CLOSED: i32 = -1;

static SLOTS: [Slot; 256] =
    [const { Slot { address: AtomicUsize::new(FREE), descriptor: AtomicI32::new(CLOSED) } }; 256];

impl Slot {
    fn close(&self) {
        let descriptor = self.descriptor.swap(CLOSED, Ordering::SeqCst);
        if descriptor != CLOSED {
            // SAFETY: the descriptor is this slot's own and was taken out of it, so nobody else uses or closes it.
            // `close` is safe in a fork handler.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// A slot that is taken; what it names goes with it.
#[derive(Debug)]
struct MappingSlot {
    slot: &'static Slot,
    /// The process that made the file: a forked child has memory of its own, and the file is not.
    maker: u32,
}

impl MappingSlot {
    fn take() -> io::Result<MappingSlot> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: the handlers are plain functions that call only async-signal-safe functions.
            unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
        });
        let take = |slot: &&Slot| {
            slot.address.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        match SLOTS.iter().find(take) {
            Some(slot) => Ok(MappingSlot { slot, maker: std::process::id() }),
            None => Err(io::Error::other("more than 256 pages in one process")),
        }
    }

    fn is_of_this_process(&self) -> bool {
        self.maker == std::process::id()
    }

    /// Opens the page's file, so that the fork handler knows of it wherever a child has it.
    fn open(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let note = |file: &File| self.slot.descriptor.store(file.as_raw_fd(), Ordering::SeqCst);
        forks::open_between(|| options.open(path), note, |file| self.forget(file))
    }

    /// Closes a file that is not to be used.
    fn forget(&self, file: File) {
        // In this order: in a child the number may be another file's once it is closed here.
        self.slot.descriptor.store(CLOSED, Ordering::SeqCst);
        drop(file);
    }

    /// Maps the file, whose blocks are reserved.
    fn map(&self, file: &File) -> io::Result<NonNull<Page>> {
        // First the address alone, so that the fork handler knows it before the file is there.
        let address = map_nothing(std::ptr::null_mut(), libc::PROT_NONE, 0)?;
        self.slot.address.store(address.as_ptr() as usize, Ordering::SeqCst);
        // SAFETY: replaces the mapping made above, which nobody uses; the length is the file's, and its blocks are
        // reserved, so that no store can fault unless somebody truncates the file, which its mode reserves to us.
        let mapped = unsafe {
            libc::mmap(
                address.as_ptr().cast(),
                size_of::<Page>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(address)
    }
}

impl Drop for MappingSlot {
    fn drop(&mut self) {
        let slot = self.slot;
        let descriptor = slot.descriptor.load(Ordering::Relaxed);
        if descriptor != CLOSED && self.is_of_this_process() {
            // Also where a child has the file, of which the handlers were not told.
            // SAFETY: the descriptor is this slot's own.
            unsafe { libc::flock(descriptor, libc::LOCK_UN) };
        }
        slot.close();
        let address = slot.address.load(Ordering::Relaxed);
        if address != TAKEN {
            // The file goes while the address is still noted: a child that is made now gets no file with it.
            // Where that fails, the mapping stays for a moment longer.
            let _ = map_nothing(address as *mut c_void, libc::PROT_NONE, libc::MAP_FIXED);
        }
        slot.address.store(FREE, Ordering::Release);
        if address != TAKEN {
            // SAFETY: this exact range was mapped by `map`, and no reference to it outlives its `Mapping`.
            unsafe { libc::munmap(address as *mut c_void, size_of::<Page>()) };
        }
    }
}

/// Maps private zeros of a page's size; with MAP_FIXED in place of what is mapped there.
fn map_nothing(address: *mut c_void, protection: i32, flags: i32) -> io::Result<NonNull<Page>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: at an address of the kernel's choice, or over a mapping of our own that has this size. Zeros are a valid
    // page, so that every `&Page` to a readable one stays valid. mmap is safe in a fork handler.
    let mapped = unsafe { libc::mmap(address, size_of::<Page>(), protection, flags, -1, 0) };
    match mapped {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        mapped => Ok(NonNull::new(mapped.cast()).expect("mmap does not map the null page")),
    }
}

extern "C" fn before_fork() {
    forks::begin();
}

extern "C" fn after_fork() {
    forks::end();
}

/// Runs in a forked child, which has one thread. Maps private zeros over every page, and lets go of its parent's locks.
extern "C" fn in_child() {
    forks::forget();
    sleep_flag::forget_agent();
    for slot in &SLOTS {
        slot.close();
        let address = slot.address.load(Ordering::SeqCst);
        if address != FREE && address != TAKEN {
            // Where there is no memory for it, the child would write its parent's page, as it did before.
            let _ = map_nothing(address as *mut c_void, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED);
        }
    }
}

// Not under Miri, which neither forks nor maps files.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::cell::RefCell;

    /// A forked child that waits until it is killed.
    struct Waiting(libc::pid_t);

    impl Waiting {
        fn fork() -> Waiting {
            // SAFETY: the child calls only async-signal-safe functions, and never returns.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: ends the child with its parent.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                loop {
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            assert!(pid > 0, "fork: {}", io::Error::last_os_error());
            Waiting(pid)
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            // SAFETY: the child of the test's own, which is not waited for yet.
            unsafe { libc::kill(self.0, libc::SIGKILL) };
            // SAFETY: as above; the status is not asked for.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }

    #[test]
    fn a_child_that_is_made_while_a_page_is_opened_does_not_keep_its_lock() {
        let scratch = Scratch::made();
        let path = scratch.file("opened.page", b"");
        let (place, children) = (MappingSlot::take().unwrap(), RefCell::new(Vec::new()));
        let open = || {
            let file = File::options().read(true).write(true).open(&path)?;
            // The first time only, after the file is open and before its descriptor is noted.
            if children.borrow().is_empty() {
                children.borrow_mut().push(Waiting::fork());
            }
            Ok(file)
        };
        let note = |file: &File| place.slot.descriptor.store(file.as_raw_fd(), Ordering::SeqCst);
        let file = forks::open_between(open, note, |file| place.forget(file)).unwrap();
        file.try_lock().unwrap();
        let other = File::open(&path).unwrap();
        assert!(other.try_lock_shared().is_err(), "it is locked");
        // As the kernel does when this process is killed; the child lives on.
        place.forget(file);
        assert!(other.try_lock_shared().is_ok(), "the child has the lock");
        assert_eq!(children.borrow().len(), 1);
    }

    #[test]
    fn a_page_that_cannot_be_made_leaves_no_slot_taken() {
        let scratch = Scratch::made();
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        for _ in 0..300 {
            assert!(Mapping::create(scratch.0.join("missing.page")).is_err());
        }
        // A directory can be opened for reading only.
        let before = descriptors();
        assert!((0..300).all(|_| Mapping::create(scratch.0.clone()).is_err()));
        assert!(descriptors() <= before + 32, "other tests have some, too");
        let path = scratch.file("made.page", b"");
        assert!(Mapping::create(path).is_ok());
    }
}
