//! Outgoing connections. Success and failure both arrive as the callback, never from inside the call.
//!
//! # Source
//! `uv__stream_connect` in `src/unix/stream.c` of libuv 1.46. On Linux a refused connection to a local port is seen in
//! the poll phase, as there.

use crate::callback::{Once, Origin, Site};
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::stream::{OnConnect, Stream};
use crate::handles::transport::Transport;
use crate::key::Key;
use crate::queues::deferred::Deferred;
use crate::queues::sockets::is_of_one_connection;
use loopscope_probe::{Kind, TaskTimes};
use mio::Interest;
use mio::net::{TcpStream, UnixStream};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

impl<S: 'static> Cx<'_, S> {
    /// Connects to an address. The callback gets the stream's key, which is the one returned here, or what went wrong.
    /// What is written before is sent after. Until the callback has run the loop stays alive; closing the key before
    /// gives it an error of kind `ConnectionAborted`, in the close phase.
    ///
    /// # Errors
    /// What the operating system says when it refuses a socket. In virtual time there are no sockets.
    #[track_caller]
    pub fn connect(
        &mut self,
        address: SocketAddr,
        run: impl FnOnce(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.connect_at(Origin::of(&run), address, Box::new(run))
    }

    /// Like [`Cx::connect`] for a Unix-domain socket. Every failure arrives as the callback: that of a missing file in
    /// the pending phase, as in Node.
    ///
    /// # Errors
    /// Where the socket cannot be watched. In virtual time there are no sockets.
    #[track_caller]
    pub fn connect_unix(
        &mut self,
        path: impl AsRef<Path>,
        run: impl FnOnce(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<Key> {
        self.connect_unix_at(Origin::of(&run), path.as_ref(), Box::new(run))
    }

    pub(crate) fn connect_unix_at(
        &mut self,
        origin: Origin,
        path: &Path,
        run: OnConnect<S>,
    ) -> io::Result<Key> {
        self.core.registry()?;
        let site = self.core.site(origin, Kind::Connect);
        match UnixStream::connect(path) {
            Ok(socket) => self.begin_connect(site, Transport::Unix(socket), run),
            Err(error) => Ok(self.core.defer_failure(site, run, error)),
        }
    }

    pub(crate) fn connect_at(
        &mut self,
        origin: Origin,
        address: SocketAddr,
        run: OnConnect<S>,
    ) -> io::Result<Key> {
        self.core.registry()?;
        let site = self.core.site(origin, Kind::Connect);
        match TcpStream::connect(address) {
            Ok(socket) => self.begin_connect(site, Transport::Tcp(socket), run),
            Err(error) if is_of_one_connection(&error) => Ok(self.core.defer_failure(site, run, error)),
            Err(error) => Err(error),
        }
    }

    fn begin_connect(&mut self, site: Site, transport: Transport, run: OnConnect<S>) -> io::Result<Key> {
        let stream = Stream::<S>::connecting(transport, run);
        let key = self.core.insert(site, What::Stream(Box::new(stream)));
        self.core.requests += 1;
        self.watch(key, Interest::READABLE | Interest::WRITABLE)?;
        Ok(key)
    }

    /// The socket reported something: is it connected?
    pub(crate) fn finish_connect(&mut self, key: Key) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Stream(stream) = &mut entry.what else { return };
        // Where it is still open the wake came too early, and another edge will come.
        let Some(outcome) = stream.transport.connected() else { return };
        let Some(run) = stream.take_connect() else { return };
        let ready = stream.edges.ready;
        if let Some(socket) = stream.transport.tcp() {
            // Small requests must not wait for the other side's delayed acknowledgement. A socket that cannot do this
            // has failed already, and says so on its first use.
            let _ = socket.set_nodelay(true);
        }
        self.core.requests -= 1;
        match outcome {
            Ok(()) => self.core.reading_changed(key),
            Err(_) => self.core.drop_socket(key),
        }
        let result = outcome.map(|()| key);
        self.enter(Kind::Connect, site, TaskTimes::ready_at(ready), |cx| run(cx, result));
        self.drain();
        if self.goes_on() {
            return self.transfer(key);
        }
        // A panic stopped the loop: what was written meanwhile has its turn in the next run.
        let now = self.core.stamp();
        if let Some(What::Stream(stream)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            self.core.sockets.list(key, &mut stream.edges, now);
        }
    }
}

impl<S: 'static> Core<S> {
    /// Defers a failure that was known at once. Returns a key that is stale already.
    pub(crate) fn defer_failure(&mut self, site: Site, run: OnConnect<S>, error: io::Error) -> Key {
        let run: Once<S> = Box::new(move |cx| run(cx, Err(error)));
        let life = TaskTimes::ready_at(self.stamp());
        self.pending.push_back(Deferred { kind: Kind::Connect, site, life, run });
        Key::NOBODY
    }
}
