//! Raw mio: the least that a program which polls for itself can do.

use crate::ours_server::{ANSWER, requests};
use crate::rounds::{answer, serving};
use loopscope_loop::mio::net::{TcpListener, TcpStream};
use loopscope_loop::mio::{Events, Interest, Poll, Token, Waker};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::channel;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Runs one row; `None` where it is not one of these.
pub fn run(row: &str) -> Option<()> {
    match row {
        "echo" => serve(write_all),
        "http" => serve(|stream, bytes| (0..requests(bytes)).all(|_| write_all(stream, ANSWER))),
        "wake" => wake(),
        _ => return None,
    }
    Some(())
}

/// Serves until it is killed. `respond` gets what arrived, and returns whether the connection goes on.
fn serve(respond: fn(&mut TcpStream, &[u8]) -> bool) {
    let (mut poll, mut events) = (Poll::new().expect("epoll"), Events::with_capacity(1024));
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("epoll");
    serving(listener.local_addr().expect("a listener has an address").port());
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        poll.poll(&mut events, None).expect("epoll");
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut streams);
            } else if let Some(slot) = streams.get_mut(event.token().0)
                && slot.as_mut().is_some_and(|stream| !goes_on(stream, &mut buffer, respond))
            {
                // Closing takes it out of epoll, too.
                *slot = None;
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, streams: &mut Vec<Option<TcpStream>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).expect("a fresh connection takes options");
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(streams.len()), interest).expect("epoll");
        streams.push(Some(stream));
    }
}

/// Reads until a read does not fill the buffer, which leaves the socket empty.
fn goes_on(stream: &mut TcpStream, buffer: &mut [u8], respond: fn(&mut TcpStream, &[u8]) -> bool) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) if !respond(stream, &buffer[..count]) => return false,
            Ok(count) if count < buffer.len() => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// The client has a request under way at most, so the kernel has room for an answer.
fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Two pollers on two threads that wake each other in turn.
fn wake() {
    let make = || {
        let poll = Poll::new().expect("epoll");
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("eventfd"));
        (poll, waker)
    };
    let (mut here, wake_here) = make();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let (mut there, wake_there) = make();
        let mut events = Events::with_capacity(1024);
        sender.send(wake_there).expect("the first thread waits for it");
        loop {
            await_wake(&mut there, &mut events);
            wake_here.wake().expect("eventfd");
        }
    });
    let wake_there = receiver.recv().expect("the other thread starts");
    let mut events = Events::with_capacity(1024);
    answer(|count| {
        for _ in 0..count {
            wake_there.wake().expect("eventfd");
            await_wake(&mut here, &mut events);
        }
    });
}

fn await_wake(poll: &mut Poll, events: &mut Events) {
    loop {
        poll.poll(events, None).expect("epoll");
        if !events.is_empty() {
            return;
        }
    }
}
