//! The demo's service: HTTP/1.1 on our loop, with keep-alive, pipelining and limits.
//!
//! A connection is answered in the order of its requests: while a request waits for the thread pool or a chain of
//! microtasks, what follows it stays in the buffer, and when that is full the connection is not read further.

use super::request::{BODY_BYTES_MAX, HEADER_BYTES_MAX, Parsed, Request, parse};
use loopscope_loop::{Cx, Key, StreamEvent, Wrote};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Connections beyond this many are turned away.
const CONNECTIONS_MAX: usize = 256;

/// A request must be complete this long after the connection was made or the last request was answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the service's loop in metrics and lists.
pub const LOOP_NAME: &str = "web";

/// The state of the service's loop.
#[derive(Debug)]
pub struct Service {
    connections: HashMap<Key, Connection>,
    served: Arc<AtomicU64>,
    route: Route,
}

/// Answers a request, now or later.
pub type Route = fn(&mut Cx<'_, Service>, Reply, &Request);

#[derive(Debug)]
struct Connection {
    input: Vec<u8>,
    patience: Key,
    /// A request is being answered; what follows it waits.
    is_waiting: bool,
    /// The last answer was given; nothing more is read.
    is_finished: bool,
    /// The client sends nothing more; what it has asked is still answered.
    has_ended: bool,
    /// Answers wait for the client to read them.
    has_queued: bool,
}

impl Connection {
    /// Tells whether there is nothing left to do for it.
    fn is_over(&self) -> bool {
        self.has_ended && !self.is_waiting && !self.has_queued
    }

    /// Tells whether reading on would only fill memory.
    fn is_full(&self) -> bool {
        self.is_waiting && self.input.len() > HEADER_BYTES_MAX + BODY_BYTES_MAX
    }
}

/// An answer to one request.
#[derive(Debug)]
pub struct DemoAnswer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The route's name in the demo's own metrics: one of a fixed few.
    pub route: &'static str,
}

/// What is to be remembered of a request until it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub connection: Key,
    pub is_head: bool,
    pub is_keep_alive: bool,
}

impl Service {
    /// Returns a service that hands each request to `route`, and adds those it answered to `served`.
    pub fn new(served: Arc<AtomicU64>, route: Route) -> Service {
        Service { connections: HashMap::new(), served, route }
    }
}

/// Listens on `address`, or on the next free port after it. Returns where.
///
/// # Errors
/// The address is in use, or cannot be listened on.
pub fn listen(cx: &mut Cx<'_, Service>, address: SocketAddr, ports: u16) -> io::Result<SocketAddr> {
    let mut address = address;
    for _ in 1..ports {
        match cx.listen(address, accepted) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < u16::MAX => {
                address.set_port(address.port() + 1);
            }
            listener => return finish_listen(cx, listener?, address),
        }
    }
    let listener = cx.listen(address, accepted)?;
    finish_listen(cx, listener, address)
}

fn finish_listen(cx: &mut Cx<'_, Service>, listener: Key, asked: SocketAddr) -> io::Result<SocketAddr> {
    metrics::describe_counter!("demo_http_requests_total", "Requests answered by the demo's service.");
    metrics::describe_gauge!("demo_http_connections", "Open connections of the demo's service.");
    cx.name(listener, "accept_connection");
    Ok(cx.local_addr(listener).unwrap_or(asked))
}

fn accepted(cx: &mut Cx<'_, Service>, connection: io::Result<Key>) {
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => return tracing::warn!(%error, "cannot accept a connection"),
    };
    if cx.state.connections.len() >= CONNECTIONS_MAX {
        cx.close(connection);
        return;
    }
    let patience = cx.after(PATIENCE, move |cx| give_up(cx, connection));
    let entry = Connection {
        input: Vec::new(),
        patience,
        is_waiting: false,
        is_finished: false,
        has_ended: false,
        has_queued: false,
    };
    cx.state.connections.insert(connection, entry);
    metrics::gauge!("demo_http_connections").set(cx.state.connections.len() as f64);
    cx.on_stream(connection, on_event);
    cx.name(connection, "serve_connection");
}

fn give_up(cx: &mut Cx<'_, Service>, connection: Key) {
    if let Some(entry) = cx.state.connections.remove(&connection) {
        cx.close(entry.patience);
        cx.close(connection);
        metrics::gauge!("demo_http_connections").set(cx.state.connections.len() as f64);
    }
}

fn on_event(cx: &mut Cx<'_, Service>, connection: Key, event: StreamEvent<'_>) {
    let Some(entry) = cx.state.connections.get_mut(&connection) else { return };
    match event {
        StreamEvent::Data(_) if entry.is_finished => {}
        StreamEvent::Data(bytes) => {
            entry.input.extend_from_slice(bytes);
            if entry.is_full() {
                cx.pause(connection);
            }
            serve(cx, connection);
        }
        StreamEvent::Drained => {
            entry.has_queued = false;
            settle(cx, connection);
        }
        StreamEvent::End => {
            entry.has_ended = true;
            settle(cx, connection);
        }
        StreamEvent::Error(_) => give_up(cx, connection),
    }
}

/// Reads on where there is room, and closes what is over.
fn settle(cx: &mut Cx<'_, Service>, connection: Key) {
    let Some(entry) = cx.state.connections.get(&connection) else { return };
    if entry.is_over() {
        give_up(cx, connection);
    } else if !entry.has_queued && !entry.is_full() {
        cx.resume(connection);
    }
}

/// Answers the requests that are complete, up to one that must wait.
fn serve(cx: &mut Cx<'_, Service>, connection: Key) {
    while let Some(entry) = cx.state.connections.get_mut(&connection) {
        if entry.is_waiting || entry.is_finished {
            return;
        }
        let reply = Reply { connection, is_head: false, is_keep_alive: false };
        match parse(&entry.input) {
            Parsed::Partial => return,
            Parsed::Refused(status) => {
                let body = format!("{status} {}\n", reason(status)).into_bytes();
                answer(cx, reply, &DemoAnswer { status, body, route: "refused" });
            }
            Parsed::Complete(request, used) => {
                entry.input.drain(..used);
                entry.is_waiting = true;
                let (is_head, is_keep_alive) = (request.method == "HEAD", request.is_keep_alive);
                let route = cx.state.route;
                route(cx, Reply { connection, is_head, is_keep_alive }, &request);
            }
        }
    }
}

/// Gives an answer, and goes on with what has arrived meanwhile. Call it from another callback than the request's, or
/// return to [`serve`] afterwards.
pub fn answer_later(cx: &mut Cx<'_, Service>, reply: Reply, given: &DemoAnswer) {
    answer(cx, reply, given);
    serve(cx, reply.connection);
    settle(cx, reply.connection);
}

/// Gives an answer.
pub fn answer(cx: &mut Cx<'_, Service>, reply: Reply, given: &DemoAnswer) {
    let Some(entry) = cx.state.connections.get_mut(&reply.connection) else { return };
    entry.is_waiting = false;
    entry.is_finished = !reply.is_keep_alive;
    let patience = entry.patience;
    cx.refresh(patience);
    cx.state.served.fetch_add(1, Ordering::Relaxed);
    let code = given.status.to_string();
    metrics::counter!("demo_http_requests_total", "route" => given.route, "code" => code).increment(1);
    match cx.write(reply.connection, &encode(reply, given)) {
        Ok(Wrote::Queued(_) | Wrote::Full(_)) => {
            // A client that does not read its answers is not read either.
            cx.pause(reply.connection);
            if let Some(entry) = cx.state.connections.get_mut(&reply.connection) {
                entry.has_queued = true;
            }
        }
        Ok(Wrote::All) => {}
        Err(_) => return give_up(cx, reply.connection),
    }
    if !reply.is_keep_alive {
        // The client reads to the end and closes; one that does not is closed when the patience ends.
        cx.shutdown(reply.connection);
    }
}

fn encode(reply: Reply, given: &DemoAnswer) -> Vec<u8> {
    let (status, length) = (given.status, given.body.len());
    let connection = if reply.is_keep_alive { "keep-alive" } else { "close" };
    let mut bytes = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n",
        reason(status)
    )
    .into_bytes();
    if !reply.is_head {
        bytes.extend_from_slice(&given.body);
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
