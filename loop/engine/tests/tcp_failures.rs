//! What breaks on a connection, and what a callback may break itself: everything is told, nothing hangs or leaks.

use loopscope_loop::{Cx, Key, Loop, Mode, PanicPolicy, StreamEvent, Wrote};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

type Log = Vec<String>;

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn real_loop(policy: PanicPolicy) -> Loop<Log> {
    let mut event_loop = Loop::builder(Log::new()).on_panic(policy).build().unwrap();
    event_loop.main(|cx| {
        // Ends a test that hangs, under every policy.
        let key = cx.after(Duration::from_secs(60), |_| {
            eprintln!("nothing happened for a minute");
            std::process::abort();
        });
        cx.unref(key);
    });
    event_loop
}

/// Listens, hands the first connection to `serve` and closes the listener. Returns the other end, which blocks.
fn served(event_loop: &mut Loop<Log>, mut serve: impl FnMut(&mut Cx<'_, Log>, Key) + 'static) -> TcpStream {
    let slot = std::rc::Rc::new(std::cell::Cell::new(None));
    let own = slot.clone();
    let address = event_loop.main(|cx| {
        let listener = cx
            .listen(anywhere(), move |cx, accepted| {
                assert!(cx.close(own.get().unwrap()), "a listener may close itself");
                serve(cx, accepted.unwrap());
            })
            .unwrap();
        slot.set(Some(listener));
        cx.local_addr(listener).unwrap()
    });
    TcpStream::connect(address).unwrap()
}

/// Closes a connection so that the other side gets a reset.
fn reset(client: TcpStream) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

fn note(cx: &mut Cx<'_, Log>, key: Key, event: StreamEvent<'_>) {
    match event {
        StreamEvent::Data(bytes) => cx.state.push(format!("{} bytes", bytes.len())),
        StreamEvent::End => cx.state.push("end".into()),
        StreamEvent::Drained => cx.state.push("drained".into()),
        StreamEvent::Error(error) => {
            cx.state.push(error.kind().to_string());
            cx.close(key);
        }
    }
}

#[test]
fn a_reset_arrives_as_an_error_with_the_system_s_number() {
    let mut event_loop = real_loop(PanicPolicy::Propagate);
    let mut client = served(&mut event_loop, |cx, key| {
        cx.on_stream(key, |cx, key, event| {
            if let StreamEvent::Error(error) = &event {
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CONNRESET.raw_os_error()));
            }
            note(cx, key, event);
        });
    });
    client.write_all(b"abc").unwrap();
    event_loop.main(|cx| {
        let poll = cx.on(loopscope_loop::Hook::Check, |_| {});
        let mut client = Some(client);
        cx.every(Duration::from_millis(1), move |cx| {
            if cx.state.first().is_some_and(|first| first == "3 bytes")
                && let Some(client) = client.take()
            {
                reset(client);
            }
            if cx.state.len() == 2 {
                cx.close(poll);
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), ["3 bytes", "connection reset"]);
}

#[test]
fn a_reset_with_bytes_queued_breaks_the_writing_side_once() {
    let mut event_loop = real_loop(PanicPolicy::Propagate);
    let client = served(&mut event_loop, |cx, key| {
        cx.on_stream(key, |cx, _, event| {
            match event {
                StreamEvent::Error(error) => cx.state.push(error.kind().to_string()),
                // The kernel reports a reset once: to the write, and then reading just ends.
                StreamEvent::End => assert_eq!(cx.state.len(), 1),
                other => panic!("{other:?}"),
            }
        });
        cx.write(key, &vec![b'x'; 32 << 20]).unwrap();
        assert!(cx.queued_bytes(key).unwrap() > 0);
        cx.every(Duration::from_millis(1), move |cx| {
            if !cx.state.is_empty() && cx.queued_bytes(key) == Some(0) {
                assert_eq!(cx.write(key, b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
                cx.close(key);
                cx.stop();
            }
        });
    });
    event_loop.main(|cx| {
        let mut client = Some(client);
        cx.after(Duration::from_millis(5), move |_| {
            if let Some(client) = client.take() {
                reset(client);
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    let told = event_loop.into_state();
    assert!(told.iter().all(|kind| ["connection reset", "broken pipe"].contains(&kind.as_str())), "{told:?}");
    assert!((1..=2).contains(&told.len()), "one error for each direction at most: {told:?}");
}

#[test]
fn every_key_of_a_batch_may_be_closed_by_a_connect_callback() {
    let open = TcpListener::bind(anywhere()).unwrap();
    let address = open.local_addr().unwrap();
    let mut event_loop = real_loop(PanicPolicy::Propagate);
    event_loop.main(|cx| {
        for _ in 0..4 {
            cx.connect(address, move |cx, outcome: io::Result<Key>| {
                cx.state
                    .push(outcome.as_ref().map_or_else(|error| error.kind().to_string(), |_| "made".into()));
                if let Ok(own) = outcome {
                    assert!(cx.close(own));
                    assert!(!cx.is_open(own));
                }
            })
            .unwrap();
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["made"; 4]);
}

/// A kind of callback, and a way to have one.
type Setup = (&'static str, fn(&mut Loop<Log>) -> TcpStream);

/// Ways to get a callback of a socket that panics the first time it is called.
fn sockets_that_panic() -> Vec<Setup> {
    fn first(cx: &mut Cx<'_, Log>) {
        let is_first = !cx.state.iter().any(|note| note == "called");
        cx.state.push("called".into());
        assert!(!is_first, "boom");
    }
    fn reading(cx: &mut Cx<'_, Log>, key: Key) {
        cx.on_stream(key, |cx, key, event| match event {
            StreamEvent::Data(_) => first(cx),
            _ => drop(cx.close(key)),
        });
    }
    let listening = |event_loop: &mut Loop<Log>| {
        let slot = std::rc::Rc::new(std::cell::Cell::new(None));
        let own = slot.clone();
        let address = event_loop.main(|cx| {
            let listener = cx.listen(anywhere(), move |cx, accepted| {
                cx.close(accepted.unwrap());
                if !cx.state.is_empty() {
                    cx.close(own.get().unwrap());
                }
                first(cx);
            });
            slot.set(Some(*listener.as_ref().unwrap()));
            cx.local_addr(listener.unwrap()).unwrap()
        });
        drop(TcpStream::connect(address).unwrap());
        TcpStream::connect(address).unwrap()
    };
    vec![
        ("accept", listening),
        ("io_read", |event_loop| served(event_loop, reading)),
        ("io_write", |event_loop| {
            served(event_loop, |cx, key| {
                while cx.write(key, &vec![b'x'; 16 << 20]).unwrap() == Wrote::All {}
                cx.on_stream(key, |cx, key, event| match event {
                    StreamEvent::Drained => {
                        assert!(cx.shutdown(key) && cx.close(key));
                        first(cx);
                    }
                    StreamEvent::Data(_) | StreamEvent::End => {}
                    StreamEvent::Error(error) => panic!("{error}"),
                });
            })
        }),
        ("connect", |event_loop| {
            let open = TcpListener::bind(anywhere()).unwrap();
            event_loop.main(|cx| {
                cx.connect(open.local_addr().unwrap(), |cx, made| {
                    reading(cx, made.unwrap());
                    first(cx);
                })
                .unwrap();
            });
            open.accept().unwrap().0
        }),
    ]
}

/// Plays the other side: sends twice, reads to the end.
fn play(mut client: TcpStream) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        // The server may be through with it already.
        let _ = client.write_all(b"one").and_then(|()| client.write_all(b"two"));
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    })
}

#[test]
fn a_panic_in_a_callback_of_a_socket_is_survived_and_the_socket_lives_on() {
    for (kind, start) in sockets_that_panic() {
        let mut event_loop = real_loop(PanicPolicy::Continue);
        let client = play(start(&mut event_loop));
        assert!(!event_loop.run(Mode::Default).unwrap());
        let page = event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap());
        let errors: Vec<_> = loopscope_probe::Kind::ALL[..loopscope_probe::Kind::CALLBACKS]
            .iter()
            .filter(|kind| page.errors[kind.index()] > 0)
            .map(|kind| kind.name())
            .collect();
        assert_eq!(errors, [kind]);
        drop(event_loop);
        client.join().unwrap();
    }
}

#[test]
fn a_panic_in_a_callback_of_a_socket_stops_the_loop_where_that_was_asked_for() {
    for (kind, start) in sockets_that_panic() {
        let mut event_loop = real_loop(PanicPolicy::Stop);
        let client = play(start(&mut event_loop));
        let error = event_loop.run(Mode::Default).unwrap_err();
        let panicked = error.get_ref().unwrap().downcast_ref::<loopscope_loop::CallbackPanicked>().unwrap();
        assert_eq!(panicked.kind, kind);
        assert!(!event_loop.run(Mode::Default).unwrap(), "{kind}: the rest is served by the next run");
        drop(event_loop);
        client.join().unwrap();
    }
}
