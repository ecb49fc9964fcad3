//! The HTTP service of the examples: answers come whole and in order, also to those who end their side after asking.

#[path = "../examples/http/service.rs"]
mod service;

use loopscope_loop::{Loop, Mode, RemoteHandle};
use service::Connections;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\n\r\n";
const QUICK: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A service on a thread of its own; it ends when this is dropped.
struct Open {
    address: SocketAddr,
    post: RemoteHandle<Connections>,
    thread: Option<JoinHandle<()>>,
}

fn open() -> Open {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut server = Loop::builder(Connections::new()).build().unwrap();
        let address = server.main(|cx| service::open(cx, (Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        tell.send((address, server.post_handle())).unwrap();
        server.run(Mode::Default).unwrap();
    });
    let (address, post) = told.recv().unwrap();
    Open { address, post, thread: Some(thread) }
}

impl Open {
    /// Connects, and sends.
    fn ask(&self, requests: &[u8]) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Client { stream: BufReader::new(stream) };
        client.asks(requests);
        client
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.post.post(|cx| cx.stop());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn asks(&mut self, requests: &[u8]) {
        self.stream.get_mut().write_all(requests).unwrap();
    }

    fn ends(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads the body of the next answer, which is a line; `None` at the end.
    fn answer(&mut self) -> Option<String> {
        let status = self.line();
        if status.is_empty() {
            return None;
        }
        assert!(status.starts_with("HTTP/1.1 "), "{status}");
        while !self.line().is_empty() {}
        Some(self.line())
    }

    #[track_caller]
    fn hears(&mut self, expected: &[&str]) {
        for line in expected {
            assert_eq!(self.answer().as_deref(), Some(*line));
        }
    }
}

#[test]
fn a_quick_answer_waits_for_the_slow_one_before_it_and_nobody_else_waits() {
    let service = open();
    let mut one = service.ask(SLOW);
    // The slow request is with the pool when somebody who came later has an answer.
    service.ask(QUICK).hears(&["hello"]);
    one.asks(QUICK);
    one.asks(b"GET /nowhere HTTP/1.1\r\n\r\nGET / HT");
    one.hears(&["17984 primes", "hello", "try / or /slow"]);
    one.asks(b"TP/1.1\r\n\r\n");
    one.hears(&["hello"]);
}

#[test]
fn who_ends_his_side_after_asking_is_answered_and_closed() {
    let service = open();
    let requests: [&[u8]; 4] = [QUICK, SLOW, &[SLOW, QUICK].concat(), &[QUICK, b"GET /"].concat()];
    let answers: [&[&str]; 4] = [&["hello"], &["17984 primes"], &["17984 primes", "hello"], &["hello"]];
    for (requests, answers) in requests.into_iter().zip(answers) {
        let mut client = service.ask(requests);
        client.ends();
        client.hears(answers);
        assert_eq!(client.answer(), None);
    }
}

#[test]
fn thousands_of_requests_in_one_piece_are_answered_to_one_who_reads_late() {
    const REQUESTS: usize = 4000;
    let service = open();
    let mut client = service.ask(&QUICK.repeat(REQUESTS));
    client.ends();
    // Whoever comes later has an answer before the first one begins to read.
    service.ask(QUICK).hears(&["hello"]);
    client.hears(&["hello"; REQUESTS]);
    assert_eq!(client.answer(), None);
}

#[test]
fn a_refusal_arrives_although_more_was_sent() {
    let service = open();
    let mut client = service.ask(&[SLOW, b"nonsense\r\n\r\n", &[b'x'; 50_000]].concat());
    client.hears(&["17984 primes", "not understood"]);
    // Not a reset, which could have destroyed the answers.
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}
