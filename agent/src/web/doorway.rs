//! Connections that come in by an address or by a socket file, as one kind of stream.

use crate::web::agent_socket::AgentSocket;
use crate::web::client::Connection;
use crate::web::entrance::Listener;
use loopscope_probe::socket_file::SocketFile;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket within the runtime.
pub(crate) enum Doorway {
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

impl Doorway {
    /// Hands the socket to the runtime that the calling thread is in.
    pub(crate) fn new(listener: Listener) -> io::Result<Doorway> {
        Ok(match listener {
            Listener::Tcp(listener, _) => Doorway::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(file, listener) => {
                Doorway::Unix { _file: file, listener: UnixListener::from_std(listener)? }
            }
        })
    }

    /// As [`Doorway::new`], for the socket file beside the pages.
    pub(crate) fn of_agent_socket(AgentSocket { file, listener }: AgentSocket) -> io::Result<Doorway> {
        Ok(Doorway::Unix { _file: file, listener: UnixListener::from_std(listener)? })
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Doorway::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole, so waiting for more to send only delays their last packet.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Doorway::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Stream {
    /// Returns how the client reached us, as the system tells it.
    pub(crate) fn connection(&self) -> Connection {
        let known = match self {
            Stream::Tcp(stream) => stream
                .peer_addr()
                .and_then(|peer| stream.local_addr().map(|own| Connection::Tcp { peer, own })),
            Stream::Unix(stream) => {
                stream.peer_cred().map(|peer| Connection::Unix { user: peer.uid(), pid: peer.pid() })
            }
        };
        known.unwrap_or_default()
    }
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
