//! Accepts connections and serves HTTP/1.1 on them, with limits on everything.
//!
//! All connections are tasks on the server's thread, so none of them can hold another up. A connection ends when its
//! client is slow (5 s for a request's head, from its first byte on), not reading (30 s), idle for longer than usual scrape
//! intervals (150 s; 5 s where half of the places are taken), or asks for too much (8 KiB of head).

use crate::auth::Auth;
use crate::client::Client;
use crate::client::ClientInfo;
use crate::listener::{Listener, Stream};
use crate::progress::{Followed, Limits, Progress, Step};
use crate::service::Service;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections open at once. A scraper or two, a probe and a person need five; a fleet of them at once finds room, too.
const CONNECTIONS_MAX: usize = 128;

/// Time for a request's head to arrive, from its first byte on; the first one's, from the connection on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be idle between two requests: scrapers ask every 15 to 60 s, some every two minutes, and keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// Time for a client to take an answer.
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
pub async fn serve(doorway: Listener, auth: Arc<Auth>, answers: Arc<dyn Service>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(stream) = doorway.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            answers.count("other", 503);
            // Whether or not it fits into the socket's buffer, the connection is closed.
            stream.try_write(BUSY);
            continue;
        };
        let (answers, auth) = (answers.clone(), auth.clone());
        let room = room.clone();
        tokio::spawn(async move {
            welcome(stream, &auth, answers, room).await;
            drop(place);
        });
    }
}

/// Makes a connection secure where that is wanted, and serves it.
async fn welcome(stream: Stream, auth: &Auth, answers: Arc<dyn Service>, room: Arc<Semaphore>) {
    let client = Arc::new(Client::new(stream.connection()));
    let Some(config) = &auth.web_config else {
        let greeting = Greeting { client, peer: ClientInfo::default(), headers: Vec::new(), room };
        return converse(stream, Arc::new(greeting), answers).await;
    };
    if let Some(note) = config.refresh() {
        answers.warn(note);
    }
    let greeting = |peer| Arc::new(Greeting { client, peer, headers: config.headers(), room });
    match config.acceptor() {
        None => converse(stream, greeting(ClientInfo::default()), answers).await,
        Some(acceptor) => {
            // Who speaks no TLS, or shows no certificate that is wanted, is not answered.
            if let Ok(Ok((secured, peer))) = timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                converse(secured, greeting(peer), answers).await;
            }
        }
    }
}

/// What a connection brings to each of its requests and answers.
struct Greeting {
    client: Arc<Client>,
    peer: ClientInfo,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Free places for connections.
    room: Arc<Semaphore>,
}

/// Serves one connection until it ends or is silent for too long.
async fn converse<S>(stream: S, greeting: Arc<Greeting>, answers: Arc<dyn Service>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = Progress::new(greeting.clone());
    let (of_service, too_late) = (progress.clone(), progress.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (answers, greeting, progress) = (answers.clone(), greeting.clone(), of_service.clone());
        async move {
            progress.enter(Step::Answering);
            let (mut parts, _body) = request.into_parts();
            parts.extensions.insert(greeting.peer);
            parts.extensions.insert(greeting.client.clone());
            let mut response = answers.answer(&parts).await.into_response();
            progress.enter(Step::Sending);
            for (name, value) in &greeting.headers {
                response.headers_mut().insert(name, value.clone());
            }
            Ok::<Response<Full<Bytes>>, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Ours is the shorter one.
        .header_read_timeout(IDLE_TIMEOUT * 2)
        .max_buf_size(HEAD_BYTES)
        .max_headers(64)
        .serve_connection(TokioIo::new(Followed { stream, progress }), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = too_late.too_late() => {}
    }
}

impl Limits for Greeting {
    fn limit(&self, step: Step) -> Duration {
        match step {
            Step::Head => HEAD_TIMEOUT,
            Step::Answering => ANSWER_TIMEOUT,
            Step::Sending => QUIET_TIMEOUT,
            // Idle connections take no more than half of the places from others for long.
            Step::Idle if self.room.available_permits() < CONNECTIONS_MAX / 2 => HEAD_TIMEOUT,
            Step::Idle => IDLE_TIMEOUT,
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
