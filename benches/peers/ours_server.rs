//! The loop as a TCP server: echo, or one fixed answer to each HTTP request.
//!
//! Its client asks for one thing at a time and reads the whole answer, as with every peer: nothing is ever queued, so
//! nothing is paused, and an end can close at once.

use crate::rounds::serving;
use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent};

/// What every peer that writes its HTTP by hand answers.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

/// Serves until it is killed.
pub fn serve(is_http: bool, has_probe: bool) {
    let mut server = Loop::builder(()).name("peer").probe(has_probe).build().expect("a loop can be made");
    let port = server.main(|cx| {
        let accept = move |cx: &mut Cx<'_>, stream: std::io::Result<Key>| {
            let stream = stream.expect("accept works");
            cx.set_nodelay(stream, true).expect("a fresh connection takes options");
            match is_http {
                true => cx.on_stream(stream, answer_requests),
                false => cx.on_stream(stream, echo),
            };
        };
        let listener = cx.listen(([127, 0, 0, 1], 0).into(), accept).expect("a free port");
        cx.local_addr(listener).expect("a listener has an address").port()
    });
    serving(port);
    server.run(Mode::Default).expect("the loop runs");
}

fn echo(cx: &mut Cx<'_>, stream: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            cx.write(stream, bytes).expect("the client reads");
        }
        StreamEvent::Drained => {}
        StreamEvent::End | StreamEvent::Error(_) => {
            cx.close(stream);
        }
    }
}

fn answer_requests(cx: &mut Cx<'_>, stream: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => {
            for _ in 0..requests(bytes) {
                cx.write(stream, ANSWER).expect("the client reads");
            }
        }
        StreamEvent::Drained => {}
        StreamEvent::End | StreamEvent::Error(_) => {
            cx.close(stream);
        }
    }
}

/// Parses and counts the requests in `bytes`. The benchmark's client sends them whole and without bodies; a server
/// would keep a partial one.
pub fn requests(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { break };
        count += 1;
        bytes = &bytes[length..];
    }
    count
}
