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

/// Rings: one system call, which neither blocks nor allocates. For any thread. Keeps `errno`: a loop rings between its poll
/// and what it makes of the poll's answer.
pub(crate) fn ring() {
    let (descriptor, one) = (DESCRIPTOR.load(Ordering::Relaxed), 1u64);
    if descriptor >= 0 {
        // SAFETY: returns this thread's own place for it, which is valid as long as the thread.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let errno = unsafe { *place };
        // SAFETY: `one` has the eight bytes that an eventfd's write reads. A full counter means that a ring is on its
        // way already, so the result does not matter.
        unsafe { libc::write(descriptor, std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
        // SAFETY: as above.
        unsafe { *place = errno };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_is_not_heard_keeps_errno() {
        let event = EventFd::of_process().unwrap();
        let full = u64::MAX - 1;
        // SAFETY: `full` has the eight bytes that an eventfd's write reads.
        unsafe { libc::write(event.0, std::ptr::from_ref(&full).cast(), size_of::<u64>()) };
        // SAFETY: closes nothing, and says so.
        unsafe { libc::close(-1) };
        ring();
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
        event.drain();
    }
}
