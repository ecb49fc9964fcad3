//! Moving bytes: a stream's turn in the poll phase.
//!
//! A turn first sends what is queued, then reads, both until the kernel would block or the turn's bound is reached.
//! Each read is one callback, followed by a drain, so that ticks and microtasks run between two pieces of data.

use crate::core::What;
use crate::cx::Cx;
use crate::handles::stream::{Stream, StreamEvent};
use crate::key::Key;
use loopscope_probe::{Kind, TaskTimes};
use std::io::{self, IoSlice};

/// What libuv reads at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Reads or writes in one turn at most, so that one busy stream does not keep the others waiting.
const CALLS_PER_TURN: usize = 16;

/// What became of an attempt.
enum Step {
    /// There may be more.
    More,
    /// The kernel has no more for now, or the stream wants no more.
    Done,
    Failed(io::Error),
}

impl<S: 'static> Cx<'_, S> {
    /// Gives a connected stream its turn.
    pub(crate) fn transfer(&mut self, key: Key) {
        if self.stream(key).is_some_and(|stream| stream.outgoing.has_work()) {
            self.send_some(key);
        }
        if self.goes_on() {
            self.receive(key);
        }
        let now = self.core.stamp();
        let Some(What::Stream(stream)) = self.core.slots.get_mut(key).map(|entry| &mut entry.what) else {
            return;
        };
        let has_more = (stream.edges.is_readable && stream.wants_data())
            || (stream.edges.is_writable && stream.wants_to_write());
        if has_more {
            self.core.sockets.list(key, &mut stream.edges, now);
        }
    }

    fn send_some(&mut self, key: Key) {
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return };
        if stream.outgoing.queue.is_empty() {
            return stream.end_if_asked();
        }
        for _ in 0..CALLS_PER_TURN {
            match stream.write_some(now_ns) {
                Step::More => {}
                Step::Done => break,
                Step::Failed(error) => {
                    stream.outgoing.abandon();
                    self.core.requests -= 1;
                    return self.emit(key, Kind::IoWrite, StreamEvent::Error(error));
                }
            }
        }
        let (is_drained, was_told_idle) = (stream.outgoing.queue.is_empty(), stream.is_told_idle);
        if was_told_idle && stream.moved_ns == now_ns {
            self.core.busy_again(key);
        }
        if is_drained && let Some(stream) = self.stream(key) {
            stream.outgoing.settle();
            stream.end_if_asked();
            self.core.requests -= 1;
            self.emit(key, Kind::IoWrite, StreamEvent::Drained);
        }
    }

    fn receive(&mut self, key: Key) {
        // The buffer is lent out, so that a callback can read from it and change the loop.
        let mut buffer = std::mem::take(&mut self.core.sockets.buffer);
        buffer.resize(BUFFER_BYTES, 0);
        let now_ns = self.core.clock.now_ns();
        for _ in 0..CALLS_PER_TURN {
            let Some(stream) = self.stream(key) else { break };
            if !stream.wants_data() || !stream.edges.is_readable {
                break;
            }
            let is_last = match stream.read_some(&mut buffer) {
                Ok(0) => {
                    self.end_reading(key);
                    self.emit(key, Kind::IoRead, StreamEvent::End);
                    true
                }
                Ok(count) => {
                    stream.moved_ns = now_ns;
                    // Only a poll makes it readable again.
                    let is_emptied = !stream.edges.is_readable;
                    if stream.is_told_idle {
                        self.core.busy_again(key);
                    }
                    self.emit(key, Kind::IoRead, StreamEvent::Data(&buffer[..count]));
                    is_emptied
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(error) => {
                    self.end_reading(key);
                    self.emit(key, Kind::IoRead, StreamEvent::Error(error));
                    true
                }
            };
            if is_last || !self.goes_on() {
                break;
            }
        }
        self.core.sockets.buffer = buffer;
    }

    fn end_reading(&mut self, key: Key) {
        if let Some(stream) = self.stream(key) {
            stream.is_ended = true;
            stream.edges.is_readable = false;
        }
        self.core.reading_changed(key);
    }

    /// Calls the stream's callback, if it has one.
    fn emit(&mut self, key: Key, kind: Kind, event: StreamEvent<'_>) {
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Stream(stream) = &mut entry.what else { return };
        let (Some(mut run), ready) = (stream.run.take(), stream.edges.ready) else { return };
        self.enter(kind, site, TaskTimes::ready_at(ready), |cx| run(cx, key, event));
        match self.stream(key) {
            // A callback that it set meanwhile stays.
            Some(stream) => _ = stream.run.get_or_insert(run),
            None => self.discard(kind, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Stream<S> {
    fn write_some(&mut self, now_ns: u64) -> Step {
        let written = match self.outgoing.queue.as_slices() {
            (front, []) => self.transport.write(front),
            (front, back) => self.transport.write_vectored(&[IoSlice::new(front), IoSlice::new(back)]),
        };
        match written {
            Ok(count) => {
                self.moved_ns = now_ns;
                self.outgoing.queue.drain(..count);
                if self.outgoing.queue.is_empty() { Step::Done } else { Step::More }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::More,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.edges.is_writable = false;
                Step::Done
            }
            Err(error) => Step::Failed(error),
        }
    }

    /// Reads once and notes whether the socket is empty then.
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.transport.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.edges.is_readable = false;
                    return Err(error);
                }
                Ok(count) => {
                    if count < buffer.len()
                        && self.transport.is_emptied_by_short_read()
                        && !self.edges.is_closed
                    {
                        self.edges.is_readable = false;
                    }
                    return Ok(count);
                }
            }
        }
    }
}
