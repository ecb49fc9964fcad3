//! The echo service of the examples, by itself and inside another loop: who reads late is held up, and loses nothing.

#[path = "../examples/embedded/frames.rs"]
mod frames;
#[path = "../examples/echo/service.rs"]
mod service;

use loopscope_loop::{Loop, Mode, StreamEvent};
use service::Echo;
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// A client in virtual time sends so many bytes, ends its side, and begins to read an hour later. Returns what came.
fn echoed_late(bytes: usize) -> Vec<u8> {
    let mut event_loop = Loop::builder(Echo::default()).virtual_time().build().unwrap();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let ear = heard.clone();
    event_loop.main(|cx| {
        let (client, connection) = cx.memory_pair().unwrap();
        service::serve(cx, connection);
        cx.write(client, &pattern(bytes)).unwrap();
        cx.shutdown(client);
        cx.after(Duration::from_secs(3600), move |cx| {
            let ear = ear.clone();
            cx.on_stream(client, move |cx, client, event| match event {
                StreamEvent::Data(bytes) => ear.borrow_mut().extend_from_slice(bytes),
                StreamEvent::End => drop(cx.close(client)),
                other => assert!(matches!(other, StreamEvent::Drained), "{other:?}"),
            });
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!((event_loop.state().connections, event_loop.state().bytes), (0, bytes));
    heard.take()
}

#[test]
fn one_who_ends_first_and_reads_late_gets_everything_back() {
    // Each way holds 64 KiB. What is beyond waits with the service, or, where that is much, with the client.
    for kib in (16..=256).step_by(16) {
        let bytes = (kib << 10) - 1;
        assert!(echoed_late(bytes) == pattern(bytes), "{bytes} bytes");
    }
}

/// Sends until nothing more is taken, ends its side, and then reads. Returns how much was sent and how much came back.
fn talk_first(address: SocketAddr) -> (usize, usize) {
    /// More than all the kernel's buffers between the two.
    const BYTES_MAX: usize = 64 << 20;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let (piece, mut sent) = (pattern(10_000), 0);
    while sent < BYTES_MAX {
        match stream.write(&piece) {
            Ok(count) => sent += count,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
    }
    assert!(sent < BYTES_MAX, "nobody held the sender up");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    (sent, heard.len())
}

#[test]
fn one_who_does_not_read_is_held_up_between_frames_too_and_loses_nothing() {
    let every = Duration::from_millis(10);
    let mut inner = Loop::builder(Echo::default()).build().unwrap();
    let address = inner.main(|cx| service::open(cx, (Ipv4Addr::LOCALHOST, 0).into())).unwrap();
    let client = std::thread::spawn(move || talk_first(address));
    frames::drive(&mut inner, every, |inner, frame| {
        assert!(every * u32::try_from(frame).unwrap() < PATIENCE * 2, "the client did not get on");
        !client.is_finished() || inner.state().connections > 0
    })
    .unwrap();
    let (sent, heard) = client.join().unwrap();
    assert_eq!((heard, inner.state().bytes), (sent, sent));
}
