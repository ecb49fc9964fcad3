//! The eventfd that wakes the agent: one for the process, never closed, because loops may ring it at any moment.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The descriptor that loops write to; -1 before the first agent. Written by a starting agent, read by ringing loops
/// (relaxed: a loop that still sees the old one rings the parent's after a fork, which is only a spurious wake).
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// The process that made [`DESCRIPTOR`]: a forked child must not share its parent's.
static OWNER: Mutex<u32> = Mutex::new(0);

/// A handle on the process's eventfd. Dropping it closes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventFd(RawFd);

impl EventFd {
    /// Returns the eventfd of this process, made at the first call.
    pub(crate) fn of_process() -> io::Result<EventFd> {
        let mut owner = OWNER.lock().unwrap_or_else(PoisonError::into_inner);
        if *owner == std::process::id() {
            return Ok(EventFd(DESCRIPTOR.load(Ordering::Relaxed)));
        }
        // SAFETY: eventfd takes a number and flags, and touches no memory of ours.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        DESCRIPTOR.store(descriptor, Ordering::Relaxed);
        *owner = std::process::id();
        Ok(EventFd(descriptor))
    }

    /// Registers it with the runtime of the calling thread.
    pub(crate) fn watch(self) -> io::Result<AsyncFd<EventFd>> {
        // SAFETY: the descriptor is never closed, and `as_raw_fd` returns the same one always.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        Ok(registered?)
    }

    /// Takes back what was rung.
    pub(crate) fn drain(self) {
        let mut count = 0u64;
        // SAFETY: `count` has the eight bytes that an eventfd's read fills; the descriptor is never closed.
        unsafe { libc::read(self.0, std::ptr::from_mut(&mut count).cast(), size_of::<u64>()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Rings: one system call, which neither blocks nor allocates. For any thread.
pub(crate) fn ring() {
    let (descriptor, one) = (DESCRIPTOR.load(Ordering::Relaxed), 1u64);
    if descriptor >= 0 {
        // SAFETY: `one` has the eight bytes that an eventfd's write reads. A full counter means that a ring is on its
        // way already, so the result does not matter.
        unsafe { libc::write(descriptor, std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
    }
}
