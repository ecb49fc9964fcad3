//! The echo service: what a client sends comes back, all of it, however late the client reads.

use loopscope_loop::{Cx, Key, StreamEvent, Wrote};
use std::io;
use std::net::SocketAddr;

/// The loop's state: plain data, handed to every callback as `cx.state`.
#[derive(Default)]
pub struct Echo {
    /// Open connections.
    pub connections: usize,
    /// What has come on all connections so far.
    pub bytes: usize,
}

/// Listens on an address, and returns it with its port.
///
/// # Errors
/// What the operating system says when it refuses the address.
pub fn open(cx: &mut Cx<'_, Echo>, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = cx.listen(address, |cx, connection| match connection {
        Ok(connection) => serve(cx, connection),
        Err(error) => println!("cannot accept a connection: {error}"),
    })?;
    cx.local_addr(listener).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

/// Echoes on a connection until its client ends.
pub fn serve(cx: &mut Cx<'_, Echo>, connection: Key) {
    cx.state.connections += 1;
    let peer = cx.peer_addr(connection).map_or("somebody".to_owned(), |peer| peer.to_string());
    println!("{peer} came; {} connections", cx.state.connections);
    cx.on_stream(connection, echo);
    // The name that metrics and flamegraphs show instead of `examples/echo/service.rs:LINE`.
    cx.name(connection, "echo");
}

fn echo(cx: &mut Cx<'_, Echo>, connection: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            cx.state.bytes += bytes.len();
            // What the client does not read waits in a queue: stop reading until that has gone. So the loop's memory
            // does not fill, and the client's end, which only reading shows, does not come while something waits.
            if cx.write(connection, bytes).is_ok_and(|wrote| wrote != Wrote::All) {
                cx.pause(connection);
            }
        }
        StreamEvent::Drained => {
            cx.resume(connection);
        }
        // To close drops what is queued: after an end that is nothing, after an error it is lost.
        StreamEvent::End | StreamEvent::Error(_) => {
            cx.close_with(connection, |cx| {
                cx.state.connections -= 1;
                println!("one went; {} connections, {} bytes so far", cx.state.connections, cx.state.bytes);
            });
        }
    }
}
