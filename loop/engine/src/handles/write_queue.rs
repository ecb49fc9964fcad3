//! What waits to be written on a stream.

use std::collections::VecDeque;

/// As Node since v22. The kernel's own buffers come on top.
const HIGH_WATER_BYTES: usize = 64 << 10;

/// An emptied queue that is larger than this is given back, so that one burst does not cost memory for ever.
const KEPT_BYTES: usize = 16 << 10;

/// Where written bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The kernel has taken all of them.
    All,
    /// This many bytes wait in the stream's queue now, these and earlier ones; fewer than the high-water mark.
    /// [`StreamEvent::Drained`](crate::StreamEvent::Drained) will follow.
    Queued(usize),
    /// As many or more than the high-water mark wait: stop writing until
    /// [`StreamEvent::Drained`](crate::StreamEvent::Drained). What is written nevertheless is queued, too.
    Full(usize),
}

impl Wrote {
    /// Returns how many bytes wait in the queue.
    pub fn queued_bytes(self) -> usize {
        match self {
            Wrote::All => 0,
            Wrote::Queued(count) | Wrote::Full(count) => count,
        }
    }

    /// Tells whether the program should wait for `Drained` before it writes more.
    pub fn is_full(self) -> bool {
        matches!(self, Wrote::Full(_))
    }
}

/// The writing side of a stream.
#[derive(Debug)]
pub(crate) struct WriteQueue {
    pub(crate) queue: VecDeque<u8>,
    pub(crate) end: End,
    pub(crate) high_water: usize,
}

/// How far this side is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// It will be ended when the queue is empty.
    Asked,
    /// It has been, or the connection broke.
    Done,
}

impl Default for WriteQueue {
    fn default() -> Self {
        WriteQueue { queue: VecDeque::new(), end: End::Open, high_water: HIGH_WATER_BYTES }
    }
}

impl WriteQueue {
    pub(crate) fn wrote(&self) -> Wrote {
        match self.queue.len() {
            0 => Wrote::All,
            count if count < self.high_water => Wrote::Queued(count),
            count => Wrote::Full(count),
        }
    }

    /// Tells whether a turn has something to send, or the end to tell.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.end == End::Asked
    }

    /// Drops what is queued: the connection broke.
    pub(crate) fn abandon(&mut self) {
        self.queue = VecDeque::new();
        self.end = End::Done;
    }

    /// Gives memory back once everything was sent.
    pub(crate) fn settle(&mut self) {
        if self.queue.capacity() > KEPT_BYTES {
            self.queue = VecDeque::new();
        }
    }
}
