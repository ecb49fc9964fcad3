//! The chat room of the examples, over loopback: people talk, read slowly, do not read at all, and go.

#[path = "../examples/chat/room.rs"]
mod room;

use loopscope_loop::{Loop, Mode, RemoteHandle};
use room::{Limits, Room};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A room on a thread of its own; it closes when this is dropped.
struct Open {
    address: SocketAddr,
    post: RemoteHandle<Room>,
    thread: Option<JoinHandle<()>>,
}

fn open(limits: Limits) -> Open {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut server = Loop::builder(Room::new(limits)).build().unwrap();
        let address = server.main(|cx| room::open(cx, (Ipv4Addr::LOCALHOST, 0).into())).unwrap();
        tell.send((address, server.post_handle())).unwrap();
        server.run(Mode::Default).unwrap();
    });
    let (address, post) = told.recv().unwrap();
    Open { address, post, thread: Some(thread) }
}

impl Open {
    fn comes(&self, name: &str) -> Person {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut person = Person { lines: BufReader::new(stream) };
        person.hears("* what is your name?");
        person.says(name);
        person.hears(&format!("* you are {name}"));
        person
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.post.post(|cx| cx.stop());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

struct Person {
    lines: BufReader<TcpStream>,
}

impl Person {
    fn says(&mut self, line: &str) {
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads the next line, empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }
}

#[test]
fn people_have_names_hear_each_other_and_go() {
    let room = open(Limits::default());
    let mut ann = room.comes("Ann");
    let mut bob = room.comes("Bob");
    ann.hears("* Bob is here");
    ann.says("hello, \u{7}Bob\r");
    bob.hears("Ann: hello, Bob");
    // Several lines in one piece, one in two pieces, and an empty one.
    bob.says("one\ntwo\n\nth");
    bob.says("ree");
    for line in ["Bob: one", "Bob: two", "Bob: th", "Bob: ree"] {
        ann.hears(line);
    }
    ann.says("/who");
    ann.hears("* here: Ann, Bob");
    bob.says("/name Ann");
    bob.hears("* Ann is taken");
    bob.says("/name two words");
    bob.hears("* two words is not a name: up to 20 letters and digits");
    bob.says("/sing");
    bob.hears("* there are /name NAME, /who and /quit");
    bob.says("/name Bert");
    bob.hears("* you are Bert");
    ann.hears("* Bob is now Bert");
    bob.says("/quit");
    bob.hears("* good bye");
    bob.hears("");
    ann.hears("* Bert left");
    let cat = room.comes("Cat");
    ann.hears("* Cat is here");
    drop(cat);
    ann.hears("* Cat left");
}

#[test]
fn a_line_that_is_too_long_is_refused_and_one_without_an_end_ends_the_talk() {
    let room = open(Limits { line_bytes: 64, ..Limits::default() });
    let mut ann = room.comes("Ann");
    ann.says(&"x".repeat(65));
    ann.hears("* too long: xxxxxxxxxxxxxxxxxxxx...");
    let bob = room.comes("Bob");
    ann.hears("* Bob is here");
    bob.lines.get_ref().write_all(&[b'y'; 100]).unwrap();
    ann.hears("* Bob said a line that never ends");
}

#[test]
fn a_slow_reader_loses_no_line_and_holds_up_who_talks_to_him() {
    // More than all the kernel's buffers between the two.
    const LINES: usize = 20_000;
    let room = open(Limits { patience: PATIENCE, ..Limits::default() });
    let (mut ann, mut bob) = (room.comes("Ann"), room.comes("Bob"));
    ann.hears("* Bob is here");
    let text = |number: usize| format!("{number} {}", "x".repeat(900));
    // Until nothing more can be sent: the room does not read it, so it does not keep it either.
    ann.lines.get_ref().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = Vec::new();
    for number in 0..LINES {
        let line = format!("{}\n", text(number)).into_bytes();
        match ann.lines.get_mut().write_all(&line) {
            Ok(()) => sent.push(number),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
    }
    assert!(sent.len() < LINES, "nobody held the speaker up");
    // A third one comes and is answered, although the first is held up; and goes, because she will not read either.
    let mut cat = room.comes("Cat");
    cat.says("/who");
    cat.hears("* here: Ann, Bob, Cat");
    cat.says("/quit");
    cat.hears("* good bye");
    let mut heard = 0;
    while heard < sent.len() {
        let line = bob.line();
        if !["* Cat is here", "* Cat left"].contains(&line.as_str()) {
            assert_eq!(line, format!("Ann: {}", text(heard)));
            heard += 1;
        }
    }
}

#[test]
fn one_who_never_reads_is_put_out_and_the_talk_goes_on() {
    let room = open(Limits { patience: Duration::from_secs(1), ..Limits::default() });
    let (mut ann, bob, mut cat) = (room.comes("Ann"), room.comes("Bob"), room.comes("Cat"));
    ann.hears("* Bob is here");
    ann.hears("* Cat is here");
    // Bob talks on, without a word. Nothing is ever sent on the channel: it is only a pause between two lines.
    let (_bell, pause) = mpsc::channel::<()>();
    let mut mouth = bob.lines.get_ref().try_clone().unwrap();
    let talker = std::thread::spawn(move || {
        (0..1200).any(|_| {
            let _ = pause.recv_timeout(Duration::from_millis(100));
            mouth.write_all(b"\n").is_err()
        })
    });
    let listener = std::thread::spawn(move || {
        let mut heard = 0;
        loop {
            match cat.line().as_str() {
                "Ann: the end" => return heard,
                "* Bob did not read" => heard += 1,
                line => assert!(line.starts_with("Ann: "), "{line}"),
            }
        }
    });
    for _ in 0..20_000 {
        ann.says(&"x".repeat(900));
    }
    ann.says("the end");
    assert_eq!(listener.join().unwrap(), 1);
    assert!(talker.join().unwrap(), "Bob's connection was closed, although he talked on");
    drop(bob);
}

#[test]
fn one_who_says_nothing_goes_after_a_while() {
    let room = open(Limits { idle: Duration::from_secs(1), ..Limits::default() });
    let mut ann = room.comes("Ann");
    ann.hears("");
    // The room goes on.
    room.comes("Bob");
}
