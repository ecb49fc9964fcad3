//! The demo's own load: a second loop in the same process that sends requests to the first one, at a bounded rate
//! over a few connections.

use loopscope_loop::{Cx, Key, StreamEvent};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The name of the load's loop in metrics and lists.
pub const LOOP_NAME: &str = "load";

const CONNECTIONS: usize = 8;
const TICK: Duration = Duration::from_millis(10);
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// What is asked for, in turn: mostly short requests, as in real services.
const TARGETS: [&str; 8] =
    ["/hello", "/hello", "/work?ms=2", "/hello", "/chain?n=50", "/hello", "/fs", "/hello"];

/// The state of the load's loop.
#[derive(Debug)]
pub struct Load {
    service: SocketAddr,
    per_second: f64,
    clients: HashMap<Key, LoadClient>,
    /// Requests that are due and not sent.
    due: f64,
    ticked: Duration,
    sent: usize,
    pub result: Outcome,
}

/// What came of the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub answered: u64,
    pub failed: u64,
    pub slowest: Duration,
}

#[derive(Debug, Default)]
struct LoadClient {
    input: Vec<u8>,
    /// When its request was sent; `None` while it is free.
    sent: Option<Duration>,
}

impl Load {
    /// Returns a load of so many requests a second.
    pub fn new(service: SocketAddr, rate: u32) -> Load {
        Load {
            service,
            per_second: f64::from(rate),
            clients: HashMap::new(),
            due: 0.0,
            ticked: Duration::ZERO,
            sent: 0,
            result: Outcome::default(),
        }
    }
}

/// Begins to send.
pub fn start(cx: &mut Cx<'_, Load>) {
    cx.state.ticked = cx.now();
    for _ in 0..CONNECTIONS {
        connect(cx);
    }
    let ticker = cx.every(TICK, send_due);
    cx.name(ticker, "send_due");
}

fn connect(cx: &mut Cx<'_, Load>) {
    let service = cx.state.service;
    if let Err(error) = cx.connect(service, connected) {
        tracing::warn!(%error, %service, "cannot connect the demo's load generator");
        reconnect(cx);
    }
}

fn connected(cx: &mut Cx<'_, Load>, connection: io::Result<Key>) {
    let Ok(connection) = connection else { return reconnect(cx) };
    cx.state.clients.insert(connection, LoadClient::default());
    cx.on_stream(connection, on_event);
    cx.name(connection, "read_answer");
}

fn reconnect(cx: &mut Cx<'_, Load>) {
    cx.after(RECONNECT_AFTER, connect);
}

fn send_due(cx: &mut Cx<'_, Load>) {
    let now = cx.now();
    let elapsed = now.saturating_sub(cx.state.ticked);
    cx.state.ticked = now;
    // What could not be sent during a stall is not made up for: a bounded load, not a flood.
    let most = (cx.state.per_second * TICK.as_secs_f64()).max(1.0) * 2.0;
    cx.state.due = (cx.state.due + cx.state.per_second * elapsed.as_secs_f64()).min(most);
    let free: Vec<Key> =
        cx.state.clients.iter().filter(|(_, client)| client.sent.is_none()).map(|(key, _)| *key).collect();
    for key in free {
        if cx.state.due < 1.0 {
            return;
        }
        cx.state.due -= 1.0;
        send(cx, key, now);
    }
}

fn send(cx: &mut Cx<'_, Load>, key: Key, now: Duration) {
    let target = TARGETS[cx.state.sent % TARGETS.len()];
    cx.state.sent += 1;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", cx.state.service);
    if cx.write(key, request.as_bytes()).is_err() {
        return lost(cx, key);
    }
    if let Some(client) = cx.state.clients.get_mut(&key) {
        client.sent = Some(now);
    }
}

fn on_event(cx: &mut Cx<'_, Load>, key: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => received(cx, key, bytes),
        StreamEvent::Drained => {}
        StreamEvent::End | StreamEvent::Error(_) => lost(cx, key),
    }
}

fn received(cx: &mut Cx<'_, Load>, key: Key, bytes: &[u8]) {
    let now = cx.now();
    let Load { clients, result, .. } = &mut *cx.state;
    let Some(client) = clients.get_mut(&key) else { return };
    client.input.extend_from_slice(bytes);
    match answer_length(&client.input) {
        Ok(None) => {}
        Ok(Some((length, status))) => {
            client.input.drain(..length);
            if let Some(sent) = client.sent.take() {
                result.slowest = result.slowest.max(now.saturating_sub(sent));
            }
            if status < 400 { result.answered += 1 } else { result.failed += 1 }
        }
        Err(()) => lost(cx, key),
    }
}

fn lost(cx: &mut Cx<'_, Load>, key: Key) {
    if cx.state.clients.remove(&key).is_some() {
        cx.state.result.failed += 1;
        cx.close(key);
        reconnect(cx);
    }
}

/// Returns the length and status of the answer that `bytes` begin with, `None` where it is not complete yet.
fn answer_length(bytes: &[u8]) -> Result<Option<(usize, u16)>, ()> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let header_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(()),
    };
    let status = response.code.unwrap_or(500);
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let end = header_bytes + length.ok_or(())?;
    Ok((bytes.len() >= end).then_some((end, status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for length in 0..whole.len() {
            assert_eq!(answer_length(&whole[..length]), Ok(None));
        }
        assert_eq!(answer_length(whole), Ok(Some((whole.len(), 200))));
        assert_eq!(answer_length(b"SSH-2.0\r\n"), Err(()));
        assert_eq!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n"), Err(()));
    }
}
