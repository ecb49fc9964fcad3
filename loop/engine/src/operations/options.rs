//! Options of TCP connections.
//!
//! They are passed to the kernel at once. Every connection, made or accepted, starts with small messages sent without
//! delay (`TCP_NODELAY`), as Node's do.

use crate::core::What;
use crate::cx::Cx;
use crate::key::Key;
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;

/// When the kernel asks a silent peer whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first question; whole seconds, at least one.
    pub after: Duration,
    /// From one question to the next; whole seconds, at least one.
    pub interval: Duration,
    /// Unanswered questions after which the connection is broken (`TimedOut`), at least one.
    pub count: u32,
}

impl Keepalive {
    /// Asks first after this silence, then every second, and gives up after ten: what Node does.
    pub fn after(silence: Duration) -> Keepalive {
        Keepalive { after: silence, interval: Duration::from_secs(1), count: 10 }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Sends small messages at once, or lets the kernel collect them (Nagle's algorithm). On where not set.
    ///
    /// # Errors
    /// `NotConnected` for a stale key or what is not a TCP stream; else what the operating system says.
    pub fn set_nodelay(&mut self, key: Key, is_on: bool) -> io::Result<()> {
        self.tcp_socket(key)?.set_nodelay(is_on)
    }

    /// Lets the kernel ask a silent peer whether it is still there; `None`, the default, turns it off.
    ///
    /// # Errors
    /// `NotConnected` for a stale key or what is not a TCP stream; else what the operating system says.
    pub fn set_keepalive(&mut self, key: Key, keepalive: Option<Keepalive>) -> io::Result<()> {
        let socket = SockRef::from(self.tcp_socket(key)?);
        match keepalive {
            None => socket.set_keepalive(false),
            Some(Keepalive { after, interval, count }) => {
                let options =
                    TcpKeepalive::new().with_time(after).with_interval(interval).with_retries(count);
                socket.set_tcp_keepalive(&options)
            }
        }
    }

    /// Sets whether closing leaves the kernel to send what it still has, which is the default; or drops that and
    /// resets the connection, with a duration of zero. Longer ones make the close itself wait on most systems, and so
    /// block the loop: they are refused.
    ///
    /// # Errors
    /// `NotConnected` for a stale key or what is not a TCP stream, `InvalidInput` for more than zero; else what the
    /// operating system says.
    pub fn set_linger(&mut self, key: Key, linger: Option<Duration>) -> io::Result<()> {
        if linger.is_some_and(|linger| !linger.is_zero()) {
            let refusal = "a lingering close would block the loop; use zero or none";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refusal));
        }
        SockRef::from(self.tcp_socket(key)?).set_linger(linger)
    }

    pub(crate) fn tcp_socket(&self, key: Key) -> io::Result<&TcpStream> {
        let socket = match self.core.slots.get(key).map(|entry| &entry.what) {
            Some(What::Stream(stream)) => stream.transport.tcp(),
            _ => None,
        };
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
