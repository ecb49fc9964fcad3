//! Options of TCP connections and listeners, read back from the kernel or seen in what they do.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Cx, Keepalive, Key, Listening, Loop, Mode, StreamEvent};
use real_loop::real_loop;
use socket2::SockRef;
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A stream of the loop's, a second descriptor of the same socket to look at it, and the other end.
fn watched_stream<S: 'static>(event_loop: &mut Loop<S>) -> (Key, TcpStream, TcpStream) {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    let window = ours.try_clone().unwrap();
    let key = event_loop.main(|cx| cx.open_tcp(ours).unwrap());
    (key, window, theirs)
}

#[test]
fn options_reach_the_socket() {
    let mut event_loop = real_loop(());
    let (key, window, _theirs) = watched_stream(&mut event_loop);
    event_loop.main(|cx| {
        cx.set_nodelay(key, true).unwrap();
        assert!(window.nodelay().unwrap());
        cx.set_nodelay(key, false).unwrap();
        assert!(!window.nodelay().unwrap());

        let socket = SockRef::from(&window);
        assert!(!socket.keepalive().unwrap());
        let keepalive =
            Keepalive { interval: Duration::from_secs(7), ..Keepalive::after(Duration::from_secs(90)) };
        cx.set_keepalive(key, Some(keepalive)).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(90));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 10);
        cx.set_keepalive(key, None).unwrap();
        assert!(!socket.keepalive().unwrap());

        cx.set_linger(key, Some(Duration::ZERO)).unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        cx.set_linger(key, None).unwrap();
        assert_eq!(socket.linger().unwrap(), None);
        let refused = cx.set_linger(key, Some(Duration::from_secs(1))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);

        cx.close(key);
        assert_eq!(cx.set_nodelay(key, true).unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(cx.set_keepalive(key, None).unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(!cx.reset(key));
        let (reader, _) = cx.pipe().unwrap();
        assert!(cx.set_nodelay(reader, true).is_err() && !cx.reset(reader) && cx.is_open(reader));
    });
}

#[test]
fn a_reset_stream_is_an_error_at_the_other_end() {
    let mut event_loop = real_loop(());
    let (key, window, mut theirs) = watched_stream(&mut event_loop);
    drop(window);
    event_loop.main(|cx| {
        cx.write(key, b"never read").unwrap();
        assert!(cx.reset(key) && !cx.is_open(key));
    });
    event_loop.run(Mode::Default).unwrap();
    let mut all = Vec::new();
    assert_eq!(theirs.read_to_end(&mut all).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_stream_still_receives_and_the_other_side_still_sends() {
    let mut event_loop = real_loop(Vec::new());
    let (key, window, mut theirs) = watched_stream(&mut event_loop);
    drop(window);
    let peer = std::thread::spawn(move || {
        let mut question = Vec::new();
        // Returns only once the other side has ended.
        theirs.read_to_end(&mut question).unwrap();
        theirs.write_all(&question).unwrap();
    });
    event_loop.main(|cx| {
        cx.on_stream(key, |cx, key, event| match event {
            StreamEvent::Data(bytes) => cx.state.extend_from_slice(bytes),
            StreamEvent::End => drop(cx.close(key)),
            other => panic!("{other:?}"),
        });
        cx.write(key, b"question").unwrap();
        assert!(cx.shutdown(key));
        assert_eq!(cx.write(key, b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    peer.join().unwrap();
    assert_eq!(event_loop.into_state(), b"question");
}

#[test]
fn loops_share_a_port_and_the_kernel_spreads_connections_over_them() {
    const CLIENTS: usize = 64;
    let accept = |cx: &mut Cx<'_, usize>, accepted: std::io::Result<Key>| {
        *cx.state += 1;
        cx.close(accepted.unwrap());
    };
    let shared = Listening::default().reuse_port(true);
    let mut loops = [real_loop(0), real_loop(0), real_loop(0)];
    let mut address = anywhere();
    for event_loop in &mut loops {
        address = event_loop.main(|cx| {
            let listener = cx.listen_with(address, shared, accept).unwrap();
            cx.local_addr(listener).unwrap()
        });
    }
    let alone = loops[0].main(|cx| cx.listen_with(address, Listening::default(), accept).unwrap_err());
    assert_eq!(alone.kind(), ErrorKind::AddrInUse, "all of them must ask for it");
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    while loops.iter().map(|event_loop| *event_loop.state()).sum::<usize>() < CLIENTS {
        for event_loop in &mut loops {
            assert!(event_loop.run(Mode::NoWait).unwrap(), "its listener keeps it alive");
        }
    }
    let counts: Vec<usize> = loops.iter().map(|event_loop| *event_loop.state()).collect();
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    drop(clients);
}

#[test]
fn a_backlog_and_an_address_of_version_six_are_taken_as_asked() {
    let mut event_loop = real_loop(());
    let both = Listening::default().backlog(u32::MAX);
    let address = event_loop.main(|cx| {
        let listener = cx.listen_with((Ipv6Addr::UNSPECIFIED, 0).into(), both, |_, _| {}).unwrap();
        cx.local_addr(listener).unwrap()
    });
    TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
    let address = event_loop.main(|cx| {
        let only = both.only_v6(true);
        let listener = cx.listen_with((Ipv6Addr::UNSPECIFIED, 0).into(), only, |_, _| {}).unwrap();
        cx.local_addr(listener).unwrap()
    });
    TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap_err();
    TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
}

#[test]
fn a_listener_that_was_made_elsewhere_is_served() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut event_loop = real_loop(0);
    let slot = Rc::new(Cell::new(None));
    let own = slot.clone();
    event_loop.main(|cx| {
        let key = cx.listen_on(listener, move |cx, accepted| {
            *cx.state += 1;
            cx.close(accepted.unwrap());
            cx.close(own.get().unwrap());
        });
        slot.set(Some(key.unwrap()));
    });
    let _client = TcpStream::connect(address).unwrap();
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), 1);
}
