//! Has the kernel wake the agent at the next event of another poller's descriptor, so that the agent may sleep while that
//! poller waits.
//!
//! poll(2), and an epoll instance in another, look again when they are woken, and go back to sleep where the other thread has taken
//! the event by then. A poll request of the kernel's asynchronous I/O notes the event itself, and writes to an eventfd for it.
//!
//! # Source
//! `IOCB_CMD_POLL` of Linux 4.19, `io_submit(2)`. Where a kernel or a filter refuses it, nothing is armed, and the caller looks often.

use crate::eventfd::EventFd;
use std::os::fd::RawFd;

/// Descriptors at once: more have nobody to wait for them.
const ARMED_MAX: usize = 16;
/// A descriptor that was armed so lately has an event that its poller has not taken yet, in nanoseconds: it is looked at instead.
const AGAIN_NS: u64 = 5_000_000;

/// Numbers of requests and events, as wide as the calls take them.
const ONE: libc::c_long = 1;
const NONE: libc::c_long = 0;

const POLL: u16 = 5;
const HAS_EVENTFD: u32 = 1;

/// `struct iocb` of `linux/aio_abi.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct EventRequest {
    data: u64,
    #[cfg(target_endian = "little")]
    key: u32,
    flags_of_read: u32,
    #[cfg(target_endian = "big")]
    key: u32,
    opcode: u16,
    priority: i16,
    descriptor: u32,
    events: u64,
    length: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

/// `struct io_event` of `linux/aio_abi.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    data: u64,
    request: u64,
    result: i64,
    result_2: i64,
}

/// One descriptor that was armed.
#[derive(Debug)]
struct Armed {
    descriptor: RawFd,
    /// Its address is the kernel's name of it.
    request: Box<EventRequest>,
    at_ns: u64,
    /// The event has not come.
    is_waiting: bool,
    is_wanted: bool,
}

/// What to do about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// Its next event wakes the agent; one from before the call may have been missed: check once more.
    New,
    /// Its next event wakes the agent, since an earlier call.
    Waits,
    /// Its poller has not taken the last event yet: look again so soon, in nanoseconds.
    Look(u64),
    /// It cannot wake the agent.
    Refused,
}

/// The requests of one agent, for its thread.
#[derive(Debug)]
pub(crate) struct NextEvents {
    waker: EventFd,
    /// The kernel's number of the context; `None` before the first request, and where it is refused.
    context: Option<libc::c_ulong>,
    is_refused: bool,
    armed: Vec<Armed>,
    requests: u64,
}

impl NextEvents {
    pub(crate) fn new(waker: EventFd) -> NextEvents {
        NextEvents { waker, context: None, is_refused: false, armed: Vec::new(), requests: 0 }
    }

    /// Notes which events have come. To be called before the descriptors of one look are given.
    pub(crate) fn begin(&mut self) {
        if self.armed.is_empty() {
            return;
        }
        for done in self.take_done() {
            let waiting = |armed: &&mut Armed| armed.request.data == done.data;
            if let Some(armed) = self.armed.iter_mut().find(waiting) {
                armed.is_waiting = false;
            }
        }
        self.armed.iter_mut().for_each(|armed| armed.is_wanted = false);
    }

    /// Has the next event of `descriptor` wake the agent. `now_ns` is on the monotonic clock.
    pub(crate) fn arm(&mut self, descriptor: RawFd, now_ns: u64) -> Arming {
        if let Some(armed) = self.armed.iter_mut().find(|armed| armed.descriptor == descriptor) {
            armed.is_wanted = true;
            if armed.is_waiting {
                return Arming::Waits;
            }
            if now_ns.saturating_sub(armed.at_ns) < AGAIN_NS {
                return Arming::Look(AGAIN_NS);
            }
        }
        self.armed.retain(|armed| armed.descriptor != descriptor);
        let wait = self.submit(descriptor);
        match wait {
            Some(request) => {
                self.armed.push(Armed {
                    descriptor,
                    request,
                    at_ns: now_ns,
                    is_waiting: true,
                    is_wanted: true,
                });
                Arming::New
            }
            None => Arming::Refused,
        }
    }

    /// Gives up descriptors that were not given in this look: their number may be another's soon.
    pub(crate) fn end(&mut self) {
        if self.armed.iter().all(|armed| armed.is_wanted) {
            return;
        }
        let (wanted, given_up) =
            std::mem::take(&mut self.armed).into_iter().partition(|armed| armed.is_wanted);
        self.armed = wanted;
        given_up.into_iter().filter(|armed: &Armed| armed.is_waiting).for_each(|armed| self.cancel(&armed));
    }

    fn context(&mut self) -> Option<libc::c_ulong> {
        if self.context.is_none() && !self.is_refused {
            let mut context: libc::c_ulong = 0;
            // SAFETY: the call writes one number to `context`, which is 0 as it demands.
            let result = unsafe { libc::syscall(libc::SYS_io_setup, ARMED_MAX * 4, &raw mut context) };
            self.is_refused = result != 0;
            self.context = (result == 0).then_some(context);
        }
        self.context
    }

    fn submit(&mut self, descriptor: RawFd) -> Option<Box<EventRequest>> {
        let context = self.context().filter(|_| self.armed.len() < ARMED_MAX)?;
        self.requests += 1;
        let mut request = Box::new(EventRequest {
            data: self.requests,
            opcode: POLL,
            descriptor: u32::try_from(descriptor).ok()?,
            events: libc::POLLIN as u64,
            flags: HAS_EVENTFD,
            eventfd: u32::try_from(self.waker.descriptor()).ok()?,
            ..EventRequest::default()
        });
        let mut list = [&raw mut *request];
        // SAFETY: `list` has one request; the kernel copies it in the call, and keeps its address as a name only.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, context, ONE, list.as_mut_ptr()) };
        (taken == 1).then_some(request)
    }

    fn take_done(&mut self) -> Vec<Done> {
        let Some(context) = self.context else { return Vec::new() };
        let mut done = [Done::default(); ARMED_MAX];
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `done` has room for as many as are asked for, and `none` is a valid time; both live through the call.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                context,
                NONE,
                ARMED_MAX,
                done.as_mut_ptr(),
                &raw const none,
            )
        };
        done[..usize::try_from(count).unwrap_or(0).min(ARMED_MAX)].to_vec()
    }

    fn cancel(&self, armed: &Armed) {
        let Some(context) = self.context else { return };
        let mut done = Done::default();
        // SAFETY: the request is one of this context's, and `done` has room for the answer, which newer kernels do not write.
        unsafe { libc::syscall(libc::SYS_io_cancel, context, &raw const *armed.request, &raw mut done) };
    }
}

impl Drop for NextEvents {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            // SAFETY: ends this context, which nobody else has, and its requests.
            unsafe { libc::syscall(libc::SYS_io_destroy, context) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::RequestWaker;
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    /// Another's epoll instance, and an eventfd that is registered in it for edges, as a runtime has them.
    fn poller() -> (OwnedFd, RequestWaker) {
        let inner = RequestWaker::new().unwrap();
        // SAFETY: takes flags only.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: the descriptor is new, and nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 1 };
        // SAFETY: both descriptors are open, and `event` lives through the call.
        let added = unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, inner.descriptor(), &raw mut event)
        };
        assert_eq!(added, 0, "{}", io::Error::last_os_error());
        (epoll, inner)
    }

    fn take_event(epoll: &OwnedFd) -> i32 {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` has room for one.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, 0) }
    }

    #[test]
    fn an_event_rings_also_where_its_poller_has_taken_it_before_anybody_looked() {
        let waker = RequestWaker::new().unwrap();
        let mut events = NextEvents::new(EventFd::of(&waker));
        let (epoll, inner) = poller();
        for round in 0..3u64 {
            let now_ns = round * 2 * AGAIN_NS;
            events.begin();
            assert_eq!(events.arm(epoll.as_raw_fd(), now_ns), Arming::New);
            events.end();
            events.begin();
            assert_eq!(events.arm(epoll.as_raw_fd(), now_ns), Arming::Waits, "nothing has come");
            events.end();
            assert!(!EventFd::of(&waker).is_signaled(Duration::ZERO));
            inner.wake();
            assert_eq!(take_event(&epoll), 1);
            assert!(EventFd::of(&waker).is_signaled(Duration::from_secs(60)));
            events.begin();
            assert_eq!(events.arm(epoll.as_raw_fd(), now_ns + 1), Arming::Look(AGAIN_NS), "no spinning");
            events.end();
        }
    }

    #[test]
    fn what_is_not_wanted_any_more_does_not_wait() {
        let waker = RequestWaker::new().unwrap();
        let mut events = NextEvents::new(EventFd::of(&waker));
        let (epoll, _inner) = poller();
        events.begin();
        assert_eq!(events.arm(epoll.as_raw_fd(), 0), Arming::New);
        events.end();
        events.begin();
        events.end();
        assert!(events.armed.is_empty());
        events.begin();
        assert_eq!(events.arm(epoll.as_raw_fd(), 1), Arming::New, "the number may be another's");
        assert_eq!(events.arm(-1, 1), Arming::Refused);
    }
}
