//! Listening sockets: connections come in, each as a stream with a key of its own.

use crate::callback::{Origin, Site};
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::error::OutOfDescriptors;
use crate::handles::listener::{Acceptor, Listener, Listening, OnAccept};
use crate::handles::stream::Stream;
use crate::handles::transport::Transport;
use crate::key::Key;
use crate::queues::sockets::{Edges, is_of_one_connection};
use loopscope_probe::{Kind, TaskTimes};
use mio::Interest;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Connections that one turn accepts at most.
const ACCEPTS_PER_TURN: usize = 64;

impl<S: 'static> Cx<'_, S> {
    /// Listens on an address; port 0 takes a free one, which [`Cx::local_addr`] tells. The callback gets the key of
    /// each connection, which reads nothing until [`Cx::on_stream`]; or what went wrong with one.
    ///
    /// While descriptors or memory are lacking it is told once, with an error that holds [`OutOfDescriptors`];
    /// connections wait in the kernel's queue meanwhile, and the loop tries again ten times a second, and as soon as
    /// it has closed a socket of its own.
    ///
    /// # Errors
    /// What the operating system says when it refuses the address: in use, not of this host, not permitted. In virtual
    /// time there are no sockets.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).build()?;
    /// event_loop.main(|cx| {
    ///     let listener = cx.listen(([127, 0, 0, 1], 0).into(), |cx, connection| {
    ///         let Ok(connection) = connection else { return };
    ///         cx.on_stream(connection, |cx, _, event| match event {
    ///             StreamEvent::Data(bytes) => cx.state.extend_from_slice(bytes),
    ///             _ => cx.stop(),
    ///         });
    ///     })?;
    ///     let address = cx.local_addr(listener).unwrap();
    ///     cx.connect(address, |cx, connection| {
    ///         let Ok(connection) = connection else { return };
    ///         drop(cx.write(connection, b"hello"));
    ///         cx.shutdown(connection);
    ///     })
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn listen(
        &mut self,
        address: SocketAddr,
        run: impl FnMut(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.listen_with(address, Listening::default(), run)
    }

    /// Like [`Cx::listen`], with options.
    ///
    /// # Errors
    /// As [`Cx::listen`], and where the system does not have an option.
    ///
    /// ```
    /// use loopscope_loop::{Listening, Loop};
    ///
    /// let mut event_loop = Loop::new()?;
    /// // Several processes may listen on this port; the kernel spreads connections over them.
    /// let options = Listening::default().reuse_port(true).backlog(1024);
    /// event_loop.main(|cx| cx.listen_with(([127, 0, 0, 1], 0).into(), options, |_, _| {}))?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn listen_with(
        &mut self,
        address: SocketAddr,
        options: Listening,
        run: impl FnMut(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        self.listen_at(Origin::of(&run), Acceptor::tcp(address, options)?, Box::new(run))
    }

    /// Like [`Cx::listen`] for Unix-domain connections. Makes the file, and removes it when the listener is closed, unless
    /// another one has taken its place.
    ///
    /// # Errors
    /// What the operating system says when it refuses the path: `AddrInUse` where the file is there, also when nobody
    /// listens on it any more. In virtual time there are no sockets.
    #[track_caller]
    pub fn listen_unix(
        &mut self,
        path: impl AsRef<Path>,
        run: impl FnMut(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        self.listen_at(Origin::of(&run), Acceptor::unix(path.as_ref())?, Box::new(run))
    }

    /// Like [`Cx::listen`] on a socket that listens already, such as one that was inherited.
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it. In virtual time there are no sockets.
    #[track_caller]
    pub fn listen_on(
        &mut self,
        listener: std::net::TcpListener,
        run: impl FnMut(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.core.registry()?;
        listener.set_nonblocking(true)?;
        let acceptor = Acceptor::Tcp(mio::net::TcpListener::from_std(listener));
        self.listen_at(Origin::of(&run), acceptor, Box::new(run))
    }

    pub(crate) fn listen_at(
        &mut self,
        origin: Origin,
        acceptor: Acceptor,
        run: OnAccept<S>,
    ) -> io::Result<Key> {
        let site = self.core.site(origin, Kind::Accept);
        let (is_paused, is_starved) = (false, false);
        let listener =
            Listener::<S> { acceptor, edges: Edges::default(), run: Some(run), is_paused, is_starved };
        let key = self.core.insert(site, What::Listener(Box::new(listener)));
        self.core.referenced += 1;
        self.watch(key, Interest::READABLE)?;
        Ok(key)
    }

    /// Registers the socket behind a key; where that fails, nothing is left of it.
    pub(crate) fn watch(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        let registry = self.core.poller.registry();
        let source = self.core.slots.get_mut(key).and_then(|entry| entry.what.source());
        let (Some(registry), Some(source)) = (registry, source) else { return Ok(()) };
        let outcome = registry.register(source, mio::Token(key.token()), interest);
        if outcome.is_err()
            && let Some(entry) = self.core.remove(key)
        {
            self.core.forget(&entry.what, entry.is_ref);
        }
        outcome
    }

    pub(crate) fn accept_some(&mut self, key: Key) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(entry) = self.core.slots.get_mut(key) else { return };
            let site = entry.site;
            let What::Listener(listener) = &mut entry.what else { return };
            if listener.is_paused {
                return;
            }
            match listener.acceptor.accept() {
                Ok(transport) => {
                    listener.is_starved = false;
                    let accepted = self.open_stream(site, transport);
                    self.emit_accept(key, accepted);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.edges.is_readable = false;
                    return;
                }
                Err(error) if is_of_one_connection(&error) => self.emit_accept(key, Err(error)),
                Err(error) => {
                    let is_news = !std::mem::replace(&mut listener.is_starved, true);
                    self.core.starve(key);
                    if is_news {
                        self.emit_accept(key, Err(OutOfDescriptors { error }.into()));
                    }
                    return;
                }
            }
            if !self.goes_on() {
                break;
            }
        }
        // The kernel may have more: another turn.
        let now = self.core.stamp();
        if let Some(What::Listener(listener)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            self.core.sockets.list(key, &mut listener.edges, now);
        }
    }

    /// Makes a stream of what is connected already.
    pub(crate) fn open_stream(&mut self, site: Site, transport: Transport) -> io::Result<Key> {
        let interest = transport.interest();
        let key = self.core.insert(site, What::Stream(Box::new(Stream::connected(transport))));
        self.watch(key, interest)?;
        Ok(key)
    }

    fn emit_accept(&mut self, key: Key, accepted: io::Result<Key>) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Listener(listener) = &mut entry.what else { return };
        let (Some(mut run), ready) = (listener.run.take(), listener.edges.ready) else { return };
        self.enter(Kind::Accept, site, TaskTimes::ready_at(ready), |cx| run(cx, accepted));
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Listener(listener)) => listener.run = Some(run),
            _ => self.discard(Kind::Accept, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Stops or goes on accepting. Returns `false` for what is not a listener.
    pub(crate) fn pause_listener(&mut self, key: Key, is_paused: bool) -> bool {
        let now = self.stamp();
        let Some(What::Listener(listener)) = self.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return false;
        };
        if std::mem::replace(&mut listener.is_paused, is_paused) && !is_paused {
            // What came meanwhile was reported once, and found nobody who would accept it.
            self.sockets.list(key, &mut listener.edges, now);
        }
        true
    }
}
