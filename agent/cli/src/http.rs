//! Requests to an agent at a URL.

use crate::error::Failure;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

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
}

/// Gets a URL that is known to take `duration` to answer.
///
/// # Errors
/// Nobody answers there, or not in HTTP, or not in time. Any status is an answer.
pub fn get(url: &str, duration: Duration) -> Result<Answer, Failure> {
    let asked = client(duration + PATIENCE).get(url).call();
    read(url, asked)
}

/// Posts to a URL, with nothing but the header that an agent wants to see before it changes something.
///
/// # Errors
/// As [`get`].
pub fn post(url: &str) -> Result<Answer, Failure> {
    let asked = client(PATIENCE).post(url).header("X-Loopscope", "1").send_empty();
    read(url, asked)
}

fn client(patience: Duration) -> ureq::Agent {
    let configuration = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_PATIENCE))
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .build();
    ureq::Agent::new_with_config(configuration)
}

fn read(url: &str, asked: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
    let refused = |error: ureq::Error| Failure::Remote { url: url.to_owned(), because: explain(&error) };
    let mut response = asked.map_err(refused)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec().map_err(refused)?;
    Ok(Answer { status, body })
}

fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nobody listens there; `loopscope ls` shows the agents of this machine".to_owned()
        }
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
        let answer = get(&url, Duration::ZERO).unwrap();
        assert_eq!((answer.status, answer.first_line()), (404, "no \u{fffd}such".chars().take(8).collect()));
    }

    #[test]
    fn nobody_there_is_told_with_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let text = get(&url, Duration::ZERO).unwrap_err().to_string();
        assert!(text.contains(&url) && text.contains("nobody listens"), "{text}");
    }

    #[test]
    fn garbage_is_told_and_not_taken() {
        let url = serve_once("SSH-2.0-OpenSSH_9.2\r\n\r\n");
        let failure = get(&url, Duration::ZERO).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
    }
}
