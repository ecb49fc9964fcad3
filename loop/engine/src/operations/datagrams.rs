//! Datagram sockets: UDP and Unix-domain, bound, connected or neither.
//!
//! One call, one message: a datagram arrives whole or cut, never in pieces, and what is sent is one datagram. Reading
//! begins when the socket is made. Each turn in the poll phase reads and sends at most sixteen.
//!
//! # Source
//! `src/unix/udp.c` of libuv 1.46. A message that was cut is found by `MSG_TRUNC`, as there.

use crate::callback::Origin;
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::datagram::{Datagram, DatagramEvent, DatagramSocket, OnDatagram};
use crate::handles::datagram_queue::{DatagramQueue, Socket};
use crate::key::Key;
use crate::queues::sockets::Edges;
use loopscope_probe::{Kind, TaskTimes};
use mio::Interest;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Datagrams that a turn receives or sends at most.
const CALLS_PER_TURN: usize = 16;

/// The largest datagram that is received whole where the program does not say; no UDP datagram is larger.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

impl<S: 'static> Cx<'_, S> {
    /// Binds a UDP socket and receives on it; port 0 takes a free one, which [`Cx::local_addr`] tells.
    ///
    /// # Errors
    /// What the operating system says when it refuses the address. In virtual time there are no sockets.
    ///
    /// ```
    /// use loopscope_loop::{DatagramEvent, Loop, Mode, Peer};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).build()?;
    /// event_loop.main(|cx| {
    ///     let any_port = ([127, 0, 0, 1], 0).into();
    ///     let server = cx.udp(any_port, |cx, _, event| {
    ///         if let DatagramEvent::Data(datagram) = event {
    ///             cx.state.extend_from_slice(datagram.bytes);
    ///             cx.stop();
    ///         }
    ///     })?;
    ///     let to = Peer::Internet(cx.local_addr(server).unwrap());
    ///     let client = cx.udp(any_port, |_, _, _| {})?;
    ///     cx.send_to(client, b"hello", &to)
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn udp(
        &mut self,
        address: SocketAddr,
        run: impl FnMut(&mut Cx<'_, S>, Key, DatagramEvent<'_>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        let socket = Socket::Udp(mio::net::UdpSocket::bind(address)?);
        self.open_datagram(Origin::of(&run), socket, Box::new(run))
    }

    /// Receives on a UDP socket that the program made, with options of its own.
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it. In virtual time there are no sockets.
    #[track_caller]
    pub fn open_udp(
        &mut self,
        socket: std::net::UdpSocket,
        run: impl FnMut(&mut Cx<'_, S>, Key, DatagramEvent<'_>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        socket.set_nonblocking(true)?;
        let socket = Socket::Udp(mio::net::UdpSocket::from_std(socket));
        self.open_datagram(Origin::of(&run), socket, Box::new(run))
    }

    /// Makes a Unix-domain datagram socket and receives on it; without a path it can be answered only over a
    /// connection. The file goes when the socket is closed.
    ///
    /// # Errors
    /// What the operating system says when it refuses the path. In virtual time there are no sockets.
    #[track_caller]
    pub fn unix_datagram(
        &mut self,
        path: Option<&Path>,
        run: impl FnMut(&mut Cx<'_, S>, Key, DatagramEvent<'_>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        let socket = Socket::unix(path)?;
        self.open_datagram(Origin::of(&run), socket, Box::new(run))
    }

    fn open_datagram(&mut self, origin: Origin, socket: Socket, run: OnDatagram<S>) -> io::Result<Key> {
        let site = self.core.site(origin, Kind::IoRead);
        let datagram = DatagramSocket::<S> {
            datagrams: DatagramQueue::new(socket),
            edges: Edges::of_connected(),
            run: Some(run),
            bytes_max: DATAGRAM_BYTES_MAX,
            is_paused: false,
            is_crowded: false,
        };
        let key = self.core.insert(site, What::Datagram(Box::new(datagram)));
        self.core.referenced += 1;
        self.watch(key, Interest::READABLE | Interest::WRITABLE)?;
        Ok(key)
    }

    /// Sets how many bytes of a datagram are received, 1 to 65,536; what is longer is cut. 65,536 where not set.
    /// Returns `false` for what is not a datagram socket.
    pub fn set_datagram_max(&mut self, key: Key, bytes: usize) -> bool {
        let Some(datagram) = self.datagram(key) else { return false };
        datagram.bytes_max = bytes.clamp(1, DATAGRAM_BYTES_MAX);
        true
    }

    pub(crate) fn datagram(&mut self, key: Key) -> Option<&mut DatagramSocket<S>> {
        match &mut self.core.slots.get_mut(key)?.what {
            What::Datagram(datagram) => Some(datagram),
            _ => None,
        }
    }

    /// Gives a datagram socket its turn.
    pub(crate) fn exchange(&mut self, key: Key) {
        self.send_queued(key);
        self.receive_datagrams(key);
        let now = self.core.stamp();
        let Some(What::Datagram(datagram)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return;
        };
        let has_more = (datagram.edges.is_readable && datagram.wants_data())
            || (datagram.edges.is_writable && datagram.datagrams.has_queued());
        if has_more {
            self.core.sockets.list(key, &mut datagram.edges, now);
        }
    }

    fn send_queued(&mut self, key: Key) {
        for _ in 0..CALLS_PER_TURN {
            let Some(datagram) = self.datagram(key) else { return };
            if !datagram.datagrams.has_queued() || !datagram.edges.is_writable {
                return;
            }
            let outcome = datagram.datagrams.send_first();
            if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                datagram.edges.is_writable = false;
                if datagram.datagrams.first_is_for_another() {
                    self.core.crowd(key);
                }
                return;
            }
            let is_drained = !datagram.datagrams.has_queued();
            if is_drained {
                self.core.requests -= 1;
            }
            if let Err(error) = outcome {
                self.emit_datagram(key, Kind::IoWrite, DatagramEvent::Error(error));
            }
            if is_drained {
                self.emit_datagram(key, Kind::IoWrite, DatagramEvent::Drained);
            }
            if !self.goes_on() {
                return;
            }
        }
    }

    fn receive_datagrams(&mut self, key: Key) {
        // The buffer is lent out, so that a callback can read from it and change the loop.
        let mut buffer = std::mem::take(&mut self.core.sockets.buffer);
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        for _ in 0..CALLS_PER_TURN {
            if !self.goes_on() {
                break;
            }
            let Some(datagram) = self.datagram(key) else { break };
            if !datagram.wants_data() || !datagram.edges.is_readable {
                break;
            }
            match datagram.datagrams.receive(&mut buffer[..datagram.bytes_max]) {
                Ok((count, length, from)) => {
                    let arrived = Datagram { bytes: &buffer[..count], from, length };
                    self.emit_datagram(key, Kind::IoRead, DatagramEvent::Data(arrived));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    datagram.edges.is_readable = false;
                    break;
                }
                Err(error) => self.emit_datagram(key, Kind::IoRead, DatagramEvent::Error(error)),
            }
        }
        self.core.sockets.buffer = buffer;
    }

    fn emit_datagram(&mut self, key: Key, kind: Kind, event: DatagramEvent<'_>) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Datagram(datagram) = &mut entry.what else { return };
        let (Some(mut run), ready) = (datagram.run.take(), datagram.edges.ready) else { return };
        self.enter(kind, site, TaskTimes::ready_at(ready), |cx| run(cx, key, event));
        match self.datagram(key) {
            Some(datagram) => datagram.run = Some(run),
            None => self.discard(kind, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Stops or goes on receiving. Returns `false` for what is not a datagram socket.
    pub(crate) fn pause_datagrams(&mut self, key: Key, is_paused: bool) -> bool {
        let now = self.stamp();
        let Some(entry) = self.slots.get_mut(key) else { return false };
        let What::Datagram(datagram) = &mut entry.what else { return false };
        let was_paused = std::mem::replace(&mut datagram.is_paused, is_paused);
        if entry.is_ref && was_paused != is_paused {
            self.referenced = if is_paused { self.referenced - 1 } else { self.referenced + 1 };
        }
        if datagram.edges.is_readable && !is_paused {
            self.sockets.list(key, &mut datagram.edges, now);
        }
        true
    }
}
