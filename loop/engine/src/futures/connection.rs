//! A stream as futures see it: reads and writes that can be awaited.

use crate::core::What;
use crate::cx::Cx;
use crate::futures::loop_handle::LoopHandle;
use crate::futures::promise::{Promise, Promised, Undo};
use crate::futures::read_readiness::{ReadReadiness, WaitingReader};
use crate::futures::unsettled::Unsettled;
use crate::handles::stream::StreamEvent;
use crate::handles::write_queue::Wrote;
use crate::key::Key;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A stream that is read and written by futures. It is closed when this is dropped, with what is still queued: await
/// [`Connection::write`] for bytes that must get out.
///
/// The key is the stream's own: what callbacks can do with it, such as [`Cx::on_idle`] or [`Cx::set_nodelay`], they can
/// do here, too. While a read waits it keeps the loop alive, as a stream with a callback does.
///
/// With the feature `futures-io` it is an `AsyncRead` and an `AsyncWrite` of the crate `futures-io`, by which other
/// libraries' protocols run on it.
pub struct Connection<S: 'static = ()> {
    here: LoopHandle<S>,
    key: Key,
    pub(super) inbox: Rc<Inbox>,
    pub(super) at: &'static Location<'static>,
    #[cfg_attr(not(feature = "futures-io"), expect(dead_code, reason = "only `AsyncWrite` has any"))]
    pub(super) unsettled: Unsettled<S>,
    is_owned: bool,
}

/// What a connection shares with the callback of its stream.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) gate: Rc<ReadReadiness>,
    /// What has arrived and was not read yet: at most one piece, because the gate shuts behind it.
    bytes: RefCell<Vec<u8>>,
    /// How much of `bytes` was read.
    read: Cell<usize>,
    error: Cell<Option<io::Error>>,
    is_ended: Cell<bool>,
    /// Writes that wait for the queue to empty.
    writers: RefCell<Vec<Rc<Promised<io::Result<()>>>>>,
}

impl Inbox {
    fn take(&self, buffer: &mut [u8]) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let unread = &bytes[self.read.get()..];
        let count = unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&unread[..count]);
        self.read.set(self.read.get() + count);
        if self.read.get() == bytes.len() {
            bytes.clear();
            self.read.set(0);
        }
        count
    }

    fn on_event<S: 'static>(&self, cx: &mut Cx<'_, S>, key: Key, event: StreamEvent<'_>) {
        match event {
            StreamEvent::Data(bytes) => {
                self.bytes.borrow_mut().extend_from_slice(bytes);
                cx.pause(key);
                self.gate.arrived();
            }
            StreamEvent::End => {
                self.is_ended.set(true);
                self.gate.arrived();
            }
            StreamEvent::Drained => self.settle(|| Ok(())),
            StreamEvent::Error(error) => {
                self.settle(|| Err(again(&error)));
                self.error.set(Some(error));
                self.gate.arrived();
            }
        }
    }

    /// Gives every write that waits its result.
    fn settle(&self, outcome: impl Fn() -> io::Result<()>) {
        let writers = self.writers.take();
        writers.into_iter().for_each(|writer| writer.resolve(outcome()));
    }
}

/// The inbox as the stream's callback holds it: when the callback goes, nothing more comes.
struct FilledInbox(Rc<Inbox>);

impl Drop for FilledInbox {
    fn drop(&mut self) {
        self.0.settle(|| Err(io::ErrorKind::NotConnected.into()));
        self.0.gate.gone();
    }
}

/// Copies an error for a second one who must learn of it.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Gives a stream to futures: its callback is replaced, and it reads only while a future waits for that. `None` for
    /// a stale key or one that is not a stream's.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     let [client, server] = [client, server].map(|key| cx.connection(key).expect("it is a stream"));
    ///     cx.spawn_async(|_| async move {
    ///         client.write("hello").await?;
    ///         client.shutdown().await
    ///     });
    ///     cx.spawn_async(|here| async move {
    ///         let mut buffer = [0; 16];
    ///         let count = server.read(&mut buffer).await.unwrap_or(0);
    ///         here.with(move |cx| cx.state.extend_from_slice(&buffer[..count])).await;
    ///     });
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connection(&mut self, key: Key) -> Option<Connection<S>> {
        self.connection_at(Location::caller(), key)
    }

    pub(crate) fn connection_at(
        &mut self,
        at: &'static Location<'static>,
        key: Key,
    ) -> Option<Connection<S>> {
        self.stream(key)?;
        let inbox = Rc::<Inbox>::default();
        let filled = FilledInbox(inbox.clone());
        self.pause(key);
        self.on_stream_at(at.into(), key, Box::new(move |cx, key, event| filled.0.on_event(cx, key, event)));
        Some(Connection { here: self.local(), key, inbox, at, unsettled: Unsettled::new(), is_owned: true })
    }

    /// Opens the gate of a stream: reads on, or says why not.
    fn read_on(&mut self, key: Key, inbox: &Inbox) {
        if !inbox.gate.is_open() {
            return;
        }
        match self.core.slots.get(key).map(|entry| &entry.what) {
            Some(What::Stream(stream)) if stream.is_ended => {
                inbox.is_ended.set(true);
                inbox.gate.arrived();
            }
            Some(What::Stream(_)) => {
                self.resume(key);
            }
            _ => inbox.gate.gone(),
        }
    }
}

impl<S: 'static> Connection<S> {
    /// Returns the stream's key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Gives the stream back to callbacks: it stays open and is paused until [`Cx::resume`]. What arrived and was not
    /// read comes along.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode, StreamEvent};
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     let server = cx.connection(server).expect("it is a stream");
    ///     let (key, unread) = server.into_key();
    ///     assert!(unread.is_empty());
    ///     cx.on_stream(key, |cx, _, event| {
    ///         if let StreamEvent::Data(bytes) = event {
    ///             *cx.state += bytes.len();
    ///         }
    ///     });
    ///     cx.resume(key);
    ///     cx.write(client, b"hello")?;
    ///     cx.shutdown(client);
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_key(mut self) -> (Key, Vec<u8>) {
        self.is_owned = false;
        let mut bytes = self.inbox.bytes.take();
        bytes.drain(..self.inbox.read.take());
        (self.key, bytes)
    }

    /// Reads what has arrived, at least one byte and at most as many as the buffer holds; waits where there is nothing.
    /// Returns 0 when the other side has ended, and for an empty buffer. Dropping the future loses nothing: what
    /// arrives is for the next read.
    ///
    /// # Errors
    /// What the operating system says, once; `NotConnected` where the key was closed or given another callback.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::io;
    ///
    /// let mut event_loop = Loop::new()?;
    /// let task = event_loop.main(|cx| {
    ///     let incoming = cx.incoming(([127, 0, 0, 1], 0).into())?;
    ///     let address = cx.local_addr(incoming.key()).unwrap();
    ///     let server = cx.spawn_async(|_| async move {
    ///         let connection = incoming.accept().await?;
    ///         let mut buffer = [0; 16];
    ///         let count = connection.read(&mut buffer).await?; // 0 at the end
    ///         io::Result::Ok(buffer[..count].to_vec())
    ///     });
    ///     cx.spawn_async(|here| async move { here.connect(address).await?.write("hello").await });
    ///     io::Result::Ok(server)
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert!(task.is_done());
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let _waiting = WaitingReader::new(&self.inbox.gate, &self.here, self.key, self.at);
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    pub(super) fn poll_read(&self, context: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let inbox = &self.inbox;
        let count = inbox.take(buffer);
        if count > 0 || buffer.is_empty() {
            return Poll::Ready(Ok(count));
        }
        if let Some(error) = inbox.error.take() {
            return Poll::Ready(Err(error));
        }
        if inbox.is_ended.get() {
            return Poll::Ready(Ok(0));
        }
        if inbox.gate.is_gone.get() {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        inbox.gate.note(context);
        if inbox.gate.open() {
            let (key, inbox) = (self.key, inbox.clone());
            self.here.command(self.at, move |cx| cx.read_on(key, &inbox));
        }
        Poll::Pending
    }

    /// Sends bytes. They are on their way with the call, in the order of the calls, also where the promise is dropped;
    /// it is resolved when the kernel has taken all of them, so a peer that does not read makes its writer wait.
    ///
    /// # Errors
    /// The promise's: as [`Cx::write`], and what breaks the connection before all was taken.
    #[track_caller]
    pub fn write(&self, bytes: impl Into<Vec<u8>>) -> Promise<io::Result<()>, S> {
        self.write_at(Location::caller(), bytes.into())
    }

    pub(super) fn write_at(
        &self,
        at: &'static Location<'static>,
        bytes: Vec<u8>,
    ) -> Promise<io::Result<()>, S> {
        let (key, inbox) = (self.key, self.inbox.clone());
        Promise::begin(&self.here, at, Undo::Nothing, move |cx, promised| {
            match cx.write(key, &bytes) {
                Ok(Wrote::All) => promised.resolve(Ok(())),
                Ok(_) => inbox.writers.borrow_mut().push(promised),
                Err(error) => promised.resolve(Err(error)),
            }
            None
        })
    }

    /// Ends this side once all that was written is with the kernel: the other side reads the end, and may go on
    /// sending. The promise is resolved when that is so.
    ///
    /// # Errors
    /// The promise's: `NotConnected` where the key was closed, and what breaks the connection meanwhile.
    #[track_caller]
    pub fn shutdown(&self) -> Promise<io::Result<()>, S> {
        self.shutdown_at(Location::caller())
    }

    pub(super) fn shutdown_at(&self, at: &'static Location<'static>) -> Promise<io::Result<()>, S> {
        let (key, inbox) = (self.key, self.inbox.clone());
        Promise::begin(&self.here, at, Undo::Nothing, move |cx, promised| {
            // Also where it was asked for before: what was queued then may still be on its way.
            cx.shutdown(key);
            match cx.queued_bytes(key) {
                None => promised.resolve(Err(io::ErrorKind::NotConnected.into())),
                Some(1..) => inbox.writers.borrow_mut().push(promised),
                Some(0) => promised.resolve(Ok(())),
            }
            None
        })
    }
}

impl<S: 'static> Drop for Connection<S> {
    fn drop(&mut self) {
        if self.is_owned && !self.inbox.gate.is_gone.get() {
            let key = self.key;
            self.here.command(self.at, move |cx| {
                cx.close(key);
            });
        }
    }
}

impl<S: 'static> fmt::Debug for Connection<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<S: 'static> LoopHandle<S> {
    /// Connects to an address. The async form of [`Cx::connect`]. Dropping the promise gives the connection up.
    ///
    /// # Errors
    /// The promise's: what the operating system said.
    #[track_caller]
    pub fn connect(&self, address: SocketAddr) -> Promise<io::Result<Connection<S>>, S> {
        let at = Location::caller();
        Promise::begin(self, at, Undo::Close, move |cx, promised| {
            let own = promised.clone();
            let begun =
                cx.connect_at(at.into(), address, Box::new(move |cx, made| own.connected(cx, at, made)));
            begun.map_err(|error| promised.resolve(Err(error))).ok()
        })
    }

    /// Connects to a Unix-domain socket. The async form of [`Cx::connect_unix`]. Dropping the promise gives the
    /// connection up.
    ///
    /// # Errors
    /// The promise's: what the operating system said.
    #[track_caller]
    pub fn connect_unix(&self, path: impl Into<PathBuf>) -> Promise<io::Result<Connection<S>>, S> {
        let (at, path) = (Location::caller(), path.into());
        Promise::begin(self, at, Undo::Close, move |cx, promised| {
            let own = promised.clone();
            let begun =
                cx.connect_unix_at(at.into(), &path, Box::new(move |cx, made| own.connected(cx, at, made)));
            begun.map_err(|error| promised.resolve(Err(error))).ok()
        })
    }

    /// Connects to a host by name, to the first of its addresses that answers. The async form of [`Cx::connect_host`].
    /// Dropping the promise closes the connection as soon as it is made.
    ///
    /// # Errors
    /// The promise's: what the resolver said, or what went wrong with the last address.
    #[track_caller]
    pub fn connect_host(&self, host: &str, port: u16) -> Promise<io::Result<Connection<S>>, S> {
        let (at, host) = (Location::caller(), host.to_owned());
        Promise::begin(self, at, Undo::Nothing, move |cx, promised| {
            let own = promised.clone();
            if let Err(error) = cx.connect_host(&host, port, move |cx, made| own.connected(cx, at, made)) {
                promised.resolve(Err(error));
            }
            None
        })
    }
}

impl<S: 'static> Promised<io::Result<Connection<S>>> {
    fn connected(&self, cx: &mut Cx<'_, S>, at: &'static Location<'static>, made: io::Result<Key>) {
        let closed = || io::ErrorKind::NotConnected.into();
        self.resolve(made.and_then(|key| cx.connection_at(at, key).ok_or_else(closed)));
    }
}
