//! TCP over loopback: no byte is lost, nobody starves, and failures arrive as events.

use loopscope_loop::{Cx, Key, Loop, Mode, PanicPolicy, StreamEvent, Wrote};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A free port of the loopback address.
fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Ends a test that hangs.
fn give_up<S: 'static>(cx: &mut Cx<'_, S>) {
    let key = cx.after(Duration::from_secs(60), |_| panic!("nothing happened for a minute"));
    cx.unref(key);
}

/// Bytes that differ from place to place.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[derive(Default)]
struct Pair {
    listener: Option<Key>,
    server: Option<Key>,
    received: Vec<u8>,
    notes: Vec<String>,
    count: usize,
}

/// Listens, connects once, and gives both streams to `start`; closes the listener then.
fn connected(cx: &mut Cx<'_, Pair>, start: impl Fn(&mut Cx<'_, Pair>, Key, Key) + 'static) {
    let listener = cx.listen(anywhere(), |cx, accepted| cx.state.server = Some(accepted.unwrap())).unwrap();
    let address = cx.local_addr(listener).unwrap();
    let start = std::rc::Rc::new(start);
    cx.connect(address, move |cx, client| {
        let client = client.unwrap();
        when_accepted(cx, listener, client, start);
    })
    .unwrap();
    give_up(cx);
}

fn when_accepted(
    cx: &mut Cx<'_, Pair>,
    listener: Key,
    client: Key,
    start: std::rc::Rc<impl Fn(&mut Cx<'_, Pair>, Key, Key) + 'static>,
) {
    match cx.state.server {
        Some(server) => {
            cx.close(listener);
            start(cx, client, server);
        }
        None => {
            cx.immediate(move |cx| when_accepted(cx, listener, client, start));
        }
    }
}

/// Collects what a stream receives; closes it at the end.
fn collect(cx: &mut Cx<'_, Pair>, key: Key) {
    cx.on_stream(key, |cx, key, event| match event {
        StreamEvent::Data(bytes) => cx.state.received.extend_from_slice(bytes),
        StreamEvent::End => {
            cx.close(key);
        }
        StreamEvent::Drained => {}
        StreamEvent::Error(error) => panic!("{error}"),
    });
}

#[test]
fn an_echo_comes_back_and_the_loop_ends() {
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        connected(cx, |cx, client, server| {
            cx.on_stream(server, |cx, key, event| match event {
                StreamEvent::Data(bytes) => assert_eq!(cx.write(key, bytes).unwrap(), Wrote::All),
                StreamEvent::End => {
                    assert!(cx.shutdown(key));
                    assert!(!cx.shutdown(key), "only once");
                    cx.close(key);
                }
                _ => {}
            });
            assert_eq!(cx.peer_addr(client), cx.local_addr(server));
            collect(cx, client);
            cx.write(client, b"hello, ").unwrap();
            cx.write(client, b"").unwrap();
            cx.write(client, b"loop").unwrap();
            cx.shutdown(client);
            assert_eq!(cx.write(client, b"!").unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().received, b"hello, loop");
}

#[test]
fn a_big_write_to_a_slow_reader_loses_no_byte() {
    const BYTES: usize = 8 << 20;
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        connected(cx, |cx, client, server| {
            cx.on_stream(server, |cx, _, event| {
                if matches!(event, StreamEvent::Drained) {
                    cx.state.notes.push("drained".into());
                }
            });
            cx.pause(server);
            collect(cx, client);
            cx.pause(client);
            let wrote = cx.write(server, &pattern(BYTES)).unwrap();
            assert!(matches!(wrote, Wrote::Full(count) if count > 0 && count < BYTES), "{wrote:?}");
            assert!(cx.queued_bytes(server).unwrap() > 0);
            cx.shutdown(server);
            // The reader reads in short bouts.
            cx.every(Duration::from_millis(1), move |cx| {
                cx.state.count += 1;
                let is_reading = cx.state.count % 2 == 0;
                if is_reading {
                    cx.resume(client)
                } else {
                    cx.pause(client)
                };
                if !cx.is_open(client) {
                    cx.close(server);
                    cx.stop();
                }
            });
        });
    });
    event_loop.run(Mode::Default).unwrap();
    let state = event_loop.into_state();
    assert!(state.received == pattern(BYTES), "{} of {BYTES} bytes", state.received.len());
    assert_eq!(state.notes, ["drained"]);
}

#[test]
fn a_refused_connection_arrives_as_an_error_in_the_poll_phase() {
    let closed = std::net::TcpListener::bind(anywhere()).unwrap().local_addr().unwrap();
    let mut event_loop = Loop::builder(Vec::new()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let key = cx
            .connect(closed, |cx, outcome: io::Result<Key>| {
                let kind = outcome.unwrap_err().kind();
                cx.state.push((kind, cx.phase().name()));
            })
            .unwrap();
        assert!(!cx.unref(key) || cx.is_open(key));
        assert!(cx.state.is_empty(), "never from inside the call");
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [(ErrorKind::ConnectionRefused, "poll")]);
}

#[test]
fn closing_while_connecting_gives_the_callback_its_error_before_the_close_callback() {
    let open = std::net::TcpListener::bind(anywhere()).unwrap();
    let address = open.local_addr().unwrap();
    let mut event_loop = Loop::builder(Vec::new()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let key = cx.connect(address, |cx, outcome| cx.state.push(outcome.unwrap_err().kind().to_string()));
        cx.close_with(key.unwrap(), |cx| cx.state.push("closed".into()));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["connection aborted", "closed"]);
}

#[test]
fn what_is_written_while_connecting_is_sent_after() {
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let listener = cx
            .listen(anywhere(), |cx, accepted| {
                collect(cx, accepted.unwrap());
                let listener = cx.state.listener.unwrap();
                cx.close(listener);
            })
            .unwrap();
        cx.state.listener = Some(listener);
        let address = cx.local_addr(listener).unwrap();
        let client = cx.connect(address, |_, client| assert!(client.is_ok())).unwrap();
        assert_eq!(cx.write(client, b"early").unwrap(), Wrote::Queued(5));
        assert!(cx.shutdown(client));
        give_up(cx);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().received, b"early");
}

#[test]
fn a_stream_that_was_given_its_callback_while_connecting_keeps_the_loop_alive() {
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let listener = cx
            .listen(anywhere(), |cx, accepted| {
                let (server, listener) = (accepted.unwrap(), cx.state.listener.unwrap());
                cx.close(listener);
                // Nothing but the client's reading keeps the loop alive until this is over.
                let answer = cx.after(Duration::from_millis(20), move |cx| {
                    cx.write(server, b"late").unwrap();
                    cx.close(server);
                });
                cx.unref(answer);
            })
            .unwrap();
        cx.state.listener = Some(listener);
        let address = cx.local_addr(listener).unwrap();
        let client = cx.connect(address, |_, client| assert!(client.is_ok())).unwrap();
        collect(cx, client);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().received, b"late");
}

#[test]
fn a_stream_that_never_empties_does_not_keep_a_timer_or_another_stream_waiting() {
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        connected(cx, |cx, client, server| {
            // Both sides always have something to read: what arrives is sent back, doubled at first.
            for key in [client, server] {
                cx.on_stream(key, |cx, key, event| {
                    if let StreamEvent::Data(bytes) = event {
                        cx.state.count += bytes.len();
                        if cx.queued_bytes(key) == Some(0) {
                            cx.write(key, bytes).unwrap();
                        }
                    }
                });
            }
            cx.write(client, &pattern(1 << 20)).unwrap();
            cx.every(Duration::from_millis(1), move |cx| {
                cx.state.notes.push("timer".into());
                if cx.state.notes.len() == 20 && cx.state.count > 0 {
                    cx.stop();
                }
            });
        });
    });
    assert!(event_loop.run(Mode::Default).unwrap(), "stopped, not ended");
    assert!(event_loop.state().count > 0);
}

#[test]
fn a_callback_may_close_its_own_stream_and_the_others_of_its_batch() {
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        connected(cx, |cx, client, server| {
            for (key, other) in [(client, server), (server, client)] {
                cx.on_stream(key, move |cx, key, event| {
                    assert!(matches!(event, StreamEvent::Data(b"x")), "{event:?}");
                    cx.state.notes.push("data".into());
                    assert!(cx.close(key) && cx.close(other));
                    assert!(!cx.close(key), "stale");
                    assert_eq!(cx.write(key, b"y").unwrap_err().kind(), ErrorKind::NotConnected);
                });
            }
            cx.write(client, b"x").unwrap();
            cx.write(server, b"x").unwrap();
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().notes, ["data"], "the other's event was stale");
}

#[test]
fn an_address_in_use_is_an_error_of_listen_and_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind(anywhere()).unwrap();
    let mut event_loop = Loop::new().unwrap();
    let error = event_loop.main(|cx| cx.listen(taken.local_addr().unwrap(), |_, _| {}).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn an_unreferenced_listener_lets_the_loop_end() {
    let mut event_loop = Loop::new().unwrap();
    let key = event_loop.main(|cx| cx.listen(anywhere(), |_, _| {}).unwrap());
    assert!(event_loop.main(|cx| cx.unref(key)));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(event_loop.main(|cx| cx.ref_(key) && cx.is_open(key)));
    assert!(event_loop.run(Mode::NoWait).unwrap());
}

#[test]
fn a_loop_in_virtual_time_says_that_it_has_no_sockets() {
    let mut event_loop = Loop::builder(()).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        assert_eq!(cx.listen(anywhere(), |_, _| {}).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(cx.connect(anywhere(), |_, _| {}).unwrap_err().kind(), ErrorKind::Unsupported);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn hundreds_of_connections_are_all_accepted_and_answered() {
    const CONNECTIONS: usize = 200;
    let mut event_loop = Loop::builder(Pair::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let listener = cx
            .listen(anywhere(), |cx, accepted| {
                cx.on_stream(accepted.unwrap(), |cx, key, event| match event {
                    StreamEvent::Data(bytes) => assert_eq!(cx.write(key, bytes).unwrap(), Wrote::All),
                    _ => assert!(cx.close(key)),
                });
            })
            .unwrap();
        let address = cx.local_addr(listener).unwrap();
        for _ in 0..CONNECTIONS {
            cx.connect(address, move |cx, client| {
                let client = client.unwrap();
                cx.write(client, b"ping").unwrap();
                cx.on_stream(client, move |cx, key, event| {
                    assert!(matches!(event, StreamEvent::Data(b"ping")), "{event:?}");
                    cx.close(key);
                    cx.state.count += 1;
                    if cx.state.count == CONNECTIONS {
                        cx.close(listener);
                    }
                });
            })
            .unwrap();
        }
        give_up(cx);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().count, CONNECTIONS);
}
