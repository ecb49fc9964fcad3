//! Back-pressure, fairness and time-outs: a slow or silent peer costs neither bytes nor the others their turns.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent, Wrote};
use real_loop::real_loop;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 + index / 251) as u8).collect()
}

/// Listens; every connection is handed to `serve`, and the last of `count` closes the listener.
fn listen<S: 'static>(
    event_loop: &mut Loop<S>,
    count: usize,
    mut serve: impl FnMut(&mut Cx<'_, S>, Key, usize) + 'static,
) -> SocketAddr {
    let slot = Rc::new(Cell::new(None));
    let own = slot.clone();
    let mut number = 0;
    event_loop.main(|cx| {
        let listener = cx
            .listen(anywhere(), move |cx, accepted| {
                serve(cx, accepted.unwrap(), number);
                number += 1;
                if number == count {
                    cx.close(own.get().unwrap());
                }
            })
            .unwrap();
        slot.set(Some(listener));
        cx.local_addr(listener).unwrap()
    })
}

#[test]
fn write_tells_when_the_queue_reaches_its_high_water_mark() {
    let mut event_loop = real_loop(Vec::new());
    let (go, wait) = mpsc::channel::<()>();
    let address = listen(&mut event_loop, 1, move |cx, key, _| {
        // Fill the kernel's buffers first: from then on every byte is queued.
        while !matches!(cx.write(key, &[b'x'; 1 << 16]).unwrap(), Wrote::Queued(_) | Wrote::Full(_)) {}
        let queued = cx.queued_bytes(key).unwrap();
        assert!(cx.set_high_water(key, queued + 100));
        assert_eq!(cx.write(key, &[b'y'; 99]).unwrap(), Wrote::Queued(queued + 99));
        assert_eq!(cx.write(key, b"z").unwrap(), Wrote::Full(queued + 100));
        let more = cx.write(key, b"!").unwrap();
        assert!(more.is_full() && more.queued_bytes() == queued + 101, "nothing is refused");
        assert_eq!(cx.write(key, b"").unwrap(), more);
        let go = go.clone();
        cx.on_stream(key, move |cx, key, event| match event {
            StreamEvent::Drained => {
                assert_eq!(cx.queued_bytes(key), Some(0));
                assert_eq!(cx.write(key, b"end").unwrap(), Wrote::All);
                cx.state.push("drained");
                cx.shutdown(key);
            }
            StreamEvent::End => drop(cx.close(key)),
            other => panic!("{other:?}"),
        });
        go.send(()).unwrap();
    });
    let reader = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        wait.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    // The loop lives on while something is queued, although nothing reads.
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(reader.join().unwrap().ends_with(b"yyz!end"));
    assert_eq!(event_loop.into_state(), ["drained"]);
}

#[test]
fn a_peer_that_does_not_read_for_long_loses_nothing_that_was_accepted() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 24;
    let mut event_loop = real_loop(());
    let (go, wait) = mpsc::channel::<()>();
    let address = listen(&mut event_loop, 1, move |cx, key, _| {
        let whole = pattern(PIECES * PIECE);
        let mut pieces: Vec<Vec<u8>> = whole.chunks(PIECE).rev().map(<[u8]>::to_vec).collect();
        let go = go.clone();
        // One piece in every millisecond, whatever write says.
        cx.every(ms(1), move |cx| {
            if let Some(piece) = pieces.pop() {
                cx.write(key, &piece).unwrap();
            } else if cx.is_open(key) && cx.shutdown(key) {
                assert!(cx.queued_bytes(key).unwrap() > PIECE);
                go.send(()).unwrap();
                cx.on_stream(key, |cx, key, event| match event {
                    StreamEvent::Drained => {}
                    StreamEvent::End => {
                        cx.close(key);
                        cx.stop();
                    }
                    other => panic!("{other:?}"),
                });
            }
        });
    });
    let reader = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        wait.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    event_loop.run(Mode::Default).unwrap();
    assert!(reader.join().unwrap() == pattern(PIECES * PIECE));
}

#[test]
fn slices_are_sent_in_their_order_at_once_and_from_the_queue() {
    let mut event_loop = real_loop(());
    let whole = pattern(16 << 20);
    let expected = whole.clone();
    let (go, wait) = mpsc::channel::<()>();
    let address = listen(&mut event_loop, 1, move |cx, key, _| {
        let (head, rest) = whole.split_at(10);
        let slices = &mut [IoSlice::new(&head[..4]), IoSlice::new(b""), IoSlice::new(&head[4..])];
        assert_eq!(cx.write_vectored(key, slices).unwrap(), Wrote::All);
        assert_eq!(cx.write_vectored(key, &mut []).unwrap(), Wrote::All);
        assert_eq!(cx.write_vectored(key, &mut [IoSlice::new(b"")]).unwrap(), Wrote::All);
        let mut is_queued = false;
        for chunk in rest.chunks(300_000) {
            let (front, back) = chunk.split_at(chunk.len() / 3);
            let wrote = cx.write_vectored(key, &mut [IoSlice::new(front), IoSlice::new(back)]).unwrap();
            is_queued |= wrote != Wrote::All;
        }
        assert!(is_queued, "the test has to reach the queue");
        cx.shutdown(key);
        go.send(()).unwrap();
        cx.on_stream(key, |cx, key, event| {
            if matches!(event, StreamEvent::End) {
                cx.close(key);
            }
        });
    });
    let reader = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        wait.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(reader.join().unwrap() == expected);
}

#[derive(Default)]
struct Turns {
    /// Reads of the busy stream in each iteration.
    busy: HashMap<u64, usize>,
    echoed: usize,
    done: usize,
}

/// A turn is sixteen reads or writes.
const READS_PER_TURN: usize = 16;

#[test]
fn one_busy_stream_does_not_starve_the_others() {
    const QUIET: usize = 20;
    const ROUNDS: usize = 200;
    let mut event_loop = real_loop(Turns::default());
    let address = listen(&mut event_loop, QUIET + 1, |cx, key, number| {
        cx.on_stream(key, move |cx, key, event| match event {
            // The first connection sends without end.
            StreamEvent::Data(_) if number == 0 => {
                let iteration = cx.iteration();
                *cx.state.busy.entry(iteration).or_default() += 1;
            }
            StreamEvent::Data(bytes) => {
                assert_eq!(cx.write(key, bytes).unwrap(), Wrote::All);
                cx.state.echoed += bytes.len();
            }
            StreamEvent::End if number > 0 => {
                cx.close(key);
                cx.state.done += 1;
                if cx.state.done == QUIET {
                    cx.stop();
                }
            }
            other => panic!("{other:?}"),
        });
    });
    let mut flood = TcpStream::connect(address).unwrap();
    let busy = std::thread::spawn(move || while flood.write_all(&[b'x'; 1 << 18]).is_ok() {});
    let quiet = std::thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..QUIET).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut byte = [0];
        for _ in 0..ROUNDS {
            clients.iter_mut().for_each(|client| client.write_all(b"?").unwrap());
            clients.iter_mut().for_each(|client| client.read_exact(&mut byte).unwrap());
        }
    });
    event_loop.run(Mode::Default).unwrap();
    quiet.join().unwrap();
    let Turns { busy: reads, echoed, .. } = event_loop.into_state();
    busy.join().unwrap();
    assert_eq!(echoed, QUIET * ROUNDS);
    let most = reads.values().copied().max().unwrap();
    assert!(most <= READS_PER_TURN, "{most} reads of the busy stream in one iteration");
}

#[test]
fn a_stream_on_which_nothing_moves_is_told_once_and_again_after_it_moved() {
    let mut event_loop = real_loop(Vec::new());
    let (answer, wait) = mpsc::channel::<()>();
    let address = listen(&mut event_loop, 1, move |cx, key, _| {
        cx.on_stream(key, |cx, key, event| match event {
            StreamEvent::Data(_) => cx.state.push(("data", cx.now())),
            StreamEvent::End => drop(cx.close(key)),
            other => panic!("{other:?}"),
        });
        assert!(cx.on_idle(key, ms(10_000), |_, _| panic!("it was replaced")));
        assert!(cx.on_idle(key, ms(20), |cx, key| {
            cx.state.push(("idle", cx.now()));
            if cx.state.len() == 1 {
                // Bytes that leave are a move, too.
                assert_eq!(cx.write(key, b"?").unwrap(), Wrote::All);
            }
            if cx.state.iter().any(|(name, _)| *name == "data") {
                cx.shutdown(key);
            }
        }));
        let answer = answer.clone();
        cx.after(ms(150), move |_| answer.send(()).unwrap());
    });
    let peer = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        wait.recv().unwrap();
        client.write_all(b"!").unwrap();
        assert_eq!(client.read(&mut byte).unwrap(), 0);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    peer.join().unwrap();
    let told = event_loop.into_state();
    let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    // The second may be missing on a machine that stood still for the whole wait.
    assert!(
        [&["idle", "idle", "data", "idle"][..], &["idle", "data", "idle"]].contains(&&names[..]),
        "{names:?}"
    );
    assert!(told.windows(2).all(|pair| pair[1].0 == "data" || pair[1].1 - pair[0].1 >= ms(20)), "{told:?}");
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    // A backlog that is full: the kernel drops what comes beyond.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&anywhere().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut event_loop = real_loop((0, 0));
    event_loop.main(|cx| {
        for _ in 0..8 {
            let key = cx.connect(address, |cx, made| match made {
                Ok(key) => {
                    cx.state.0 += 1;
                    cx.close(key);
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
                    cx.state.1 += 1;
                }
            });
            cx.on_idle(key.unwrap(), ms(30), |cx, key| assert!(cx.close(key)));
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let (made, timed_out) = event_loop.into_state();
    assert!(made + timed_out == 8 && timed_out > 0, "{made} made, {timed_out} timed out");
}

#[test]
fn time_outs_do_not_keep_the_loop_alive_and_end_with_their_stream() {
    let mut event_loop = real_loop(());
    let address = listen(&mut event_loop, 1, |cx, key, _| {
        // Nothing reads it, so only the time-out is there.
        cx.on_idle(key, ms(1), |_, _| panic!("the loop has ended"));
    });
    let _client = TcpStream::connect(address).unwrap();
    assert!(!event_loop.run(Mode::Default).unwrap());
    let mut event_loop = real_loop(());
    let address = listen(&mut event_loop, 1, |cx, key, _| {
        cx.on_idle(key, ms(1), |_, _| panic!("it was cleared"));
        assert!(cx.clear_idle(key) && !cx.clear_idle(key));
        cx.on_idle(key, ms(1), |_, _| panic!("its stream was closed"));
        cx.close(key);
        cx.after(ms(20), |_| {});
    });
    let _client = TcpStream::connect(address).unwrap();
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn a_paused_stream_reads_nothing_and_a_resumed_one_everything() {
    let mut event_loop = real_loop(Vec::<u8>::new());
    let address = listen(&mut event_loop, 1, |cx, key, _| {
        cx.on_stream(key, |cx, key, event| match event {
            StreamEvent::Data(bytes) => {
                cx.state.extend_from_slice(bytes);
                // From inside its own callback; the rest of what arrived stays in the kernel.
                cx.pause(key);
                cx.after(ms(1), move |cx| assert!(cx.resume(key)));
            }
            StreamEvent::End => drop(cx.close(key)),
            other => panic!("{other:?}"),
        });
    });
    let peer = std::thread::spawn(move || {
        TcpStream::connect(address).unwrap().write_all(&pattern(2 << 20)).unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    peer.join().unwrap();
    assert!(event_loop.into_state() == pattern(2 << 20));
}
