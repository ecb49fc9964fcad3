//! Asks the agents of processes on behalf of whoever asked the host: captures, and incidents with their stacks.
//!
//! HTTP on this machine: by the socket file that agents have beside their pages, where this server may open it and
//! the system says that the page's owner listens there; else at the address that stands on the page, plain or with
//! TLS. A page is input: only addresses of this machine are asked. Answers are bounded in size and time, and how many
//! are under way in number. What is handed on is taken whole; of what is read here (lists), the beginning is enough,
//! and an agent that does not end cannot fill our memory with it.

use crate::access::Access;
use crate::state::Asked;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use loopscope_http::answer::FIGURES_HEADER;
use loopscope_http::auth::INTENT_HEADER;
use loopscope_http::secure::explain_handshake;
use loopscope_probe::raw::agent_address::AgentAddress;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// At most this many questions are under way at once.
const AT_ONCE: usize = 64;

/// Time for an agent to take a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// Most bytes of an answer that is handed on: the longest profile, and some.
const BYTES_MAX: usize = 64 << 20;

/// Most bytes of the figures beside it.
const FIGURES_MAX: usize = 8 << 10;

/// What an agent answered.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub status: u16,
    pub content_type: String,
    /// The name of the file that it is to be saved as.
    pub file: Option<String>,
    /// The widest sites of a flamegraph.
    pub figures: Option<String>,
    /// When it wants to be asked again.
    pub retry_after_s: Option<u64>,
    pub body: Vec<u8>,
}

/// Asks, and bounds how many questions are under way. One ends when its future is dropped, also where the client went
/// away.
#[derive(Clone, Debug)]
pub(crate) struct Forwards {
    under_way: Arc<Semaphore>,
    access: Arc<Access>,
}

/// A question to the agent of one process.
#[derive(Clone, Debug)]
pub(crate) struct ForwardRequest<'a> {
    pub process: &'a Asked,
    /// GET, or POST for what changes something.
    pub method: Method,
    /// A path with its query.
    pub target: &'a str,
    pub wanted: Wanted,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it; one that is longer than any of ours is none.
    Whole,
    /// At most so many bytes of its beginning.
    Beginning(usize),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ForwardError {
    /// Too many questions are under way.
    Full,
    /// The agent did not answer; a sentence without an end.
    Failed(String),
}

impl Forwards {
    pub(crate) fn new(access: Access) -> Forwards {
        Forwards { under_way: Arc::new(Semaphore::new(AT_ONCE)), access: Arc::new(access) }
    }

    /// Asks, and waits for at most `patience`.
    pub(crate) async fn ask(
        &self,
        question: &ForwardRequest<'_>,
        patience: Duration,
    ) -> Result<Forwarded, ForwardError> {
        let _permit = self.under_way.try_acquire().map_err(|_| ForwardError::Full)?;
        let late = || Err("the agent did not answer in time".to_owned());
        timeout(patience, self.reach(question)).await.unwrap_or_else(|_| late()).map_err(ForwardError::Failed)
    }

    /// Asks by the socket file where there is one, which asks its own user for nothing, unless this server does not, either;
    /// else at the page's address.
    async fn reach(&self, question: &ForwardRequest<'_>) -> Result<Forwarded, String> {
        let why = match &question.process.socket {
            None => "it tells of no socket file".to_owned(),
            Some(path) if self.access.is_server_open => format!(
                "unix:{} is used only by a server that authenticates its own clients (--guard-token-file)",
                path.display()
            ),
            Some(path) => match owned(path, question.process.user).await {
                Ok(stream) => {
                    let request = question.request("localhost", None)?;
                    let answer = converse(stream, request, question.wanted).await;
                    let failed = |because| format!("the agent at unix:{} {because}", path.display());
                    return answer.map_err(failed);
                }
                Err(why) => format!("tried before: unix:{} {why}", path.display()),
            },
        };
        let Some(address) = &question.process.address else { return Err(format!("has no agent; {why}")) };
        let failed = |because: String| format!("the agent at {address} {because}; {why}");
        ask(address, question, &self.access).await.map_err(failed)
    }
}

/// Asks at the address that stands on the page.
async fn ask(
    address: &AgentAddress,
    question: &ForwardRequest<'_>,
    access: &Access,
) -> Result<Forwarded, String> {
    let mut was_shown = false;
    let answer = match address.local() {
        AgentAddress::Tcp(at) => {
            let stream = connected(TcpStream::connect(own(at)?)).await?;
            converse(stream, question.request(&at.to_string(), None)?, question.wanted).await
        }
        AgentAddress::Tls(at) => {
            let at = own(at)?;
            let trust = access.trust.as_ref();
            let trust = trust.ok_or("agent uses TLS: start serve with --ca-file")?;
            let stream = connected(TcpStream::connect(at)).await?;
            let stream = connected(trust.connect(stream, at.ip())).await?;
            let shown = access.shown_to_proved();
            was_shown = shown.is_some();
            converse(stream, question.request(&at.to_string(), shown)?, question.wanted).await
        }
        AgentAddress::SocketFile(path) => {
            let stream = owned(path.as_path(), question.process.user).await?;
            converse(stream, question.request("localhost", None)?, question.wanted).await
        }
    }?;
    match answer.status {
        401 if !was_shown => Err(Access::missing(matches!(address, AgentAddress::Tls(_))).to_owned()),
        _ => Ok(answer),
    }
}

/// Connects to a socket file on which this user listens: whoever writes a page could name any socket that we may open.
async fn owned(path: &Path, user: Option<u32>) -> Result<UnixStream, String> {
    let stream = connected(UnixStream::connect(path)).await?;
    let listener = stream.peer_cred().ok().map(|peer| peer.uid());
    match listener.is_some() && listener == user {
        true => Ok(stream),
        false => Err("belongs to another user than its process".to_owned()),
    }
}

impl ForwardRequest<'_> {
    fn request(&self, host: &str, shown: Option<HeaderValue>) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::builder().method(&self.method).uri(self.target).header(HOST, host);
        if self.method == Method::POST {
            request = request.header(INTENT_HEADER, "1");
        }
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown);
        }
        request.body(Empty::new()).map_err(|error| format!("cannot be asked for {:?}: {error}", self.target))
    }
}

/// Returns the address, if it is one of this machine.
fn own(at: SocketAddr) -> Result<SocketAddr, &'static str> {
    // Only an address of one's own can be bound.
    match at.ip().is_loopback() || UdpSocket::bind((at.ip(), 0)).is_ok() {
        true => Ok(at),
        false => Err("is not an address of this machine; other machines are not contacted"),
    }
}

/// Waits for a connection or a handshake.
async fn connected<S>(connecting: impl Future<Output = io::Result<S>>) -> Result<S, String> {
    let connected =
        timeout(CONNECT, connecting).await.map_err(|_| "does not accept connections".to_owned())?;
    connected.map_err(|error| {
        let because = explain_handshake(&error).unwrap_or_else(|| error.to_string());
        format!("cannot connect: {because}")
    })
}

async fn converse<S>(stream: S, request: Request<Empty<Bytes>>, wanted: Wanted) -> Result<Forwarded, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let refused = |error: hyper::Error| format!("connection failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(refused)?;
    // Ends with the sender.
    let connection = tokio::spawn(connection);
    let answer = match sender.send_request(request).await {
        Ok(response) => read(response, wanted).await,
        Err(error) => Err(refused(error)),
    };
    connection.abort();
    answer
}

async fn read(response: Response<hyper::body::Incoming>, wanted: Wanted) -> Result<Forwarded, String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_owned();
    let file = text(CONTENT_DISPOSITION).and_then(file_of);
    // What a header may have, and no more of it than a line.
    let figures = text(HeaderName::from_static(FIGURES_HEADER))
        .filter(|text| text.len() < FIGURES_MAX)
        .map(str::to_owned);
    let retry_after_s = text(RETRY_AFTER).and_then(|text| text.parse().ok());
    let status = response.status().as_u16();
    let body = collect(response.into_body(), wanted).await?;
    Ok(Forwarded { status, content_type, file, figures, retry_after_s, body })
}

/// Reads a body as far as it is wanted, and no further.
async fn collect<B>(mut body: B, wanted: Wanted) -> Result<Vec<u8>, String>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("connection failed: {error}"))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        match wanted {
            Wanted::Whole if bytes.len() > BYTES_MAX => return Err("answer too large".to_owned()),
            Wanted::Beginning(most) if bytes.len() >= most => {
                bytes.truncate(most);
                break;
            }
            _ => {}
        }
    }
    Ok(bytes)
}

/// Returns the file name of a `Content-Disposition`, where it is a plain one.
fn file_of(disposition: &str) -> Option<String> {
    let (_, name) = disposition.split_once("filename=\"")?;
    let name = name.strip_suffix('"')?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!name.is_empty() && name.chars().all(is_plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use loopscope_probe::raw::process_id::ProcessId;

    #[test]
    fn only_this_machine_is_asked() {
        let here = "127.0.0.1:9464".parse().unwrap();
        assert_eq!(own(here), Ok(here));
        // A network for documentation, which no machine has.
        assert!(own("192.0.2.1:80".parse().unwrap()).unwrap_err().contains("not an address of this machine"));
    }

    #[test]
    fn a_file_name_is_taken_only_where_it_is_plain() {
        assert_eq!(file_of("attachment; filename=\"demo-7-cpu.pb.gz\"").as_deref(), Some("demo-7-cpu.pb.gz"));
        for bad in
            ["inline", "inline; filename=\"\"", "inline; filename=\"../x\"", "inline; filename=\"a\"b\""]
        {
            assert_eq!(file_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_a_long_answer_the_beginning_is_read_where_that_is_enough() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |length: usize, wanted| {
            let body = Full::new(Bytes::from(vec![7; length]));
            runtime.block_on(collect(body, wanted)).map(|bytes| bytes.len())
        };
        assert_eq!(read(5, Wanted::Whole), Ok(5));
        assert_eq!(read(BYTES_MAX, Wanted::Whole), Ok(BYTES_MAX));
        assert!(read(BYTES_MAX + 1, Wanted::Whole).unwrap_err().contains("too large"));
        assert_eq!(read(5, Wanted::Beginning(9)), Ok(5));
        assert_eq!(read(5_000, Wanted::Beginning(9)), Ok(9));
        assert_eq!(read(0, Wanted::Beginning(9)), Ok(0));
    }

    #[test]
    fn questions_are_bounded_and_make_room_when_they_end() {
        let forwards = Forwards::new(Access::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let process = Asked {
            pid: 7,
            process: ProcessId::new(7, 1, 0, 0),
            name: "web".to_owned(),
            address: None,
            socket: None,
            user: None,
            loops: Vec::new(),
        };
        let question =
            ForwardRequest { process: &process, method: Method::GET, target: "/", wanted: Wanted::Whole };
        let ask = || runtime.block_on(forwards.ask(&question, CONNECT)).unwrap_err();
        let permits = forwards.under_way.try_acquire_many(AT_ONCE as u32).unwrap();
        assert_eq!(ask(), ForwardError::Full);
        drop(permits);
        assert!(matches!(ask(), ForwardError::Failed(_)));
        assert_eq!(forwards.under_way.available_permits(), AT_ONCE);
    }
}
