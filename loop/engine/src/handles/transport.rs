//! What a stream's bytes go through: a TCP connection, a Unix-domain connection, or one end of a pipe.
//!
//! All of them are streams to the program; only their making differs, and what they can tell about their ends.

use crate::handles::memory::MemoryEnd;
use loopscope_probe::HandleType;
use mio::Interest;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::unix::pipe::{Receiver, Sender};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// The socket or pipe behind a stream.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// The end of a pipe that is read.
    PipeIn(Receiver),
    /// The end of a pipe that is written; `None` once it was ended, which for a pipe is to close it.
    PipeOut(Option<Sender>),
    /// One end of a pair in virtual time.
    Memory(MemoryEnd),
}

impl Transport {
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.read(buffer),
            Transport::Unix(socket) => socket.read(buffer),
            Transport::PipeIn(pipe) => pipe.read(buffer),
            Transport::PipeOut(_) => Ok(0),
            Transport::Memory(end) => end.read(buffer),
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes),
            Transport::Unix(socket) => socket.write(bytes),
            Transport::PipeOut(Some(pipe)) => pipe.write(bytes),
            Transport::Memory(end) => end.write(bytes),
            Transport::PipeIn(_) | Transport::PipeOut(None) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.write_vectored(slices),
            Transport::Unix(socket) => socket.write_vectored(slices),
            Transport::PipeOut(Some(pipe)) => pipe.write_vectored(slices),
            // The first slice that holds something; the caller goes on with the rest.
            Transport::Memory(end) => {
                end.write(slices.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice))
            }
            Transport::PipeIn(_) | Transport::PipeOut(None) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Tells whether a read that does not fill its buffer has emptied it; what arrives later is reported anew. Only TCP
    /// gives all it has: a terminal gives one line, and a Unix-domain socket stops behind a message that carries
    /// descriptors. Of those, nothing but "would block" is the end.
    #[inline]
    pub(crate) fn is_emptied_by_short_read(&self) -> bool {
        matches!(self, Transport::Tcp(_))
    }

    /// Tells the other side that nothing more will be written.
    pub(crate) fn end(&mut self) {
        // Fails only where the connection is broken, which reading reports.
        let _ = match self {
            Transport::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Transport::Unix(socket) => socket.shutdown(Shutdown::Write),
            Transport::PipeIn(_) => Ok(()),
            Transport::PipeOut(pipe) => {
                *pipe = None;
                Ok(())
            }
            Transport::Memory(end) => {
                end.end();
                Ok(())
            }
        };
    }

    /// Tells whether a connection that was begun is made: `None` where that is still open.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let (error, peer) = match self {
            Transport::Tcp(socket) => (socket.take_error(), socket.peer_addr().map(|_| ())),
            Transport::Unix(socket) => (socket.take_error(), socket.peer_addr().map(|_| ())),
            Transport::PipeIn(_) | Transport::PipeOut(_) | Transport::Memory(_) => return Some(Ok(())),
        };
        match (error, peer) {
            (Ok(None), Err(error)) if error.kind() == io::ErrorKind::NotConnected => None,
            (Ok(None), peer) => Some(peer),
            (Ok(Some(error)) | Err(error), _) => Some(Err(error)),
        }
    }

    /// Returns what the poller watches.
    pub(crate) fn source(&mut self) -> Option<&mut dyn Source> {
        match self {
            Transport::Tcp(socket) => Some(socket),
            Transport::Unix(socket) => Some(socket),
            Transport::PipeIn(pipe) => Some(pipe),
            Transport::PipeOut(pipe) => pipe.as_mut().map(|pipe| pipe as &mut dyn Source),
            Transport::Memory(_) => None,
        }
    }

    /// Returns which edges concern it.
    pub(crate) fn interest(&self) -> Interest {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) | Transport::Memory(_) => {
                Interest::READABLE | Interest::WRITABLE
            }
            Transport::PipeIn(_) => Interest::READABLE,
            Transport::PipeOut(_) => Interest::WRITABLE,
        }
    }

    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(socket) => Some(socket),
            _ => None,
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    pub(crate) fn handle_type(&self) -> HandleType {
        match self {
            Transport::Tcp(_) => HandleType::TcpStream,
            Transport::Unix(_) => HandleType::UnixStream,
            Transport::PipeIn(_) | Transport::PipeOut(_) | Transport::Memory(_) => HandleType::Pipe,
        }
    }
}
