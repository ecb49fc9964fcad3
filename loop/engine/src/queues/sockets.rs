//! The list of sockets that have something to do, what each remembers about its edges, and those left alone for a while.

use crate::key::Key;
use loopscope_probe::Ticks;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Sockets that are left alone for a while.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    pub(crate) keys: Vec<Key>,
    /// When they are tried again, on the loop's clock.
    until_ns: u64,
}

impl Resting {
    pub(crate) fn add(&mut self, key: Key, now_ns: u64, wait: Duration) {
        self.until_ns = now_ns + wait.as_nanos() as u64;
        self.keys.push(key);
    }

    /// Ends the rest: they are tried again in the next poll.
    pub(crate) fn retry_now(&mut self) {
        self.until_ns = 0;
    }

    #[inline]
    pub(crate) fn is_over(&self, now_ns: u64) -> bool {
        !self.keys.is_empty() && self.until_ns <= now_ns
    }

    /// Shortens a wait to the end of the rest.
    #[inline]
    pub(crate) fn limit(&self, timeout: Option<Duration>, now_ns: u64) -> Option<Duration> {
        if self.keys.is_empty() {
            return timeout;
        }
        let left = Duration::from_nanos(self.until_ns.saturating_sub(now_ns));
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }
}

/// What all sockets of a loop share.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Those that have something to do, in the order of their turns.
    pub(crate) active: VecDeque<Key>,
    /// Listeners that could not accept for lack of descriptors or memory.
    pub(crate) starved: Resting,
    /// Datagram sockets that could not send because the one they sent to has no room.
    pub(crate) crowded: Resting,
    /// Where reads go; lent to the callback while it runs.
    pub(crate) buffer: Vec<u8>,
}

impl Sockets {
    /// Puts a socket at the end of the list; once.
    #[inline]
    pub(crate) fn list(&mut self, key: Key, edges: &mut Edges, now: Ticks) {
        if !std::mem::replace(&mut edges.is_listed, true) {
            edges.ready = now;
            self.active.push_back(key);
        }
    }

    #[inline]
    pub(crate) fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// Shortens a wait while a socket is left alone.
    #[inline]
    pub(crate) fn limit(&self, timeout: Option<Duration>, now_ns: u64) -> Option<Duration> {
        self.crowded.limit(self.starved.limit(timeout, now_ns), now_ns)
    }
}

/// What one socket remembers about its edges.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// The other side closed or an error waits: reads must go on until they say so.
    pub(crate) is_closed: bool,
    pub(crate) is_listed: bool,
    /// When it was put in the list.
    pub(crate) ready: Ticks,
}

impl Edges {
    /// A new connection has room: its first write is tried without waiting for an edge.
    pub(crate) fn of_connected() -> Edges {
        Edges { is_writable: true, ..Edges::default() }
    }
}

/// Tells whether a call failed by what the network or the other side answered: the failure is about one connection, and
/// not about something that this process lacks.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut
    )
}
