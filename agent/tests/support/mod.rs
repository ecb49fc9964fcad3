//! A loop driven by hand on a thread of its own, and a plain HTTP client.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod agent_process;

use loopscope_agent::{Agent, AgentBuilder, Listen};
use loopscope_probe::Queue;
use loopscope_probe::{Kind, Phase, TaskTimes, Writer};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::panic::Location;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Waiting for longer than this is a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A process has one agent: tests that start one take turns.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn any_port() -> Listen {
    Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

pub fn builder() -> AgentBuilder {
    Agent::builder().listen(any_port())
}

enum Step {
    Begin(Kind, &'static str),
    Flood(u64),
    Spans(u64),
    Park,
}

/// A loop that does what it is told, and nothing else: it blocks by not being told to go on.
pub struct HandLoop {
    steps: Option<Sender<Step>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl HandLoop {
    pub fn start(name: &str) -> Self {
        let (steps, told) = channel();
        let (say, done) = channel();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let mut writer = Writer::builder(&name).backend("hand").build();
            let mut pool = writer.take_pool().unwrap();
            pool.threads(2);
            writer.resume();
            park(&mut writer);
            say.send(()).unwrap();
            let mut is_parked = true;
            for step in told {
                if std::mem::take(&mut is_parked) {
                    writer.unpark(1);
                }
                is_parked = perform(&mut writer, step);
                say.send(()).unwrap();
            }
        });
        done.recv_timeout(DEADLINE).unwrap();
        HandLoop { steps: Some(steps), done, thread: Some(thread) }
    }

    fn tell(&self, step: Step) {
        self.steps.as_ref().unwrap().send(step).unwrap();
        self.done.recv_timeout(DEADLINE).unwrap();
    }

    /// A callback begins and does not end before [`HandLoop::park`].
    pub fn block(&self, kind: Kind, site: &'static str) {
        self.tell(Step::Begin(kind, site));
    }

    /// Runs a flood of that many microtasks.
    pub fn flood(&self, jobs: u64) {
        self.tell(Step::Flood(jobs));
    }

    /// Runs a callback that lasts for some milliseconds, most of them in a span.
    pub fn spans(&self, milliseconds: u64) {
        self.tell(Step::Spans(milliseconds));
    }

    /// Whatever runs ends, and the loop polls.
    pub fn park(&self) {
        self.tell(Step::Park);
    }
}

fn park(writer: &mut Writer) {
    writer.end();
    writer.drained();
    writer.iteration();
    writer.phase(Phase::POLL);
    writer.park();
}

/// Returns whether the loop is parked afterwards.
fn perform(writer: &mut Writer, step: Step) -> bool {
    match step {
        Step::Begin(kind, name) => {
            let site = writer.named_site(Location::caller(), kind, name);
            writer.phase(Phase::TIMERS);
            writer.begin(kind, site, TaskTimes::ready_at(writer.last()));
        }
        Step::Flood(jobs) => {
            let site = writer.named_site(Location::caller(), Kind::Microtask, "again");
            writer.drain_begin(Queue::Microtask, 1);
            for _ in 0..jobs {
                writer.begin(Kind::Microtask, site, TaskTimes::UNKNOWN);
                spin(writer, 100_000);
                writer.end();
            }
        }
        Step::Spans(milliseconds) => {
            let site = writer.named_site(Location::caller(), Kind::IoRead, "request");
            writer.phase(Phase::POLL);
            let _spans = writer.install_spans();
            writer.begin(Kind::IoRead, site, TaskTimes::UNKNOWN);
            spin(writer, milliseconds * 200_000);
            tracing::info_span!("query").in_scope(|| spin(writer, milliseconds * 800_000));
            writer.end();
            park(writer);
            return true;
        }
        Step::Park => {
            park(writer);
            return true;
        }
    }
    false
}

fn spin(writer: &Writer, ns: u64) {
    let clock = writer.clock();
    let begun = clock.now();
    while clock.ns_between(begun, clock.now()) < ns {
        std::hint::spin_loop();
    }
}

impl Drop for HandLoop {
    fn drop(&mut self) {
        self.steps = None;
        let _ = self.thread.take().unwrap().join();
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks for a path, on a connection of its own.
pub fn get(agent: &Agent, path: &str) -> Answer {
    get_at(agent.address().unwrap(), path)
}

/// Sends these bytes and reads until the server closes.
pub fn request(agent: &Agent, bytes: &str) -> Answer {
    request_at(agent.address().unwrap(), bytes)
}

/// As [`get`], from an agent of any process.
pub fn get_at(address: SocketAddr, path: &str) -> Answer {
    request_at(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn request_at(address: SocketAddr, bytes: &str) -> Answer {
    let mut stream = connect_to(address);
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes.as_bytes());
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => parse(&String::from_utf8(text).unwrap()),
    }
}

pub fn connect(agent: &Agent) -> TcpStream {
    connect_to(agent.address().unwrap())
}

/// Connects; every wait for the other side has a deadline.
pub fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Returns the value of a series on a page of metrics.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Runs `act` on a thread of its own, which is left where it takes too long.
pub fn within_deadline<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (say, done) = channel();
    let thread = std::thread::spawn(move || say.send(act()).unwrap());
    match done.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("waited too long for another thread"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Asks again until `is_good`, at most until the deadline.
pub fn until(what: &str, mut is_good: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !is_good() {
        assert!(std::time::Instant::now() < deadline, "waited too long for: {what}");
        std::thread::yield_now();
    }
}
