//! A running command: waiting for what it prints, talking to what it serves, ending it by its pid.

use crate::scratch::Scratch;
use loopscope_probe::Clock;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A deadline only to fail: everything that is waited for comes within a few seconds on a quiet machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A command that runs.
pub struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// One of its streams, line by line.
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let (send, coming) = channel();
        let read = BufReader::new(stream);
        std::thread::spawn(move || read.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Lines { coming, seen: Vec::new() }
    }

    /// Waits for a line that contains `text`, also among those that came before.
    fn with(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            let line = self.coming.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no line with `{text}` after {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the stream's end and returns everything.
    fn all(mut self) -> String {
        self.seen.extend(self.coming.iter());
        self.seen.join("\n")
    }
}

impl Running {
    /// Starts the command.
    pub fn start(scratch: &Scratch, arguments: &[&str]) -> Running {
        Running::of(scratch.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts a command whose output is piped.
    pub fn of(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// Starts a demo on free ports, and waits until it serves.
    pub fn demo(scratch: &Scratch, arguments: &[&str]) -> Running {
        let all =
            [&["demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"], arguments].concat();
        let mut demo = Running::start(scratch, &all);
        demo.line_with("Ctrl-C stops it");
        demo
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Writes a line to its standard input, which must be piped.
    pub fn send(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line of stdout that contains `text`.
    pub fn line_with(&mut self, text: &str) -> String {
        self.stdout.with(text)
    }

    /// Waits for a line of stderr that contains `text`.
    pub fn error_with(&mut self, text: &str) -> String {
        self.stderr.with(text)
    }

    /// Waits for such a line that has not come yet.
    pub fn next_error_with(&mut self, text: &str) -> String {
        self.stderr.seen.extend(self.stderr.coming.try_iter());
        self.stderr.seen.clear();
        self.stderr.with(text)
    }

    /// Returns the `host:port` of the demo's `service` or `metrics`.
    pub fn address(&mut self, what: &str) -> String {
        let line = self.line_with(&format!("  {what}  http://"));
        let (_, url) = line.split_once("http://").unwrap();
        url.split('/').next().unwrap().to_owned()
    }

    /// Sends a signal (`INT`, `KILL`) to this process alone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end. Returns exit code, stdout and stderr.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let status = until(|| self.child.try_wait().unwrap());
        let empty = || Lines { coming: channel().1, seen: Vec::new() };
        let (stdout, stderr) =
            (std::mem::replace(&mut self.stdout, empty()), std::mem::replace(&mut self.stderr, empty()));
        (status.code(), stdout.all(), stderr.all())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again, as fast as the answers come, until there is one.
pub fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let (clock, start) = (Clock::monotonic(), Clock::monotonic().now());
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        let elapsed = Duration::from_nanos(clock.ns_between(start, clock.now()));
        assert!(elapsed < DEADLINE, "it did not happen in time");
        std::thread::yield_now();
    }
}

/// Sends `request` to `host:port` and returns everything that comes back until the connection ends.
pub fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Gets a path as curl would.
pub fn get(address: &str, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}
