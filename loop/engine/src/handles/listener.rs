//! Listening sockets, TCP or Unix-domain, and how they are made.

use crate::callback::State;
use crate::handles::transport::Transport;
use crate::key::Key;
use crate::queues::sockets::Edges;
use loopscope_probe::HandleType;
use loopscope_probe::raw::socket_file::SocketFile;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Connections that wait to be accepted; as Node. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: u32 = 511;

/// How a TCP address is listened on.
///
/// ```
/// use loopscope_loop::{Listening, Loop};
///
/// let mut event_loop = Loop::new()?;
/// event_loop.main(|cx| {
///     let options = Listening::default().reuse_port(true).backlog(1024);
///     cx.listen_with(([127, 0, 0, 1], 0).into(), options, |_, _| {})
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    backlog: u32,
    is_port_shared: bool,
    is_v6_only: bool,
}

impl Default for Listening {
    fn default() -> Self {
        Listening { backlog: BACKLOG, is_port_shared: false, is_v6_only: false }
    }
}

impl Listening {
    /// Sets how many connections may wait to be accepted; 511 where not set. The kernel cuts it to its own limit.
    pub fn backlog(mut self, count: u32) -> Self {
        self.backlog = count;
        self
    }

    /// Lets several sockets, of this or other processes of the same user, listen on the same port: the kernel spreads
    /// connections over them (`SO_REUSEPORT`). All of them must ask for it.
    pub fn reuse_port(mut self, is_on: bool) -> Self {
        self.is_port_shared = is_on;
        self
    }

    /// Keeps a listener on `[::]` from taking IPv4 connections, too.
    pub fn only_v6(mut self, is_on: bool) -> Self {
        self.is_v6_only = is_on;
        self
    }
}

/// A callback for connections.
pub(crate) type OnAccept<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>, io::Result<Key>)>;

/// A listening socket.
pub(crate) struct Listener<S: State> {
    pub(crate) acceptor: Acceptor,
    pub(crate) edges: Edges,
    /// Missing while it runs.
    pub(crate) run: Option<OnAccept<S>>,
    pub(crate) is_paused: bool,
    /// The last try failed for lack of descriptors or memory, and the program was told.
    pub(crate) is_starved: bool,
}

/// A socket that connections are accepted from.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    /// With the file that it made, which goes with it, and first: see [`SocketFile`].
    Unix(#[expect(dead_code, reason = "kept for what its drop does")] SocketFile, UnixListener),
}

impl Acceptor {
    pub(crate) fn tcp(address: SocketAddr, options: Listening) -> io::Result<Acceptor> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // As Node: a server that is started again gets its port although old connections linger.
        socket.set_reuse_address(true)?;
        if options.is_port_shared {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(options.is_v6_only)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(Acceptor::Tcp(TcpListener::from_std(socket.into())))
    }

    pub(crate) fn unix(path: &Path) -> io::Result<Acceptor> {
        // As libuv: the file goes with the listener, so that the next one can have its place.
        let socket = UnixListener::bind(path)?;
        Ok(Acceptor::Unix(SocketFile::made(path), socket))
    }

    pub(crate) fn accept(&self) -> io::Result<Transport> {
        match self {
            Acceptor::Tcp(socket) => {
                let (accepted, _) = socket.accept()?;
                // Small answers must not wait for the other side's delayed acknowledgement. A socket that cannot do
                // this has failed already, and says so on its first use.
                let _ = accepted.set_nodelay(true);
                Ok(Transport::Tcp(accepted))
            }
            Acceptor::Unix(_, socket) => socket.accept().map(|(accepted, _)| Transport::Unix(accepted)),
        }
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Acceptor::Tcp(socket) => socket,
            Acceptor::Unix(_, socket) => socket,
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Acceptor::Tcp(socket) => socket.local_addr().ok(),
            Acceptor::Unix(..) => None,
        }
    }

    pub(crate) fn handle_type(&self) -> HandleType {
        match self {
            Acceptor::Tcp(_) => HandleType::TcpListener,
            Acceptor::Unix(..) => HandleType::UnixListener,
        }
    }
}
