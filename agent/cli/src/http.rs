//! Requests to an agent at a URL.

use crate::args::AccessArguments;
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::socket_file::SocketFile;
use loopscope_http::secure::explain_handshake;
use loopscope_probe::raw::agent_address::AgentAddress;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Body, RequestBuilder};

/// How long an agent may take to answer beyond the time it was asked to watch.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// No flamegraph is larger than this; a URL that is not an agent's may send anything.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// What an agent answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The widest callback sites of a flamegraph, where the agent tells them.
    pub figures: Option<String>,
}

static ACCESS: OnceLock<AccessArguments> = OnceLock::new();

/// Sets the credentials of this run; once, before the first request.
pub fn set_access(access: AccessArguments) {
    // A second call cannot happen: there is one command line.
    let _ = ACCESS.set(access);
}

/// Returns the credentials of this run.
pub fn access() -> AccessArguments {
    ACCESS.get().cloned().unwrap_or_default()
}

/// Gets a path of the agent at `endpoint`, which is known to take `duration` to answer.
///
/// # Errors
/// Nobody answers there, or not in HTTP, or not in time; or the credentials cannot be read. Any status is an answer.
pub fn get(endpoint: &Endpoint, path: &str, duration: Duration) -> Result<Answer, Failure> {
    let client = Client::new(endpoint, duration + PATIENCE)?;
    let request = client.authorize(client.agent.get(client.url(path)));
    read(endpoint, request.call())
}

/// Posts to a path, with nothing but the header that an agent wants to see before it changes something.
///
/// # Errors
/// As [`get`].
pub fn post(endpoint: &Endpoint, path: &str) -> Result<Answer, Failure> {
    let client = Client::new(endpoint, PATIENCE)?;
    let request = client.authorize(client.agent.post(client.url(path))).header("X-Loopscope", "1");
    read(endpoint, request.send_empty())
}

/// Speaks to one agent.
struct Client {
    agent: ureq::Agent,
    /// What paths are appended to.
    base: String,
    token: Option<String>,
}

impl Client {
    fn new(endpoint: &Endpoint, patience: Duration) -> Result<Client, Failure> {
        let access = access();
        let token = access.token_file.as_deref().filter(|_| endpoint.may_see_token());
        let token = token.map(|file| read_file("token", file)).transpose()?;
        let token = token.map(|text| text.trim().to_owned());
        let mut configuration = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_global(Some(patience))
            .http_status_as_error(false);
        if let Some(file) = &access.ca_file {
            let authority = certificates(file)?;
            configuration = configuration.tls_config(TlsConfig::builder().root_certs(authority).build());
        }
        let configuration = configuration.build();
        Ok(match endpoint.url().parse() {
            Ok(AgentAddress::SocketFile(path)) => {
                let (file, resolver) = (SocketFile(path.as_path().into()), DefaultResolver::default());
                let agent = ureq::Agent::with_parts(configuration, file, resolver);
                Client { agent, base: "http://localhost".to_owned(), token }
            }
            _ => {
                let agent = ureq::Agent::new_with_config(configuration);
                Client { agent, base: endpoint.url().to_owned(), token }
            }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorize<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

fn certificates(file: &Path) -> Result<RootCerts, Failure> {
    let text = read_file("CA certificate", file)?;
    let found = parse_pem(text.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "the CA certificate file {}: no certificate in it",
            file.display()
        )));
    }
    Ok(RootCerts::from(found))
}

fn read_file(what: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read the {what} file {}: {error}", path.display())))
}

fn read(endpoint: &Endpoint, asked: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
    let failure = |because: String| Failure::Remote {
        url: endpoint.to_string(),
        because: format!("{because}{}", endpoint.tried()),
    };
    let refused = |error: ureq::Error| failure(explain(&error, endpoint.url()));
    let mut response = asked.map_err(refused)?;
    let status = response.status().as_u16();
    if status == 401 && !endpoint.may_see_token() && access().token_file.is_some() {
        let because = "token required, but this address comes from the process's page, which is not trusted with \
                       it: give the agent's URL as TARGET";
        return Err(failure(because.to_owned()));
    }
    let figures = response.headers().get("x-loopscope-figures").and_then(|text| text.to_str().ok());
    let figures = figures.map(str::to_owned);
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec().map_err(refused)?;
    Ok(Answer { status, body, figures })
}

fn explain(error: &ureq::Error, url: &str) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused; `loopscope ls` lists the agents of this machine".to_owned()
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "no such socket file; `loopscope ls` lists the agents of this machine".to_owned()
        }
        ureq::Error::Io(error) => explain_handshake(error).unwrap_or_else(|| error.to_string()),
        ureq::Error::Protocol(_) if url.starts_with("http://") => {
            format!("does not answer in HTTP ({error}); if it has TLS, write https://")
        }
        ureq::Error::Protocol(_) => format!("does not answer in HTTP ({error})"),
        ureq::Error::Timeout(_) => "did not answer in time".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::HostNotFound => {
            format!("{error}; write it as http://127.0.0.1:9464")
        }
        error => error.to_string(),
    }
}

impl Answer {
    /// Returns the body's first line, for messages.
    pub fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one request with `answer`; returns the URL.
    fn serve_once(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn any_status_is_an_answer() {
        let url = serve_once("HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nno \x1bsuch\n");
        let answer = get(&Endpoint::given(&url), "/", Duration::ZERO).unwrap();
        assert_eq!((answer.status, answer.first_line()), (404, "no \u{fffd}such".chars().take(8).collect()));
    }

    #[test]
    fn nobody_there_is_told_with_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let text = get(&Endpoint::given(&url), "/", Duration::ZERO).unwrap_err().to_string();
        assert!(text.contains(&url) && text.contains("connection refused"), "{text}");
    }

    #[test]
    fn garbage_is_told_and_not_taken() {
        let url = serve_once("SSH-2.0-OpenSSH_9.2\r\n\r\n");
        let failure = get(&Endpoint::given(&url), "/", Duration::ZERO).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
    }
}
