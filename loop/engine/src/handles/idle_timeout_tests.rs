//! Time-outs of idle streams, counted: what a refresh costs, and what is left of streams that were closed.

use crate::event_loop::Loop;
use crate::handles::stream::StreamEvent;
use crate::{Key, Mode, PanicPolicy};
use std::net::Ipv4Addr;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

struct Pair {
    client: Option<Key>,
    server: Option<Key>,
    messages: usize,
}

/// Two connected streams, each with a time-out; the server echoes.
fn pair() -> Loop<Pair> {
    let state = Pair { client: None, server: None, messages: 0 };
    let mut event_loop = Loop::builder(state).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let listener = cx.listen((Ipv4Addr::LOCALHOST, 0).into(), |cx, server| {
            let server = server.unwrap();
            cx.on_stream(server, |cx, key, event| {
                if let StreamEvent::Data(bytes) = event {
                    cx.write(key, bytes).unwrap();
                }
            });
            cx.on_idle(server, LONG, |_, _| panic!("an hour in a test"));
            cx.state.server = Some(server);
        });
        let address = cx.local_addr(listener.unwrap()).unwrap();
        let client =
            cx.connect(address, |cx, client| assert!(cx.write(client.unwrap(), b"x").is_ok())).unwrap();
        cx.on_idle(client, LONG, |_, _| panic!("an hour in a test"));
        cx.state.client = Some(client);
    });
    event_loop
}

#[test]
fn reads_and_writes_put_a_time_out_off_without_touching_the_queue() {
    let mut event_loop = pair();
    event_loop.main(|cx| {
        cx.on_stream(cx.state.client.unwrap(), |cx, key, _| {
            cx.state.messages += 1;
            let now_ns = cx.core.clock.now_ns();
            assert_eq!(cx.core.idle.heap.len(), 2, "one entry for a stream, however often it moves");
            assert_eq!(cx.stream(key).map(|stream| stream.moved_ns), Some(now_ns));
            cx.write(key, b"x").unwrap();
            if cx.state.messages == 1_000 {
                cx.stop();
            }
        });
    });
    let deadlines: Vec<_> = event_loop.main(|cx| cx.core.idle.heap.clone().into_sorted_vec());
    event_loop.run(Mode::Default).unwrap();
    let later = event_loop.main(|cx| cx.core.idle.heap.clone().into_sorted_vec());
    assert_eq!(later.last(), deadlines.last(), "the client's deadline is the one of the beginning");
}

#[test]
fn time_outs_of_closed_streams_do_not_pile_up() {
    let mut event_loop = Loop::builder(()).build().unwrap();
    event_loop.main(|cx| {
        let open = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for _ in 0..500 {
            let key = cx.connect(open.local_addr().unwrap(), |_, _| {}).unwrap();
            assert!(cx.on_idle(key, LONG, |_, _| {}) && cx.on_idle(key, LONG * 2, |_, _| {}));
            assert!(cx.close(key));
            assert!(!cx.on_idle(key, LONG, |_, _| {}) && !cx.clear_idle(key));
            assert!(cx.core.idle.heap.len() <= 2 * super::DEAD_KEPT + 2, "{}", cx.core.idle.heap.len());
        }
    });
}
