//! Accepts connections and serves HTTP/1.1 on them, with limits on everything.
//!
//! All connections are tasks on the agent's thread, so none of them can hold another up. A connection ends when its
//! client is slow (5 s for a request's head), silent or not reading (30 s), or asks for too much (8 KiB of head).

use crate::web::Service;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

/// Connections open at once; a scraper or two, a probe and a person need five.
const CONNECTIONS_MAX: usize = 32;

/// Time for a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a client to take an answer, or to ask again.
const QUIET_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than any answer takes to make: the longest capture, and some.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(330);

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 8 << 10;

/// Pause after an accept that failed: usually the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 45\r\nRetry-After: 1\r\nConnection: close\r\n\r\ntoo many connections to this agent; try again";

/// Accepts for ever; drop the future to stop.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<dyn Service>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if open.load(Relaxed) >= CONNECTIONS_MAX {
            answers.count("other", 503);
            // Whether or not it fits into the socket's buffer, the connection is closed.
            let _ = stream.try_write(BUSY);
            continue;
        }
        open.fetch_add(1, Relaxed);
        let (answers, open) = (answers.clone(), open.clone());
        tokio::spawn(async move {
            let _open = Open(open);
            converse(stream, answers).await;
        });
    }
}

/// Counts a connection until dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Serves one connection until it ends or is silent for too long.
async fn converse(stream: TcpStream, answers: Arc<dyn Service>) {
    // Answers are written whole, so waiting for more to send only delays their last packet.
    let _ = stream.set_nodelay(true);
    let deadline = Deadline::after(QUIET_TIMEOUT);
    let service_deadline = deadline.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (answers, deadline) = (answers.clone(), service_deadline.clone());
        async move {
            deadline.move_to(ANSWER_TIMEOUT);
            let (parts, _body) = request.into_parts();
            let answer = answers.answer(&parts).await;
            deadline.move_to(QUIET_TIMEOUT);
            Ok::<Response<Full<Bytes>>, Infallible>(answer.into_response())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    loop {
        let until = deadline.get();
        let is_over = timeout_at(until, connection.as_mut()).await.is_ok();
        // A request that came meanwhile has moved the deadline.
        if is_over || deadline.get() <= until {
            return;
        }
    }
}

/// When a connection ends, whatever it is doing. Its task and its requests share it.
#[derive(Clone)]
struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    fn after(length: Duration) -> Deadline {
        Deadline(Arc::new(Mutex::new(Instant::now() + length)))
    }

    fn move_to(&self, from_now: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + from_now;
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
