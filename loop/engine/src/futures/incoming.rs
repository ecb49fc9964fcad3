//! A listener as futures see it: connections that can be awaited.

use crate::cx::Cx;
use crate::futures::connection::Connection;
use crate::futures::loop_handle::LoopHandle;
use crate::futures::read_readiness::{ReadReadiness, WaitingReader};
use crate::handles::listener::{Acceptor, Listening};
use crate::key::Key;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A listener whose connections are awaited. It is closed when this is dropped. While nobody awaits a connection they
/// wait in the kernel's queue. With the feature `futures-io` it is a `Stream` of the crate `futures-core`.
pub struct Incoming<S: 'static = ()> {
    here: LoopHandle<S>,
    key: Key,
    pub(super) arrivals: Rc<Arrivals<S>>,
    at: &'static Location<'static>,
}

/// What it shares with the listener's callback.
pub(super) struct Arrivals<S: 'static> {
    pub(super) gate: Rc<ReadReadiness>,
    pub(super) queue: RefCell<VecDeque<io::Result<Connection<S>>>>,
}

/// The arrivals as the callback holds them: when the callback goes, nobody comes any more.
struct FilledArrivals<S: 'static>(Rc<Arrivals<S>>);

impl<S: 'static> Drop for FilledArrivals<S> {
    fn drop(&mut self) {
        self.0.gate.gone();
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Listens on an address, for futures. The async form of [`Cx::listen`]; [`Cx::local_addr`] tells the port.
    ///
    /// # Errors
    /// As [`Cx::listen`].
    #[track_caller]
    pub fn incoming(&mut self, address: SocketAddr) -> io::Result<Incoming<S>> {
        self.incoming_with(address, Listening::default())
    }

    /// Like [`Cx::incoming`], with options.
    ///
    /// # Errors
    /// As [`Cx::listen_with`].
    #[track_caller]
    pub fn incoming_with(&mut self, address: SocketAddr, options: Listening) -> io::Result<Incoming<S>> {
        self.core.registry()?;
        self.incoming_at(Location::caller(), Acceptor::tcp(address, options)?)
    }

    /// Like [`Cx::incoming`] for Unix-domain connections.
    ///
    /// # Errors
    /// As [`Cx::listen_unix`].
    #[track_caller]
    pub fn incoming_unix(&mut self, path: impl AsRef<Path>) -> io::Result<Incoming<S>> {
        self.core.registry()?;
        self.incoming_at(Location::caller(), Acceptor::unix(path.as_ref())?)
    }

    fn incoming_at(&mut self, at: &'static Location<'static>, acceptor: Acceptor) -> io::Result<Incoming<S>> {
        let arrivals = Rc::new(Arrivals { gate: Rc::default(), queue: RefCell::default() });
        let (filled, slot) = (FilledArrivals(arrivals.clone()), Rc::new(std::cell::Cell::new(Key::NOBODY)));
        let own = slot.clone();
        let accepted = move |cx: &mut Cx<'_, S>, accepted: io::Result<Key>| {
            let gone = || io::ErrorKind::NotConnected.into();
            let connection = accepted.and_then(|key| cx.connection_at(at, key).ok_or_else(gone));
            filled.0.queue.borrow_mut().push_back(connection);
            cx.pause(own.get());
            filled.0.gate.arrived();
        };
        let key = self.listen_at(at.into(), acceptor, Box::new(accepted))?;
        slot.set(key);
        self.pause(key);
        Ok(Incoming { here: self.local(), key, arrivals, at })
    }
}

impl<S: 'static> Incoming<S> {
    /// Returns the listener's key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Waits for the next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// What went wrong with one connection, or [`OutOfDescriptors`](crate::OutOfDescriptors) while descriptors or memory are
    /// lacking: await the next either way. `NotConnected` where the key was closed.
    pub async fn accept(&self) -> io::Result<Connection<S>> {
        let _waiting = WaitingReader::new(&self.arrivals.gate, &self.here, self.key, self.at);
        poll_fn(|context| self.poll_accept(context)).await
    }

    pub(super) fn poll_accept(&self, context: &Context<'_>) -> Poll<io::Result<Connection<S>>> {
        let gate = &self.arrivals.gate;
        if let Some(connection) = self.arrivals.queue.borrow_mut().pop_front() {
            return Poll::Ready(connection);
        }
        if gate.is_gone.get() {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        gate.note(context);
        if gate.open() {
            let (key, gate) = (self.key, gate.clone());
            self.here.command(self.at, move |cx| {
                if gate.is_open() {
                    cx.resume(key);
                }
            });
        }
        Poll::Pending
    }
}

impl<S: 'static> Drop for Incoming<S> {
    fn drop(&mut self) {
        let key = self.key;
        self.here.command(self.at, move |cx| {
            cx.close(key);
        });
    }
}

impl<S: 'static> fmt::Debug for Incoming<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Incoming").field("key", &self.key).finish_non_exhaustive()
    }
}
