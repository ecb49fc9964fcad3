//! Streams that the program brings itself: pipes, named pipes, terminals, and connections made elsewhere.
//!
//! The loop owns their descriptors from the call on, makes them non-blocking and closes them with the key. That a
//! descriptor is made non-blocking is seen by everybody who shares it, such as a shell with its terminal.

use crate::cx::Cx;
use crate::handles::transport::Transport;
use crate::key::Key;
use loopscope_probe::Kind;
use mio::net::{TcpStream, UnixStream};
use mio::unix::pipe::{Receiver, Sender};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;

impl<S: 'static> Cx<'_, S> {
    /// Makes a pipe: the key of the end that is read, and of the end that is written.
    ///
    /// # Errors
    /// What the operating system says when it refuses the descriptors. In virtual time there are no pipes.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode, StreamEvent};
    /// let mut event_loop = Loop::builder(0).build()?;
    /// event_loop.main(|cx| {
    ///     let (reader, writer) = cx.pipe()?;
    ///     cx.on_stream(reader, |cx, _, event| {
    ///         if let StreamEvent::Data(bytes) = event {
    ///             *cx.state += bytes.len();
    ///         }
    ///     });
    ///     cx.write(writer, b"hello")?;
    ///     cx.shutdown(writer);
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 5);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn pipe(&mut self) -> io::Result<(Key, Key)> {
        self.core.registry()?;
        let (sender, receiver) = mio::unix::pipe::new()?;
        let at = Location::caller();
        let reader = self.open_at(at, Transport::PipeIn(receiver))?;
        let writer = self.open_at(at, Transport::PipeOut(Some(sender)));
        if writer.is_err() {
            self.core.drop_socket(reader);
        }
        writer.map(|writer| (reader, writer))
    }

    /// Makes a stream of something that can be read: the end of a pipe, a named pipe, a terminal. It only reads.
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it: `PermissionDenied` for regular files, which are
    /// always ready. The descriptor
    /// is closed then. In virtual time there are none.
    #[track_caller]
    pub fn open_reader(&mut self, descriptor: impl Into<OwnedFd>) -> io::Result<Key> {
        self.core.registry()?;
        let receiver = Receiver::from(descriptor.into());
        receiver.set_nonblocking(true)?;
        self.open_at(Location::caller(), Transport::PipeIn(receiver))
    }

    /// Makes a stream of something that can be written: the end of a pipe, a named pipe, a terminal. It only writes;
    /// [`Cx::shutdown`] closes it once everything is sent.
    ///
    /// # Errors
    /// As [`Cx::open_reader`].
    #[track_caller]
    pub fn open_writer(&mut self, descriptor: impl Into<OwnedFd>) -> io::Result<Key> {
        self.core.registry()?;
        let sender = Sender::from(descriptor.into());
        sender.set_nonblocking(true)?;
        self.open_at(Location::caller(), Transport::PipeOut(Some(sender)))
    }

    /// Makes a stream of a TCP connection that the program made or inherited.
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it. In virtual time there are no sockets.
    #[track_caller]
    pub fn open_tcp(&mut self, socket: std::net::TcpStream) -> io::Result<Key> {
        self.core.registry()?;
        socket.set_nonblocking(true)?;
        self.open_at(Location::caller(), Transport::Tcp(TcpStream::from_std(socket)))
    }

    /// Makes a stream of a Unix-domain connection, such as one half of a pair.
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it. In virtual time there are no sockets.
    #[track_caller]
    pub fn open_unix(&mut self, socket: std::os::unix::net::UnixStream) -> io::Result<Key> {
        self.core.registry()?;
        socket.set_nonblocking(true)?;
        self.open_at(Location::caller(), Transport::Unix(UnixStream::from_std(socket)))
    }

    pub(crate) fn open_at(
        &mut self,
        at: &'static Location<'static>,
        transport: Transport,
    ) -> io::Result<Key> {
        let site = self.core.site(at, Kind::IoRead);
        self.open_stream(site, transport)
    }
}
