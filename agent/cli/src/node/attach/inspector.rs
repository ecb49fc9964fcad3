//! Node's inspector: opened by a signal, spoken to in JSON over a WebSocket on loopback.

use super::sockets;
use super::target::AttachTarget;
use crate::error::Failure;
use crate::output::tell;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// How long Node may take to open its inspector; it takes some 30 ms.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to answer: where native code runs, it answers after that.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long the inspector may be open before that is said: mostly it is closed again within 0.1 s.
const OPEN_UNTOLD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(2);
/// A list of what can be inspected is shorter.
const LIST_BYTES_MAX: u64 = 64 << 10;

/// What runs now: the frames below that of the question itself, outermost last.
const STACK: &str = "(() => {
    const { stackTraceLimit, prepareStackTrace } = Error;
    try {
        Error.stackTraceLimit = 32;
        Error.prepareStackTrace = undefined;
        return new Error().stack;
    } finally {
        Error.stackTraceLimit = stackTraceLimit;
        Error.prepareStackTrace = prepareStackTrace;
    }
})()";

/// A session with the inspector of one process.
#[derive(Debug)]
pub struct Inspector<'a> {
    target: &'a AttachTarget,
    socket: WebSocket<TcpStream>,
    port: u16,
    asked: u64,
    opened: Instant,
    /// It was said that the inspector stays open.
    is_told: bool,
}

impl<'a> Inspector<'a> {
    /// Has the process open its inspector, and connects to it.
    ///
    /// # Errors
    /// It ends, or opens none.
    pub fn open(target: &'a AttachTarget) -> Result<Inspector<'a>, Failure> {
        let before = sockets::listening(target.pid());
        target.signal()?;
        let begin = Instant::now();
        while begin.elapsed() < OPEN_PATIENCE && target.is_alive() {
            for port in sockets::listening(target.pid()).difference(&before).copied() {
                if let Some(address) = address(port) {
                    let socket = connect(port, &address).map_err(|error| {
                        tell(&left_open(target.pid(), port));
                        target.failed(error)
                    })?;
                    return Ok(Inspector { target, socket, port, asked: 0, opened: begin, is_told: false });
                }
            }
            std::thread::sleep(LOOK);
        }
        Err(target.failed(
            "it did not open its inspector on SIGUSR1: it handles that signal itself, its inspector is open \
             already, or it is stopped",
        ))
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says once that the inspector is open, where it has been for some time: whoever can connect to it has the process.
    pub fn warn_while_open(&mut self) {
        if self.opened.elapsed() >= OPEN_UNTOLD && !std::mem::replace(&mut self.is_told, true) {
            tell(&still_open(self.target.pid(), self.port));
        }
    }

    /// Returns the innermost function that runs, with file and line; `None` while the loop waits.
    ///
    /// # Errors
    /// As [`Inspector::evaluate`].
    pub fn what_runs(&mut self) -> Result<Option<String>, Failure> {
        let stack = self.evaluate(STACK)?;
        Ok(innermost(stack.as_str().unwrap_or_default()))
    }

    /// Evaluates an expression, and returns its value.
    ///
    /// # Errors
    /// The process ends or does not answer, or the expression throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, Failure> {
        let id = self.ask(expression);
        let begin = Instant::now();
        while begin.elapsed() < ANSWER_PATIENCE {
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if is_late(&error) => {
                    self.warn_while_open();
                    continue;
                }
                Err(error) => return Err(self.target.failed(format!("its inspector: {error}"))),
            };
            let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
            if answer["id"] != id {
                continue;
            }
            let thrown = &answer["result"]["exceptionDetails"];
            let why = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            return match why.or(answer["error"]["message"].as_str()) {
                Some(why) => Err(self.target.failed(why.lines().next().unwrap_or(why))),
                None => Ok(answer["result"]["result"]["value"].take()),
            };
        }
        Err(self.target.failed(format!(
            "its main thread did not answer within {} s: it is in native code, or stopped; the request runs when it \
             returns to JavaScript",
            ANSWER_PATIENCE.as_secs()
        )))
    }

    /// Has an expression evaluated, without waiting for its value. Returns the number of the answer.
    pub fn ask(&mut self, expression: &str) -> u64 {
        self.asked += 1;
        let parameters = json!({ "expression": expression, "returnByValue": true, "includeCommandLineAPI": true, "silent": true });
        let question = json!({ "id": self.asked, "method": "Runtime.evaluate", "params": parameters });
        // Where it cannot be sent, no answer comes, and reading says why.
        let _ = self.socket.send(Message::text(question.to_string()));
        self.asked
    }
}

impl Drop for Inspector<'_> {
    fn drop(&mut self) {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

/// What an inspector that stays open means, and what can be done.
fn still_open(pid: u32, port: u16) -> String {
    format!(
        "warning: the inspector of process {pid} is open on 127.0.0.1:{port} until its main thread returns to JavaScript.\n\
         Until then every user who can connect to that port can run code as the user of the process. It is closed as soon as\n\
         the process answers; do not interrupt this command. If that must not be, end the process, or block the port.\n"
    )
}

/// What an inspector means to which no session came.
fn left_open(pid: u32, port: u16) -> String {
    format!(
        "warning: the inspector of process {pid} is left open on 127.0.0.1:{port}: it took no session.\n\
         Every user who can connect to that port can run code as the user of the process. End the process, or block the port.\n"
    )
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Asks what listens on a port for the address of its WebSocket; `None` where it is no inspector, or not yet.
fn address(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(stream, "GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    // Node may keep the connection open: the answer is whole when it can be read.
    while answer.len() as u64 <= LIST_BYTES_MAX {
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&part[..read]);
        let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| &answer[at + 4..]);
        if let Some(list) = body.and_then(|body| serde_json::from_slice::<Value>(body).ok()) {
            return list[0]["webSocketDebuggerUrl"].as_str().map(str::to_owned);
        }
    }
    None
}

fn connect(port: u16, address: &str) -> Result<WebSocket<TcpStream>, String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| error.to_string())?;
    let wait = |stream: &TcpStream, longest| {
        stream.set_read_timeout(Some(longest)).map_err(|error| error.to_string())
    };
    // A machine that is busy may take as long for this as for an answer.
    wait(&stream, ANSWER_PATIENCE)?;
    let (socket, _) =
        tungstenite::client(address, stream).map_err(|error| format!("its inspector: {error}"))?;
    wait(socket.get_ref(), OPEN_UNTOLD)?;
    Ok(socket)
}

/// Returns the innermost frame of a stack that is not the question's own: the program's, else Node's.
fn innermost(stack: &str) -> Option<String> {
    let frames = stack.lines().filter_map(|line| line.trim().strip_prefix("at "));
    let frames: Vec<&str> = frames.filter(|frame| !frame.contains("<anonymous>:")).collect();
    let is_own = |frame: &&&str| !frame.contains("node:");
    frames.iter().find(is_own).or(frames.first()).map(|frame| (*frame).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects to a server that takes a connection, and answers a request with this.
    fn connect_to(
        answer: impl FnOnce(&str) -> String + Send + 'static,
    ) -> Result<WebSocket<TcpStream>, String> {
        let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                asked.extend_from_slice(&byte);
            }
            stream.write_all(answer(std::str::from_utf8(&asked).unwrap()).as_bytes()).unwrap();
        });
        let connected = connect(port, &format!("ws://127.0.0.1:{port}/id"));
        answering.join().unwrap();
        connected
    }

    #[test]
    fn an_answer_is_waited_for_in_steps_once_there_is_a_session() {
        let socket = connect_to(|asked| {
            let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let key = tungstenite::handshake::derive_accept_key(key.as_bytes());
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
            )
        });
        assert_eq!(socket.unwrap().get_ref().read_timeout().unwrap(), Some(OPEN_UNTOLD));
        let refused = connect_to(|_| "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned());
        assert!(refused.unwrap_err().starts_with("its inspector: "));
    }

    #[test]
    fn the_innermost_frame_of_the_program_is_named() {
        let stack = "Error\n    at <anonymous>:1:9\n    at <anonymous>:3:1\n    at next (node:internal/x:1:2)\n    \
                     at spin (/srv/app.js:2:20)\n    at Object.<anonymous> (/srv/app.js:9:1)";
        assert_eq!(innermost(stack).as_deref(), Some("spin (/srv/app.js:2:20)"));
        assert_eq!(innermost("Error\n    at <anonymous>:1:9"), None);
    }
}
