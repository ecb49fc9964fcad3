//! An HTTP service: the requests of a connection are answered one after the other, slow ones by the thread pool.
//!
//! A connection is not read from while one of its requests is being answered, or an answer waits for the client to read
//! it. So answers come in the order of the requests, nobody can fill the memory, and the end of a client who has asked
//! and ends his side is read when he has his answers.

use loopscope_loop::{Cx, Key, StreamEvent, Wrote};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The state of the loop: everybody who is connected.
pub type Connections = HashMap<Key, Connection>;

/// What is to be known of a connection.
#[derive(Default)]
pub struct Connection {
    /// What has arrived and is not answered yet.
    input: Vec<u8>,
    /// A request is being answered, or its answer waits to be sent; what follows it waits, too.
    is_waiting: bool,
}

/// A request must fit in this many bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// A client who was refused has so long to read why.
const FAREWELL: Duration = Duration::from_secs(5);

/// Listens on an address, and returns it with its port.
///
/// # Errors
/// What the operating system says when it refuses the address.
pub fn open(cx: &mut Cx<'_, Connections>, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = cx.listen(address, |cx, connection| {
        let Ok(key) = connection else { return };
        cx.state.insert(key, Connection::default());
        cx.on_stream(key, on_event);
        cx.name(key, "serve");
    })?;
    cx.local_addr(listener).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

fn on_event(cx: &mut Cx<'_, Connections>, key: Key, event: StreamEvent<'_>) {
    let Some(connection) = cx.state.get_mut(&key) else { return };
    match event {
        StreamEvent::Data(bytes) => {
            connection.input.extend_from_slice(bytes);
            serve(cx, key);
        }
        StreamEvent::Drained => {
            connection.is_waiting = false;
            serve(cx, key);
        }
        // It was read, so nothing is left to be answered or sent.
        StreamEvent::End | StreamEvent::Error(_) => finish(cx, key),
    }
}

/// Answers what has arrived, up to a request that has to wait or that is not complete.
fn serve(cx: &mut Cx<'_, Connections>, key: Key) {
    while let Some(connection) = cx.state.get_mut(&key) {
        if connection.is_waiting {
            cx.pause(key);
            return;
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&connection.input) {
            Ok(httparse::Status::Complete(length)) => {
                let path = request.path.unwrap_or("/").to_owned();
                connection.input.drain(..length);
                connection.is_waiting = true;
                route(cx, key, &path);
            }
            Ok(httparse::Status::Partial) if connection.input.len() <= REQUEST_BYTES_MAX => {
                cx.resume(key);
                return;
            }
            _ => {
                respond(cx, key, "400 Bad Request", "not understood\n");
                return hang_up(cx, key);
            }
        }
    }
}

fn route(cx: &mut Cx<'_, Connections>, key: Key, path: &str) {
    // A span inside a callback becomes a frame of its own in the flamegraph.
    let _span = tracing::info_span!("route").entered();
    match path {
        "/" => respond(cx, key, "200 OK", "hello\n"),
        "/slow" => {
            let job = cx.work(count_primes, move |cx, count| {
                let body = count.map_or("the job failed\n".to_owned(), |count| format!("{count} primes\n"));
                respond(cx, key, "200 OK", &body);
                serve(cx, key);
            });
            cx.name(job, "count_primes");
        }
        _ => respond(cx, key, "404 Not Found", "try / or /slow\n"),
    }
}

fn count_primes() -> usize {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..200_000).filter(is_prime).count()
}

/// Gives an answer. What has arrived behind its request is for [`serve`] to look at.
fn respond(cx: &mut Cx<'_, Connections>, key: Key, status: &str, body: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // A stale key (the client went away meanwhile) is no error worth more than ending the connection.
    let Ok(wrote) = cx.write(key, answer.as_bytes()) else { return finish(cx, key) };
    if let Some(connection) = cx.state.get_mut(&key) {
        connection.is_waiting = wrote != Wrote::All;
    }
}

/// Ends this side when all is sent, and reads on without listening: to close at once, with something unread, could
/// destroy what is under way to the client.
fn hang_up(cx: &mut Cx<'_, Connections>, key: Key) {
    cx.state.remove(&key);
    cx.shutdown(key);
    cx.on_stream(key, |cx, key, event| {
        if let StreamEvent::End | StreamEvent::Error(_) = event {
            cx.close(key);
        }
    });
    cx.after(FAREWELL, move |cx| {
        cx.close(key);
    });
    cx.resume(key);
}

fn finish(cx: &mut Cx<'_, Connections>, key: Key) {
    cx.state.remove(&key);
    cx.close(key);
}
