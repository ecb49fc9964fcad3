//! An HTTP service: quick requests are answered on the loop, slow ones by the thread pool.

use loopscope_loop::{Cx, Key, StreamEvent};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

/// The state of the loop: what has arrived on each connection and is not answered yet.
pub type Connections = HashMap<Key, Vec<u8>>;

/// A request must fit in this many bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Listens on an address, and returns it with its port.
///
/// # Errors
/// What the operating system says when it refuses the address.
pub fn open(cx: &mut Cx<'_, Connections>, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = cx.listen(address, |cx, connection| {
        let Ok(connection) = connection else { return };
        cx.state.insert(connection, Vec::new());
        cx.on_stream(connection, on_event);
        cx.name(connection, "serve");
    })?;
    cx.local_addr(listener).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
}

fn on_event(cx: &mut Cx<'_, Connections>, connection: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            let Some(buffer) = cx.state.get_mut(&connection) else { return };
            buffer.extend_from_slice(bytes);
            answer_next(cx, connection);
        }
        StreamEvent::Drained => {}
        StreamEvent::End | StreamEvent::Error(_) => finish(cx, connection),
    }
}

/// Answers the first request of the buffer, if it is complete. The next one is looked at when this one is answered.
fn answer_next(cx: &mut Cx<'_, Connections>, connection: Key) {
    let Some(buffer) = cx.state.get_mut(&connection) else { return };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => {
            let path = request.path.unwrap_or("/").to_owned();
            buffer.drain(..length);
            route(cx, connection, &path);
        }
        Ok(httparse::Status::Partial) if buffer.len() <= REQUEST_BYTES_MAX => {}
        _ => {
            respond(cx, connection, "400 Bad Request", "not understood\n");
            finish(cx, connection);
        }
    }
}

fn route(cx: &mut Cx<'_, Connections>, connection: Key, path: &str) {
    // A span inside a callback becomes a frame of its own in the flamegraph.
    let _span = tracing::info_span!("route").entered();
    match path {
        "/" => {
            respond(cx, connection, "200 OK", "hello\n");
            answer_next(cx, connection);
        }
        "/slow" => {
            let job = cx.work(count_primes, move |cx, count| {
                let body = count.map_or("the job failed\n".to_owned(), |count| format!("{count} primes\n"));
                respond(cx, connection, "200 OK", &body);
                answer_next(cx, connection);
            });
            cx.name(job, "count_primes");
        }
        _ => {
            respond(cx, connection, "404 Not Found", "try / or /slow\n");
            answer_next(cx, connection);
        }
    }
}

fn count_primes() -> usize {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..200_000).filter(is_prime).count()
}

fn respond(cx: &mut Cx<'_, Connections>, connection: Key, status: &str, body: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // A stale key (the client went away meanwhile) is no error worth more than ending the connection.
    if cx.write(connection, answer.as_bytes()).is_err() {
        finish(cx, connection);
    }
}

fn finish(cx: &mut Cx<'_, Connections>, connection: Key) {
    cx.state.remove(&connection);
    cx.shutdown(connection);
    cx.close(connection);
}
