//! What the loop waits on: the operating system's poller, or another in its place.
//!
//! # Source
//! `uv__io_poll` in `src/unix/linux.c` of libuv 1.46.

use std::io;
use std::time::{Duration, Instant};

/// A source is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// The other side closed, or an error waits.
    pub(crate) is_closed: bool,
}

/// Something that waits for events.
pub(crate) trait Poller {
    /// Waits until a source is ready, the loop is woken or `timeout` is over; `None` is without end.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Returns where sources are registered; `None` where there can be none.
    fn registry(&self) -> Option<&mio::Registry>;

    /// Returns the descriptor to wait on outside; `None` where there is none.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        None
    }
}

/// The token of the waker; no key has it, because a slot's number ends before all ones.
pub(crate) const WAKER: mio::Token = mio::Token(usize::MAX);

/// As many events as libuv takes from one wait.
const EVENTS: usize = 1024;

/// How often as many events are taken in one poll, where each time there may be more. As libuv.
const TAKES: usize = 48;

/// The longest wait that epoll can express: a C int of milliseconds. The loop turns once then, and waits on.
const TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// The operating system's poller.
pub(crate) struct SystemPoller {
    poll: mio::Poll,
    events: mio::Events,
}

impl SystemPoller {
    /// Makes the poller and its waker.
    pub(crate) fn new() -> io::Result<(SystemPoller, mio::Waker)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        Ok((SystemPoller { poll, events: mio::Events::with_capacity(EVENTS) }, waker))
    }
}

/// What an event says.
fn ready_of(event: &mio::event::Event) -> Ready {
    Ready {
        token: event.token().0,
        is_readable: event.is_readable() || event.is_error() || event.is_read_closed(),
        is_writable: event.is_writable() || event.is_error() || event.is_write_closed(),
        is_closed: event.is_read_closed() || event.is_error(),
    }
}

impl SystemPoller {
    /// Waits once.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut left = timeout;
        // A deadline, because a signal may cut a wait short.
        let wait = timeout.filter(|timeout| !timeout.is_zero());
        let deadline = wait.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match self.poll.poll(&mut self.events, left) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    left = deadline.map(|at| at.saturating_duration_since(Instant::now())).or(timeout);
                }
                outcome => return outcome,
            }
        }
    }
}

impl Poller for SystemPoller {
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut timeout = timeout.map(|timeout| timeout.min(TIMEOUT_MAX));
        for _ in 0..TAKES {
            self.wait(timeout)?;
            let mut taken = 0;
            let events = self.events.iter().inspect(|_| taken += 1);
            ready.extend(events.filter(|event| event.token() != WAKER).map(ready_of));
            if taken < EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    fn registry(&self) -> Option<&mio::Registry> {
        Some(self.poll.registry())
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::RawFd> {
        Some(std::os::fd::AsRawFd::as_raw_fd(&self.poll))
    }
}
