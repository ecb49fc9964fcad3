//! The socket behind a datagram handle, who is at its other end, and the datagrams that wait to be sent on it.

use loopscope_probe::HandleType;
use loopscope_probe::raw::socket_file::SocketFile;
use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use rustix::net::{RecvFlags, SocketAddrAny, SocketAddrUnix, recvfrom};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Makes Linux return a datagram's own length, also where it was cut. Other systems do not know that.
#[cfg(target_os = "linux")]
const OWN_LENGTH: RecvFlags = RecvFlags::TRUNC;

#[cfg(not(target_os = "linux"))]
const OWN_LENGTH: RecvFlags = RecvFlags::empty();

/// The other side of a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An internet address.
    Internet(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
    /// A Unix-domain socket without a path.
    Unnamed,
}

/// The socket of one kind or the other.
pub(crate) enum Socket {
    Udp(UdpSocket),
    /// With the file that it made, which goes with it, and first: see [`SocketFile`].
    Unix(#[expect(dead_code, reason = "kept for what its drop does")] Option<SocketFile>, UnixDatagram),
}

impl Socket {
    pub(crate) fn unix(path: Option<&Path>) -> io::Result<Socket> {
        let socket = match path {
            Some(path) => UnixDatagram::bind(path)?,
            None => UnixDatagram::unbound()?,
        };
        Ok(Socket::Unix(path.map(SocketFile::made), socket))
    }

    pub(crate) fn send(&self, bytes: &[u8], to: Option<&Peer>) -> io::Result<usize> {
        match (self, to) {
            (Socket::Udp(socket), None) => socket.send(bytes),
            (Socket::Udp(socket), Some(Peer::Internet(address))) => socket.send_to(bytes, *address),
            (Socket::Unix(_, socket), None) => socket.send(bytes),
            (Socket::Unix(_, socket), Some(Peer::Unix(path))) => socket.send_to(bytes, path),
            (Socket::Udp(_), Some(_)) | (Socket::Unix(..), Some(_)) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this socket does not support that kind of address",
            )),
        }
    }
}

/// A socket and what waits to be sent on it.
pub(crate) struct DatagramQueue {
    pub(crate) socket: Socket,
    pub(crate) queue: VecDeque<(Vec<u8>, Option<Peer>)>,
    pub(crate) queued_bytes: usize,
}

impl DatagramQueue {
    pub(crate) fn new(socket: Socket) -> Self {
        DatagramQueue { socket, queue: VecDeque::new(), queued_bytes: 0 }
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Tells whether the datagram that waits longest is for a Unix-domain socket that this one is not connected to.
    pub(crate) fn first_is_for_another(&self) -> bool {
        matches!(self.queue.front(), Some((_, Some(Peer::Unix(_)))))
    }

    /// Sends the datagram that waits longest; one that fails for good is dropped.
    pub(crate) fn send_first(&mut self) -> io::Result<()> {
        let Some((bytes, to)) = self.queue.front() else { return Ok(()) };
        let outcome = again(|| self.socket.send(bytes, to.as_ref()));
        if !outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.queued_bytes -= bytes.len();
            self.queue.pop_front();
        }
        outcome.map(|_| ())
    }

    /// Receives one datagram: how many bytes are in the buffer, how many it had, and who sent it.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Peer)> {
        let (count, length, from) = again(|| {
            let received = match &self.socket {
                Socket::Udp(socket) => recvfrom(socket, &mut *buffer, OWN_LENGTH),
                Socket::Unix(_, socket) => recvfrom(socket, &mut *buffer, OWN_LENGTH),
            };
            Ok(received?)
        })?;
        Ok((count, length, from.map_or(Peer::Unnamed, peer)))
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Socket::Udp(socket) => socket,
            Socket::Unix(_, socket) => socket,
        }
    }

    pub(crate) fn handle_type(&self) -> HandleType {
        match self.socket {
            Socket::Udp(_) => HandleType::Udp,
            Socket::Unix(..) => HandleType::UnixStream,
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.udp()?.local_addr().ok()
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.udp()?.peer_addr().ok()
    }

    pub(crate) fn udp(&self) -> Option<&UdpSocket> {
        match &self.socket {
            Socket::Udp(socket) => Some(socket),
            Socket::Unix(..) => None,
        }
    }
}

fn peer(address: SocketAddrAny) -> Peer {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Peer::Internet(address);
    }
    let unix = SocketAddrUnix::try_from(address).ok();
    let path = unix.as_ref().and_then(|unix| unix.path_bytes());
    path.map_or(Peer::Unnamed, |path| Peer::Unix(Path::new(OsStr::from_bytes(path)).to_owned()))
}

/// Repeats a call that a signal interrupted.
pub(crate) fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
