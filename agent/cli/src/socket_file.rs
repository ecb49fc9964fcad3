//! HTTP over a socket file, for agents that listen on one.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Connects every request to one socket file, whatever its URL says.
#[derive(Debug)]
pub struct SocketFile(pub PathBuf);

impl Connector for SocketFile {
    type Out = Conversation;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Conversation>, Error> {
        let stream = UnixStream::connect(&self.0).map_err(Error::Io)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Conversation { stream, buffers }))
    }
}

/// One connection.
pub struct Conversation {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Transport for Conversation {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|length| *length)).map_err(Error::Io)?;
        let written = self.stream.write_all(&self.buffers.output()[..amount]);
        written.map_err(|error| told(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|length| *length)).map_err(Error::Io)?;
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| told(error, &timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // One request a connection: there is nothing to keep.
        false
    }
}

fn told(error: io::Error, timeout: &NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
