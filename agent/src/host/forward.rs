//! Asks the agents of processes on behalf of whoever asked the host: captures, and incidents with their stacks.
//!
//! Plain HTTP on this machine. The address stands on a page, and a page is input: only addresses of this machine are
//! asked. Answers are bounded in size and time, and how many are under way in number.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
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

/// Most bytes of an answer: the longest profile, and some.
const BYTES_MAX: usize = 64 << 20;

/// What an agent answered.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub status: u16,
    pub content_type: String,
    /// The name of the file that it is to be saved as.
    pub file: Option<String>,
    pub body: Vec<u8>,
}

/// Bounds the questions under way. One ends when its future is dropped, also where the client went away.
#[derive(Clone, Debug)]
pub(crate) struct Forwards(Arc<Semaphore>);

impl Default for Forwards {
    fn default() -> Forwards {
        Forwards(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many questions are under way.
    Full,
    /// The agent did not answer; a sentence without an end.
    Failed(String),
}

impl Forwards {
    /// Asks the agent at `address` for `target`, a path with its query, and waits for at most `patience`.
    pub(crate) async fn ask(
        &self,
        address: &str,
        target: &str,
        patience: Duration,
    ) -> Result<Forwarded, NoAnswer> {
        let Forwards(under_way) = self;
        let _permit = under_way.try_acquire().map_err(|_| NoAnswer::Full)?;
        let failed = |because: &str| NoAnswer::Failed(format!("the agent at {address} {because}"));
        let way = Way::to(address).map_err(failed)?;
        match timeout(patience, way.ask(target)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(because)) => Err(failed(&because)),
            Err(_) => Err(failed("did not answer in time")),
        }
    }
}

/// How an agent is reached.
#[derive(Debug, PartialEq, Eq)]
enum Way<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
}

impl Way<'_> {
    /// Reads what a page says of its agent: `host:port`, or `unix:/path`.
    fn to(address: &str) -> Result<Way<'_>, &'static str> {
        if let Some(path) = address.strip_prefix("unix:") {
            return Ok(Way::Unix(Path::new(path)));
        }
        if address.starts_with("https:") {
            return Err("speaks TLS, and nobody told this server whom to trust: ask it directly");
        }
        let at = reachable(address);
        at.map(Way::Tcp).ok_or("is at no address of this machine, and others are not asked")
    }

    async fn ask(&self, target: &str) -> Result<Forwarded, String> {
        let refused = |error: io::Error| format!("cannot be reached: {error}");
        let late = |_| "takes no connection".to_owned();
        match self {
            Way::Tcp(at) => {
                let stream = timeout(CONNECT, TcpStream::connect(at)).await.map_err(late)?;
                converse(stream.map_err(refused)?, &at.to_string(), target).await
            }
            Way::Unix(path) => {
                let stream = timeout(CONNECT, UnixStream::connect(path)).await.map_err(late)?;
                converse(stream.map_err(refused)?, "localhost", target).await
            }
        }
    }
}

/// Returns where to connect to: the address, if it is one of this machine.
fn reachable(address: &str) -> Option<SocketAddr> {
    let mut at: SocketAddr = address.parse().ok()?;
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    // Only an address of one's own can be bound.
    (at.ip().is_loopback() || UdpSocket::bind((at.ip(), 0)).is_ok()).then_some(at)
}

async fn converse<S>(stream: S, host: &str, target: &str) -> Result<Forwarded, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let refused = |error: hyper::Error| format!("broke off: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(refused)?;
    // Ends with the sender.
    let connection = tokio::spawn(connection);
    let request = Request::get(target).header(HOST, host).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("cannot be asked for {target:?}: {error}"))?;
    let answer = match sender.send_request(request).await {
        Ok(response) => read(response).await,
        Err(error) => Err(refused(error)),
    };
    connection.abort();
    answer
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Forwarded, String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_owned();
    let file = text(CONTENT_DISPOSITION).and_then(file_of);
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("broke off, or answered more than it should: {error}"))?;
    Ok(Forwarded { status, content_type, file, body: body.to_bytes().to_vec() })
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

    #[test]
    fn only_this_machine_is_asked() {
        let reached = |address: &str| reachable(address).map(|at| at.to_string());
        assert_eq!(reached("127.0.0.1:9464").as_deref(), Some("127.0.0.1:9464"));
        assert_eq!(reached("0.0.0.0:9464").as_deref(), Some("127.0.0.1:9464"));
        // A network for documentation, which no machine has.
        for address in ["192.0.2.1:80", "example.org:80", "", "127.0.0.1"] {
            assert_eq!(reached(address), None, "{address}");
        }
        assert_eq!(Way::to("unix:/run/x"), Ok(Way::Unix(Path::new("/run/x"))));
        assert!(Way::to("https://127.0.0.1:9464").unwrap_err().contains("TLS"));
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
    fn questions_are_bounded_and_make_room_when_they_end() {
        let forwards = Forwards::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = || runtime.block_on(forwards.ask("nowhere", "/", CONNECT)).unwrap_err();
        let permits = forwards.0.try_acquire_many(AT_ONCE as u32).unwrap();
        assert_eq!(ask(), NoAnswer::Full);
        drop(permits);
        assert!(matches!(ask(), NoAnswer::Failed(_)));
        assert_eq!(forwards.0.available_permits(), AT_ONCE);
    }
}
