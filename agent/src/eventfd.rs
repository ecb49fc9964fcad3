//! The eventfds that wake the agent's thread, and how it waits for them.
//!
//! Loops write to one of the process, which is never closed, because they may write to it at any moment. Who requests
//! something of an agent writes to one of that agent.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The descriptor that loops write to, and the process that made it: see [`packed`]; 0 before the first agent. Written by a
/// starting agent, read by loops that wake it. A forked child must not write to its parent's number: it may have closed that and
/// opened a file of its own there.
static DESCRIPTOR: AtomicU64 = AtomicU64::new(0);

/// Puts a descriptor and the process that made it in a word.
fn packed(pid: u32, descriptor: RawFd) -> u64 {
    u64::from(pid) << 32 | u64::from(descriptor as u32)
}

/// Returns the descriptor where this process made it.
fn own_descriptor() -> Option<RawFd> {
    let word = DESCRIPTOR.load(Ordering::Relaxed);
    (word >> 32 == u64::from(std::process::id())).then_some(word as u32 as RawFd)
}

/// A handle on the process's eventfd. Dropping it closes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventFd(RawFd);

impl EventFd {
    /// Returns the eventfd of this process, made at the first call.
    pub(crate) fn of_process() -> io::Result<EventFd> {
        let (found, pid) = (DESCRIPTOR.load(Ordering::Relaxed), std::process::id());
        if let Some(descriptor) = own_descriptor() {
            return Ok(EventFd(descriptor));
        }
        let made = RequestWaker::new()?;
        // No lock: in a forked child a thread that is not there could hold it.
        let new = packed(pid, made.0.as_raw_fd());
        match DESCRIPTOR.compare_exchange(found, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Ok(EventFd(made.0.into_raw_fd())),
            // Another agent of this process was first.
            Err(other) => Ok(EventFd(other as u32 as RawFd)),
        }
    }

    /// Returns its number, for requests to the kernel to signal it.
    pub(crate) fn descriptor(self) -> RawFd {
        self.0
    }

    /// Returns the eventfd of a waker.
    #[cfg(test)]
    pub(crate) fn of(waker: &RequestWaker) -> EventFd {
        EventFd(waker.0.as_raw_fd())
    }

    /// Waits until it is signaled, at most so long, and resets it.
    #[cfg(test)]
    pub(crate) fn is_signaled(self, at_most: Duration) -> bool {
        let mut polled = libc::pollfd { fd: self.0, events: libc::POLLIN, revents: 0 };
        // SAFETY: `polled` is one entry, which lives through the call.
        let ready = unsafe { libc::poll(&raw mut polled, 1, at_most.as_millis() as libc::c_int) };
        if ready > 0 {
            self.drain();
        }
        ready > 0
    }

    /// Resets it.
    pub(crate) fn drain(self) {
        let mut count = 0u64;
        // SAFETY: `count` has the eight bytes that an eventfd's read fills; the descriptor is never closed.
        unsafe { libc::read(self.0, std::ptr::from_mut(&mut count).cast(), size_of::<u64>()) };
    }
}

/// An eventfd of one agent, closed with it. For any thread.
#[derive(Debug)]
pub(crate) struct RequestWaker(OwnedFd);

impl RequestWaker {
    /// Makes one.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new() -> io::Result<RequestWaker> {
        let descriptor = new_eventfd()?;
        // SAFETY: the descriptor is new, and nothing else owns it.
        Ok(RequestWaker(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Returns its number.
    #[cfg(test)]
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Wakes the agent's thread.
    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: `one` has the eight bytes that an eventfd's write reads. A full counter means that a wake is on its
        // way already, so the result does not matter.
        unsafe { libc::write(self.0.as_raw_fd(), std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// A loop became busy.
    pub by_loop: bool,
    /// A request waits.
    pub by_request: bool,
}

/// Waits for either eventfd, at most so long, and resets it. A signal may end the wait early.
pub(crate) fn wait(loops: EventFd, requests: &RequestWaker, at_most: Duration) -> Woken {
    let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polled = [of(loops.0), of(requests.0.as_raw_fd())];
    let time = libc::timespec {
        // As wide as the C library has it; 68 years are long enough.
        tv_sec: i32::try_from(at_most.as_secs()).unwrap_or(i32::MAX).into(),
        tv_nsec: libc::c_long::from(at_most.subsec_nanos() as i32),
    };
    // SAFETY: `polled` has two entries and `time` is a valid time; both live through the call, and no signal mask is given.
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &time, std::ptr::null()) };
    if ready <= 0 {
        return Woken::default();
    }
    let woken = Woken { by_loop: polled[0].revents != 0, by_request: polled[1].revents != 0 };
    if woken.by_loop {
        loops.drain();
    }
    if woken.by_request {
        EventFd(requests.0.as_raw_fd()).drain();
    }
    woken
}

/// Lets waits of the calling thread end when they should: the kernel puts its wake-ups together within 50 us otherwise.
pub(crate) fn be_punctual() {
    // SAFETY: sets a number of the calling thread, and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

fn new_eventfd() -> io::Result<RawFd> {
    // SAFETY: eventfd takes a number and flags, and touches no memory of ours.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if descriptor < 0 { Err(io::Error::last_os_error()) } else { Ok(descriptor) }
}

/// Wakes the agent: two system calls, which neither block nor allocate. For any thread. Keeps `errno`: a loop calls this
/// between its poll and its use of the poll's result.
pub(crate) fn wake_agent() {
    if let Some(descriptor) = own_descriptor() {
        let one = 1u64;
        // SAFETY: returns this thread's own place for it, which is valid as long as the thread.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let errno = unsafe { *place };
        // SAFETY: `one` has the eight bytes that an eventfd's write reads. A full counter means that a wake is on its
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
    fn a_forked_child_writes_nothing_to_its_parents_descriptor() {
        let own = EventFd::of_process().unwrap();
        // Tests of other agents run in this process as well, and wake them.
        let word = DESCRIPTOR.load(Ordering::Relaxed);
        assert_eq!(own_descriptor(), Some(own.descriptor()));
        assert_eq!(word, packed(std::process::id(), own.descriptor()));
        // SAFETY: the child calls only what is safe after a fork, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_refused = own_descriptor().is_none();
            // SAFETY: ends the child without anything of its parent's.
            unsafe { libc::_exit(i32::from(!is_refused)) };
        }
        let mut status = -1;
        // SAFETY: `status` is room for the answer, and the child is this test's.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child would write to what is its own by now");
    }

    #[test]
    fn a_wait_says_what_ended_it_and_resets_that() {
        let (loops, requests) = (EventFd::of_process().unwrap(), RequestWaker::new().unwrap());
        requests.wake();
        let long = Duration::from_secs(60);
        assert!(wait(loops, &requests, long).by_request);
        assert!(!wait(loops, &requests, Duration::ZERO).by_request, "it was reset");
    }

    #[test]
    fn a_wake_that_fails_keeps_errno() {
        let event = EventFd::of_process().unwrap();
        let full = u64::MAX - 1;
        // SAFETY: `full` has the eight bytes that an eventfd's write reads.
        unsafe { libc::write(event.0, std::ptr::from_ref(&full).cast(), size_of::<u64>()) };
        // SAFETY: closes nothing, and says so.
        unsafe { libc::close(-1) };
        wake_agent();
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
        event.drain();
    }
}
