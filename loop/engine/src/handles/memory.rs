//! Streams of a loop in virtual time: pairs that live in memory, with edges and bounded buffers as sockets have them.
//!
//! What one end writes the other can read from the next poll on. A buffer that is full makes the writer wait for an
//! edge, an end that is dropped is the end of the other's reading and breaks its writing: the same code above runs as
//! on a socket.

use crate::poller::Ready;
use crate::simulate::World;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

/// What one direction holds at most; as a small socket buffer.
const PIPE_BYTES: usize = 64 << 10;

/// One direction of a pair.
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    /// Who writes and who reads: the tokens of their keys.
    writer: Cell<usize>,
    reader: Cell<usize>,
    /// The writer ended this direction, or is gone.
    is_ended: Cell<bool>,
    /// The reader is gone.
    is_broken: Cell<bool>,
    /// The writer waits for room.
    is_full: Cell<bool>,
}

impl Pipe {
    fn new() -> Rc<Pipe> {
        let [is_ended, is_broken, is_full] = [false; 3].map(Cell::new);
        let (bytes, writer, reader) = (RefCell::default(), Cell::new(usize::MAX), Cell::new(usize::MAX));
        Rc::new(Pipe { bytes, writer, reader, is_ended, is_broken, is_full })
    }
}

/// One end of a pair.
pub(crate) struct MemoryEnd {
    world: Rc<World>,
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

impl MemoryEnd {
    pub(crate) fn pair(world: &Rc<World>) -> (MemoryEnd, MemoryEnd) {
        let (to, back) = (Pipe::new(), Pipe::new());
        let one = MemoryEnd { world: world.clone(), incoming: back.clone(), outgoing: to.clone() };
        (one, MemoryEnd { world: world.clone(), incoming: to, outgoing: back })
    }

    /// Returns what takes the token of this end's key, which is known only once the end was given away.
    pub(crate) fn token_setter(&self) -> impl FnOnce(usize) + use<> {
        let (incoming, outgoing) = (self.incoming.clone(), self.outgoing.clone());
        move |token| {
            incoming.reader.set(token);
            outgoing.writer.set(token);
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = &*self.incoming;
        let mut bytes = pipe.bytes.borrow_mut();
        let count = bytes.len().min(buffer.len());
        if count == 0 && !buffer.is_empty() && !pipe.is_ended.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (place, byte) in buffer.iter_mut().zip(bytes.drain(..count)) {
            *place = byte;
        }
        if count > 0 && pipe.is_full.replace(false) {
            self.world.report(writable(pipe.writer.get()));
        }
        Ok(count)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = &*self.outgoing;
        if pipe.is_broken.get() || pipe.is_ended.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut queue = pipe.bytes.borrow_mut();
        let count = bytes.len().min(PIPE_BYTES - queue.len());
        if count == 0 && !bytes.is_empty() {
            pipe.is_full.set(true);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.extend(&bytes[..count]);
        self.world.report(readable(pipe.reader.get(), false));
        Ok(count)
    }

    pub(crate) fn end(&mut self) {
        if !self.outgoing.is_ended.replace(true) {
            self.world.report(readable(self.outgoing.reader.get(), true));
        }
    }
}

impl Drop for MemoryEnd {
    fn drop(&mut self) {
        self.end();
        self.incoming.is_broken.set(true);
        self.world.report(writable(self.incoming.writer.get()));
    }
}

fn readable(token: usize, is_closed: bool) -> Ready {
    Ready { token, is_readable: true, is_writable: false, is_closed }
}

fn writable(token: usize) -> Ready {
    Ready { token, is_readable: false, is_writable: true, is_closed: false }
}
