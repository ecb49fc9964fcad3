//! Connections that come in by an address or by a socket file, as one kind of stream.

use crate::agent_socket::AgentSocket;
use crate::bind::BoundSocket;
use crate::client::Connection;
use crate::peer_user;
use loopscope_probe::raw::socket_file::SocketFile;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket within the runtime.
pub enum Listener {
    Tcp(TcpListener),
    Unix {
        /// Removed when the server ends, before the socket is closed.
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// A connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Hands the socket to the runtime that the calling thread is in.
    pub fn new(listener: BoundSocket) -> io::Result<Listener> {
        Ok(match listener {
            BoundSocket::Tcp(listener, _) => Listener::Tcp(TcpListener::from_std(listener)?),
            BoundSocket::Unix(file, listener) => {
                Listener::Unix { _file: file, listener: UnixListener::from_std(listener)? }
            }
        })
    }

    /// As [`Listener::new`], for the socket file beside the pages.
    pub fn of_agent_socket(AgentSocket { file, listener }: AgentSocket) -> io::Result<Listener> {
        Ok(Listener::Unix { _file: file, listener: UnixListener::from_std(listener)? })
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole, so waiting for more to send only delays their last packet.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

impl Stream {
    /// Returns how the client reached us, as the system tells it now: to be asked once, as soon as the connection is there.
    pub(crate) fn connection(&self) -> Connection {
        let known = match self {
            Stream::Tcp(stream) => tcp_connection(stream),
            Stream::Unix(stream) => {
                stream.peer_cred().map(|peer| Connection::Unix { user: peer.uid(), pid: peer.pid() })
            }
        };
        known.unwrap_or_default()
    }
}

fn tcp_connection(stream: &TcpStream) -> io::Result<Connection> {
    let (peer, own) = (stream.peer_addr()?, stream.local_addr()?);
    Ok(Connection::Tcp { peer, user: user_while_connected(stream, peer, own) })
}

/// The system tells the user by the ends of a connection, and when ours has been reset, another client can have one from
/// the same port. So an answer counts only if ours is there afterwards: there are no two at the same time.
fn user_while_connected(stream: &TcpStream, peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    peer_user::user_of(peer, own).filter(|_| stream.peer_addr().is_ok())
}

impl Stream {
    /// Writes what fits into the socket's buffer; for a connection that is closed whether or not it does.
    pub(crate) fn try_write(&self, bytes: &[u8]) {
        let _ = match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        };
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    // Without this, every answer would be copied behind its head first, and a page of metrics may have many megabytes.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpSocket;

    async fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(from).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[test]
    fn a_connection_is_never_of_the_user_who_has_its_port_afterwards() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let doorway = Listener::Tcp(TcpListener::bind(any).await.unwrap());
            let Listener::Tcp(listener) = &doorway else { unreachable!() };
            let to = listener.local_addr().unwrap();
            let first = connect(any, to).await;
            let from = first.local_addr().unwrap();
            let (at_first, later) = (doorway.accept().await.unwrap(), doorway.accept());
            let Stream::Tcp(server) = &at_first else { unreachable!() };
            let (peer, own) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
            let user = peer_user::user_of(peer, own);
            assert_eq!(user_while_connected(server, peer, own), user);
            // Resets, and somebody else connects from the same port.
            first.set_zero_linger().unwrap();
            drop(first);
            server.readable().await.unwrap();
            let _second = connect(from, to).await;
            let _served = later.await.unwrap();
            assert_eq!(peer_user::user_of(peer, own), user, "the second one's");
            assert_eq!(user_while_connected(server, peer, own), None);
            assert!(matches!(at_first.connection(), Connection::Unknown));
        });
    }
}
