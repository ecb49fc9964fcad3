//! You will see an HTTP server whose slow work runs in the thread pool: `curl` it, and watch its callbacks.

use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent};
use std::collections::HashMap;
use std::io;

/// What has arrived on each connection and is not answered yet.
type Buffers = HashMap<Key, Vec<u8>>;

/// A request must fit in this many bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let mut server = Loop::builder(Buffers::new()).name("http").build()?;
    server.main(|cx| {
        let listener = cx.listen(([127, 0, 0, 1], 0).into(), accepted)?;
        let address = cx.local_addr(listener).unwrap();
        println!("curl http://{address}/       answers on the loop");
        println!("curl http://{address}/slow   computes in the thread pool, so that the loop stays free");
        println!("Ctrl-C ends it.");
        io::Result::Ok(())
    })?;
    server.run(Mode::Default)?;
    Ok(())
}

fn accepted(cx: &mut Cx<'_, Buffers>, connection: io::Result<Key>) {
    if let Ok(connection) = connection {
        cx.state.insert(connection, Vec::new());
        cx.on_stream(connection, on_event);
        cx.name(connection, "serve");
    }
}

fn on_event(cx: &mut Cx<'_, Buffers>, connection: Key, event: StreamEvent<'_>) {
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
fn answer_next(cx: &mut Cx<'_, Buffers>, connection: Key) {
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

fn route(cx: &mut Cx<'_, Buffers>, connection: Key, path: &str) {
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

fn respond(cx: &mut Cx<'_, Buffers>, connection: Key, status: &str, body: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // A stale key (the client went away meanwhile) is no error worth more than ending the connection.
    if cx.write(connection, answer.as_bytes()).is_err() {
        finish(cx, connection);
    }
}

fn finish(cx: &mut Cx<'_, Buffers>, connection: Key) {
    cx.state.remove(&connection);
    cx.shutdown(connection);
    cx.close(connection);
}
