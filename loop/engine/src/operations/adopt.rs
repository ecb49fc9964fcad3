//! Adopting: any source that mio can watch, with the program's own code doing the reading and writing.
//!
//! For what the loop has no handle of: timerfd, inotify, a library's descriptor, a serial line. The source belongs to
//! the loop; the program gets at it with its key. Reports are edges: the operating system says once that there is
//! something, so read until it would block, or ask for another turn with [`Cx::again`], which lets the others have
//! theirs in between.

use crate::callback::Origin;
use crate::core::What;
use crate::cx::Cx;
use crate::handles::adopt::{Adopted, AnySource, OnReady, Readiness};
use crate::key::Key;
use crate::queues::sockets::Edges;
use loopscope_probe::{Kind, TaskTimes};
use mio::Interest;
use mio::event::Source;
use std::io;

impl<S: 'static> Cx<'_, S> {
    /// Watches a source and runs the callback when it is ready. It keeps the loop alive until it is closed or
    /// unreferenced.
    ///
    /// ```
    /// use loopscope_loop::mio::{Interest, net::UdpSocket};
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::new()?;
    /// event_loop.main(|cx| {
    ///     let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
    ///     let address = socket.local_addr()?;
    ///     socket.send_to(b"hello", address)?;
    ///     cx.adopt(socket, Interest::READABLE, |cx, key, _| {
    ///         let mut bytes = [0; 16];
    ///         let socket = cx.adopted::<UdpSocket>(key).expect("it is open while its callback runs");
    ///         assert_eq!(socket.recv(&mut bytes).ok(), Some(5));
    ///         cx.close(key);
    ///     })
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the operating system says when it refuses to watch it: a descriptor that is not open or is watched already,
    /// or a regular file, which is always ready. In virtual time there are no sources.
    #[track_caller]
    pub fn adopt(
        &mut self,
        source: impl Source + 'static,
        interest: Interest,
        run: impl FnMut(&mut Cx<'_, S>, Key, Readiness) + 'static,
    ) -> io::Result<Key> {
        self.adopt_at(Origin::of(&run), Box::new(source), interest, Box::new(run))
    }

    fn adopt_at(
        &mut self,
        origin: Origin,
        source: Box<dyn AnySource>,
        interest: Interest,
        run: OnReady<S>,
    ) -> io::Result<Key> {
        self.core.registry()?;
        let site = self.core.site(origin, Kind::IoRead);
        let adopted = Adopted::<S> { source, edges: Edges::default(), run: Some(run) };
        let key = self.core.insert(site, What::Adopted(Box::new(adopted)));
        self.core.referenced += 1;
        self.watch(key, interest)?;
        Ok(key)
    }

    /// Returns an adopted source; `None` for a stale key or one of another type.
    pub fn adopted<T: Source + 'static>(&mut self, key: Key) -> Option<&mut T> {
        match &mut self.core.slots.get_mut(key)?.what {
            What::Adopted(adopted) => (*adopted.source).as_any().downcast_mut(),
            _ => None,
        }
    }

    /// Gives an adopted source another turn in the next poll, which does not wait then: for a callback that stopped
    /// before its source was empty. Returns `false` for what is not one.
    pub fn again(&mut self, key: Key, readiness: Readiness) -> bool {
        let now = self.core.stamp();
        let Some(What::Adopted(adopted)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return false;
        };
        adopted.edges.is_readable |= readiness.is_readable;
        adopted.edges.is_writable |= readiness.is_writable;
        adopted.edges.is_closed |= readiness.is_closed;
        self.core.sockets.list(key, &mut adopted.edges, now);
        true
    }

    /// Changes what an adopted source is watched for, and has what is so already reported anew.
    ///
    /// # Errors
    /// `NotConnected` for what is not an adopted source; else what the operating system says.
    pub fn set_interest(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        let registry = self.core.poller.registry();
        let entry = self.core.slots.get_mut(key).map(|entry| &mut entry.what);
        let (Some(registry), Some(What::Adopted(adopted))) = (registry, entry) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        registry.reregister(adopted.source(), mio::Token(key.token()), interest)
    }

    /// Gives an adopted source its turn.
    pub(crate) fn report(&mut self, key: Key) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Adopted(adopted) = &mut entry.what else { return };
        let edges = &mut adopted.edges;
        let readiness = Readiness {
            is_readable: std::mem::take(&mut edges.is_readable),
            is_writable: std::mem::take(&mut edges.is_writable),
            is_closed: std::mem::take(&mut edges.is_closed),
        };
        let kind = if readiness.is_readable { Kind::IoRead } else { Kind::IoWrite };
        let (Some(mut run), ready) = (adopted.run.take(), edges.ready) else { return };
        self.enter(kind, site, TaskTimes::ready_at(ready), |cx| run(cx, key, readiness));
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Adopted(adopted)) => adopted.run = Some(run),
            _ => self.discard(kind, site, run),
        }
        self.drain();
    }
}
