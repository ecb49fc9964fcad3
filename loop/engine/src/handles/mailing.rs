//! Sending datagrams, and the options of their sockets.
//!
//! A datagram is handed to the kernel at once; where its buffer is full the datagram waits in the socket's own queue,
//! behind those that wait already, and `Drained` tells when all are gone.

use crate::core::What;
use crate::cx::Cx;
use crate::handles::outgoing::Wrote;
use crate::handles::peer::Peer;
use crate::key::Key;
use loopscope_probe::HandleType;
use loopscope_probe::socket_file::SocketFile;
use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use rustix::net::{RecvFlags, SocketAddrAny, SocketAddrUnix, recvfrom};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes Linux return a datagram's own length, also where it was cut. Other systems do not know that.
#[cfg(target_os = "linux")]
const OWN_LENGTH: RecvFlags = RecvFlags::TRUNC;
#[cfg(not(target_os = "linux"))]
const OWN_LENGTH: RecvFlags = RecvFlags::empty();

/// As for streams.
const HIGH_WATER_BYTES: usize = 64 << 10;

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

    fn send(&self, bytes: &[u8], to: Option<&Peer>) -> io::Result<usize> {
        match (self, to) {
            (Socket::Udp(socket), None) => socket.send(bytes),
            (Socket::Udp(socket), Some(Peer::Internet(address))) => socket.send_to(bytes, *address),
            (Socket::Unix(_, socket), None) => socket.send(bytes),
            (Socket::Unix(_, socket), Some(Peer::Unix(path))) => socket.send_to(bytes, path),
            (Socket::Udp(_), Some(_)) | (Socket::Unix(..), Some(_)) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this socket cannot reach that kind of address",
            )),
        }
    }
}

/// A socket and what waits to be sent on it.
pub(crate) struct Mailing {
    socket: Socket,
    queue: VecDeque<(Vec<u8>, Option<Peer>)>,
    queued_bytes: usize,
}

impl Mailing {
    pub(crate) fn new(socket: Socket) -> Self {
        Mailing { socket, queue: VecDeque::new(), queued_bytes: 0 }
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

    fn udp(&self) -> Option<&UdpSocket> {
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
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Sends a datagram to where the socket is connected: at once, or once those that wait are sent. Returns how many
    /// bytes wait then; from 64 KiB on it says [`Wrote::Full`].
    ///
    /// # Errors
    /// `NotConnected` for what is not a datagram socket; else what the operating system says of this datagram, such as
    /// that it is too large or the socket not connected.
    pub fn send(&mut self, key: Key, bytes: &[u8]) -> io::Result<Wrote> {
        self.send_datagram(key, bytes, None)
    }

    /// Like [`Cx::send`], to an address.
    ///
    /// # Errors
    /// As [`Cx::send`]; `InvalidInput` where the address is not of the socket's kind.
    pub fn send_to(&mut self, key: Key, bytes: &[u8], to: &Peer) -> io::Result<Wrote> {
        self.send_datagram(key, bytes, Some(to))
    }

    fn send_datagram(&mut self, key: Key, bytes: &[u8], to: Option<&Peer>) -> io::Result<Wrote> {
        let Some(datagram) = self.datagram(key) else { return Err(io::ErrorKind::NotConnected.into()) };
        let (is_first, mut is_full) = (!datagram.mailing.has_queued(), false);
        if is_first && datagram.edges.is_writable {
            match again(|| datagram.mailing.socket.send(bytes, to)) {
                Ok(_) => return Ok(Wrote::All),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    datagram.edges.is_writable = false;
                    is_full = true;
                }
                Err(error) => return Err(error),
            }
        }
        let mailing = &mut datagram.mailing;
        mailing.queue.push_back((bytes.to_vec(), to.cloned()));
        mailing.queued_bytes += bytes.len();
        let queued = mailing.queued_bytes;
        let is_crowded = is_full && mailing.first_is_for_another();
        self.core.requests += usize::from(is_first);
        if is_crowded {
            self.core.crowd(key);
        }
        Ok(if queued < HIGH_WATER_BYTES { Wrote::Queued(queued) } else { Wrote::Full(queued) })
    }

    /// Connects a datagram socket: [`Cx::send`] goes there, nothing of others is received, and refusals are told.
    ///
    /// # Errors
    /// `NotConnected` for what is not a datagram socket; `InvalidInput` for an address of another kind; else what the
    /// operating system says.
    pub fn connect_datagrams(&mut self, key: Key, to: &Peer) -> io::Result<()> {
        let Some(datagram) = self.datagram(key) else { return Err(io::ErrorKind::NotConnected.into()) };
        match (&datagram.mailing.socket, to) {
            (Socket::Udp(socket), Peer::Internet(address)) => socket.connect(*address),
            (Socket::Unix(_, socket), Peer::Unix(path)) => socket.connect(path),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this socket cannot reach that kind of address",
            )),
        }
    }

    /// Receives what is sent to a multicast group, on the interface that the system chooses.
    ///
    /// # Errors
    /// `NotConnected` for what is not a UDP socket; else what the operating system says: not a group, no route.
    pub fn join_multicast(&mut self, key: Key, group: IpAddr) -> io::Result<()> {
        self.join_multicast_on(key, group, Ipv4Addr::UNSPECIFIED, 0)
    }

    /// Like [`Cx::join_multicast`] on one interface: that with this address for an IPv4 group, that with this index for
    /// an IPv6 one.
    ///
    /// # Errors
    /// As [`Cx::join_multicast`].
    pub fn join_multicast_on(
        &mut self,
        key: Key,
        group: IpAddr,
        address: Ipv4Addr,
        index: u32,
    ) -> io::Result<()> {
        let socket = self.udp_socket(key)?;
        match group {
            IpAddr::V4(group) => socket.join_multicast_v4(&group, &address),
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index),
        }
    }

    /// Leaves a multicast group that was joined on the interface the system chose.
    ///
    /// # Errors
    /// `NotConnected` for what is not a UDP socket; else what the operating system says: never joined.
    pub fn leave_multicast(&mut self, key: Key, group: IpAddr) -> io::Result<()> {
        let socket = self.udp_socket(key)?;
        match group {
            IpAddr::V4(group) => socket.leave_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, 0),
        }
    }

    /// Sets whether what this socket sends to an IPv4 group comes back to this machine; it does where not set.
    ///
    /// # Errors
    /// `NotConnected` for what is not a UDP socket; else what the operating system says.
    pub fn set_multicast_loop(&mut self, key: Key, is_on: bool) -> io::Result<()> {
        self.udp_socket(key)?.set_multicast_loop_v4(is_on)
    }

    /// Sets whether this socket may send to broadcast addresses.
    ///
    /// # Errors
    /// `NotConnected` for what is not a UDP socket; else what the operating system says.
    pub fn set_broadcast(&mut self, key: Key, is_on: bool) -> io::Result<()> {
        self.udp_socket(key)?.set_broadcast(is_on)
    }

    fn udp_socket(&self, key: Key) -> io::Result<&UdpSocket> {
        let socket = match self.core.slots.get(key).map(|entry| &entry.what) {
            Some(What::Datagram(datagram)) => datagram.mailing.udp(),
            _ => None,
        };
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
