//! Names to addresses, through the pool's slow lane, and connecting by name.
//!
//! The system's resolver waits, for seconds where a server is silent. Its jobs take at most half the pool's threads
//! ([`lanes`](crate::lanes)), so that files and the program's own jobs go on.
//!
//! # Source
//! `uv_getaddrinfo` of libuv 1.46; `net.connect` of Node v20, which tries the addresses one after the other.

use crate::callback::{Origin, Site};
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{Kind, WorkKind};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A callback for the outcome.
type OnConnect<S> = Box<dyn FnOnce(&mut Cx<'_, S>, io::Result<Key>)>;

impl<S: 'static> Cx<'_, S> {
    /// Finds the addresses of a host, as the system's resolver does: at least one, each with this port, in the order in
    /// which they should be tried. A numeric address is its own.
    ///
    /// The callback gets what the resolver said when it found none; or an error that holds
    /// [`WorkError`](crate::WorkError) where the job was [cancelled](Cx::cancel) or no thread was to be had.
    ///
    /// ```no_run
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).build()?;
    /// event_loop.main(|cx| cx.resolve("localhost", 80, |cx, found| *cx.state = found.unwrap_or_default()));
    /// event_loop.run(Mode::Default)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn resolve(
        &mut self,
        host: &str,
        port: u16,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<SocketAddr>>) + 'static,
    ) -> Key {
        let site = self.core.site(Origin::of(&done), Kind::WorkDone);
        self.resolve_at(site, host, port, done)
    }

    pub(crate) fn resolve_at(
        &mut self,
        site: Site,
        host: &str,
        port: u16,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<SocketAddr>>) + 'static,
    ) -> Key {
        let host = host.to_owned();
        let look_up = move || {
            let found: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs()?.collect();
            let nothing = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
            if found.is_empty() { Err(nothing()) } else { Ok(found) }
        };
        self.submit_call(site, WorkKind::Dns, look_up, done)
    }

    /// Connects to a host by name: to the first of its addresses that answers. The callback gets the stream's key, or
    /// what went wrong with the last address. A numeric address needs no pool thread.
    ///
    /// # Errors
    /// In virtual time there are no sockets.
    #[track_caller]
    pub fn connect_host(
        &mut self,
        host: &str,
        port: u16,
        run: impl FnOnce(&mut Cx<'_, S>, io::Result<Key>) + 'static,
    ) -> io::Result<()> {
        self.core.registry()?;
        let origin = Origin::of(&run);
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = VecDeque::from([(address, port).into()]);
            self.connect_first(origin, address, None, Box::new(run));
            return Ok(());
        }
        let site = self.core.site(origin, Kind::WorkDone);
        self.resolve_at(site, host, port, move |cx, found| match found {
            Ok(addresses) => cx.connect_first(origin, addresses.into(), None, Box::new(run)),
            Err(error) => run(cx, Err(error)),
        });
        Ok(())
    }

    /// Tries the addresses one after the other.
    fn connect_first(
        &mut self,
        origin: Origin,
        mut addresses: VecDeque<SocketAddr>,
        failure: Option<io::Error>,
        run: OnConnect<S>,
    ) {
        let Some(address) = addresses.pop_front() else {
            let failure = failure.unwrap_or_else(|| io::ErrorKind::NotFound.into());
            let site = self.core.site(origin, Kind::Connect);
            self.core.defer_failure(site, run, failure);
            return;
        };
        // The callback is needed after a failure, too, be it one of the call or of the connection.
        let slot = std::rc::Rc::new(std::cell::Cell::new(Some((addresses, run))));
        let own = slot.clone();
        let connected = move |cx: &mut Cx<'_, S>, outcome: io::Result<Key>| {
            let Some((addresses, run)) = own.take() else { return };
            match outcome {
                Err(error) if !addresses.is_empty() => cx.connect_first(origin, addresses, Some(error), run),
                outcome => run(cx, outcome),
            }
        };
        if let Err(error) = self.connect_at(origin, address, Box::new(connected))
            && let Some((addresses, run)) = slot.take()
        {
            self.connect_first(origin, addresses, Some(error), run);
        }
    }
}
