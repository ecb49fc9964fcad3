//! Sockets in the poll phase: from edges to turns.
//!
//! The operating system reports each change once (an edge), so a socket must be read until it would block; but one
//! busy socket must not keep the others waiting. So an edge only marks its socket, and puts it at the end of the list
//! of those that have something to do. Each poll phase gives every socket in the list one bounded turn; one that is
//! not finished goes to the end again, and the next poll does not wait.
//!
//! An event of a closed socket is recognised by the generation in its token and dropped.

use crate::core::{Core, What};
use crate::cx::Cx;
use crate::key::Key;
use crate::poller::Ready;
use loopscope_probe::Ticks;
use std::time::Duration;

/// How long a listener that lacks descriptors is left alone: nothing reports when one becomes free, and each try costs a
/// system call. (libuv gives up a descriptor that it kept back, and closes the waiting connections with it.)
const STARVED_WAIT: Duration = Duration::from_millis(100);

/// How long a Unix-domain datagram socket waits that is not connected and sends to one without room. The kernel would
/// report it as writable at once, because of the very try that failed, and never tells when the other has room.
const CROWDED_WAIT: Duration = Duration::from_millis(10);

impl<S: 'static> Core<S> {
    /// Marks the sockets that the poll reported, and those that rested for another try.
    fn note_edges(&mut self) {
        let now = self.stamp();
        for index in 0..self.ready.len() {
            self.note_edge(self.ready[index], now);
        }
        self.ready.clear();
        let now_ns = self.clock.now_ns();
        if self.sockets.starved.is_over(now_ns) {
            self.retry_starved(now);
        }
        if self.sockets.crowded.is_over(now_ns) {
            self.retry_crowded(now);
        }
    }

    /// Leaves a listener alone for a while.
    pub(crate) fn starve(&mut self, key: Key) {
        self.sockets.starved.add(key, self.clock.now_ns(), STARVED_WAIT);
    }

    /// Leaves a datagram socket's queue alone for a while.
    pub(crate) fn crowd(&mut self, key: Key) {
        let Some(What::Datagram(datagram)) = self.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return;
        };
        if !std::mem::replace(&mut datagram.is_crowded, true) {
            self.sockets.crowded.add(key, self.clock.now_ns(), CROWDED_WAIT);
        }
    }

    #[cold]
    fn retry_starved(&mut self, now: Ticks) {
        for key in std::mem::take(&mut self.sockets.starved.keys) {
            if let Some(What::Listener(listener)) = self.slots.get_mut(key).map(|entry| &mut entry.what) {
                self.sockets.list(key, &mut listener.edges, now);
            }
        }
    }

    #[cold]
    fn retry_crowded(&mut self, now: Ticks) {
        for key in std::mem::take(&mut self.sockets.crowded.keys) {
            if let Some(What::Datagram(datagram)) = self.slots.get_mut(key).map(|entry| &mut entry.what) {
                datagram.is_crowded = false;
                datagram.edges.is_writable = true;
                self.sockets.list(key, &mut datagram.edges, now);
            }
        }
    }

    fn note_edge(&mut self, mut ready: Ready, now: Ticks) {
        let Some((key, entry)) = self.slots.by_token(ready.token) else {
            return self.note_signals(ready.token);
        };
        let (edges, has_work) = match &mut entry.what {
            What::Listener(listener) => (&mut listener.edges, true),
            What::Stream(stream) => {
                let has_work = (ready.is_readable && stream.wants_data())
                    || (ready.is_writable && stream.wants_to_write());
                (&mut stream.edges, has_work)
            }
            What::Datagram(datagram) => {
                ready.is_writable &= !datagram.is_crowded;
                let has_work = (ready.is_readable && datagram.wants_data())
                    || (ready.is_writable && datagram.datagrams.has_queued());
                (&mut datagram.edges, has_work)
            }
            What::Adopted(adopted) => (&mut adopted.edges, true),
            _ => return,
        };
        edges.is_readable |= ready.is_readable;
        edges.is_writable |= ready.is_writable;
        edges.is_closed |= ready.is_closed;
        if has_work {
            self.sockets.list(key, edges, now);
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Gives every socket that has something to do one turn.
    pub(crate) fn run_sockets(&mut self) {
        self.core.note_edges();
        let mut left = self.core.sockets.active.len();
        while left > 0
            && self.goes_on()
            && let Some(key) = self.core.sockets.active.pop_front()
        {
            left -= 1;
            self.take_turn(key);
        }
    }

    fn take_turn(&mut self, key: Key) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        match &mut entry.what {
            What::Listener(listener) => {
                listener.edges.is_listed = false;
                self.accept_some(key);
            }
            What::Stream(stream) => {
                stream.edges.is_listed = false;
                match stream.is_connecting() {
                    true => self.finish_connect(key),
                    false => self.transfer(key),
                }
            }
            What::Datagram(datagram) => {
                datagram.edges.is_listed = false;
                self.exchange(key);
            }
            What::Adopted(adopted) => {
                adopted.edges.is_listed = false;
                self.report(key);
            }
            _ => {}
        }
    }
}
