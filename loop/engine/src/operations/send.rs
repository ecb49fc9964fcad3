//! Sending datagrams, and the options of their sockets.
//!
//! A datagram is handed to the kernel at once; where its buffer is full the datagram waits in the socket's own queue,
//! behind those that wait already, and `Drained` tells when all are gone.

use crate::core::What;
use crate::cx::Cx;
use crate::handles::datagram_queue::{Peer, Socket, again};
use crate::handles::write_queue::Wrote;
use crate::key::Key;
use mio::net::UdpSocket;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// As for streams.
const HIGH_WATER_BYTES: usize = 64 << 10;

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
        let (is_first, mut is_full) = (!datagram.datagrams.has_queued(), false);
        if is_first && datagram.edges.is_writable {
            match again(|| datagram.datagrams.socket.send(bytes, to)) {
                Ok(_) => return Ok(Wrote::All),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    datagram.edges.is_writable = false;
                    is_full = true;
                }
                Err(error) => return Err(error),
            }
        }
        let datagrams = &mut datagram.datagrams;
        datagrams.queue.push_back((bytes.to_vec(), to.cloned()));
        datagrams.queued_bytes += bytes.len();
        let queued = datagrams.queued_bytes;
        let is_crowded = is_full && datagrams.first_is_for_another();
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
        match (&datagram.datagrams.socket, to) {
            (Socket::Udp(socket), Peer::Internet(address)) => socket.connect(*address),
            (Socket::Unix(_, socket), Peer::Unix(path)) => socket.connect(path),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this socket does not support that kind of address",
            )),
        }
    }

    /// Receives what is sent to a multicast group, on the interface that the system chooses.
    ///
    /// # Errors
    /// `NotConnected` for what is not a UDP socket; else what the operating system says: not a group, no route.
    ///
    /// ```no_run
    /// use loopscope_loop::{DatagramEvent, Loop};
    /// use std::net::{IpAddr, Ipv4Addr};
    ///
    /// let mut event_loop = Loop::new()?;
    /// event_loop.main(|cx| {
    ///     let socket = cx.udp(([0, 0, 0, 0], 0).into(), |_, _, event| {
    ///         if let DatagramEvent::Data(datagram) = event {
    ///             println!("{} bytes from {:?}", datagram.bytes.len(), datagram.from);
    ///         }
    ///     })?;
    ///     cx.join_multicast(socket, IpAddr::V4(Ipv4Addr::new(239, 255, 0, 1)))
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
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
            Some(What::Datagram(datagram)) => datagram.datagrams.udp(),
            _ => None,
        };
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
