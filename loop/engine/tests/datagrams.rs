//! Datagram sockets on loopback: whole, cut, refused, to a group, and over files.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Cx, DatagramEvent, Key, Mode, Peer, Wrote};
use real_loop::real_loop;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

type Log = Vec<String>;

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Notes what happens and closes the socket once `count` datagrams have come.
fn noting(count: usize) -> impl FnMut(&mut Cx<'_, Log>, Key, DatagramEvent<'_>) {
    let mut left = count;
    move |cx, key, event| {
        let DatagramEvent::Data(datagram) = event else { panic!("{event:?}") };
        let text = String::from_utf8_lossy(datagram.bytes);
        let note = match datagram.is_truncated() {
            true => format!("{text}.. of {}", datagram.length),
            false => text.into_owned(),
        };
        cx.state.push(note);
        left -= 1;
        if left == 0 {
            assert!(cx.close(key), "it may close itself");
        }
    }
}

#[test]
fn datagrams_arrive_whole_with_their_sender_also_empty_ones() {
    let mut event_loop = real_loop(Log::new());
    let peer = UdpSocket::bind(anywhere()).unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let address = event_loop.main(|cx| {
        let mut notes = noting(3);
        let key = cx.udp(anywhere(), move |cx, key, event| {
            if let DatagramEvent::Data(datagram) = &event {
                assert_eq!(datagram.from, Peer::Internet(peer_addr));
                assert_eq!(cx.send_to(key, datagram.bytes, &datagram.from).unwrap(), Wrote::All);
            }
            notes(cx, key, event);
        });
        cx.local_addr(key.unwrap()).unwrap()
    });
    for bytes in [&b"one"[..], b"", b"three"] {
        peer.send_to(bytes, address).unwrap();
    }
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["one", "", "three"]);
    let mut buffer = [0; 16];
    let lengths: Vec<usize> = (0..3).map(|_| peer.recv(&mut buffer).unwrap()).collect();
    assert_eq!(lengths, [3, 0, 5], "each was sent back");
}

#[test]
fn a_datagram_that_is_too_long_is_cut_and_that_is_seen() {
    let mut event_loop = real_loop(Log::new());
    let address = event_loop.main(|cx| {
        let key = cx.udp(anywhere(), noting(3)).unwrap();
        assert!(cx.set_datagram_max(key, 4));
        cx.local_addr(key).unwrap()
    });
    let peer = UdpSocket::bind(anywhere()).unwrap();
    for bytes in [&b"1234"[..], b"12345", b"123"] {
        peer.send_to(bytes, address).unwrap();
    }
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["1234", "1234.. of 5", "123"]);
}

#[test]
fn a_connected_socket_hears_only_its_peer_and_of_refusals() {
    let mut event_loop = real_loop(Log::new());
    let (peer, stranger) = (UdpSocket::bind(anywhere()).unwrap(), UdpSocket::bind(anywhere()).unwrap());
    let to = Peer::Internet(peer.local_addr().unwrap());
    let key = event_loop.main(|cx| {
        let key = cx.udp(anywhere(), |cx, key, event| match event {
            DatagramEvent::Data(datagram) => {
                cx.state.push(String::from_utf8_lossy(datagram.bytes).into_owned());
                cx.stop();
            }
            DatagramEvent::Error(error) => {
                cx.state.push(error.kind().to_string());
                cx.close(key);
            }
            DatagramEvent::Drained => panic!("nothing was queued"),
        });
        let key = key.unwrap();
        assert!(cx.send(key, b"nowhere").is_err(), "not connected");
        cx.connect_datagrams(key, &to).unwrap();
        assert_eq!(cx.peer_addr(key), Some(peer.local_addr().unwrap()));
        assert_eq!(cx.send(key, b"hello").unwrap(), Wrote::All);
        key
    });
    let address = event_loop.main(|cx| cx.local_addr(key).unwrap());
    stranger.send_to(b"not for you", address).unwrap();
    peer.send_to(b"answer", address).unwrap();
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(*event_loop.state(), ["answer"]);
    drop(peer);
    event_loop.main(|cx| drop(cx.send(key, b"anybody there?")));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state()[1..], ["connection refused"]);
}

#[test]
fn a_group_that_was_joined_is_heard_and_one_that_was_left_is_not() {
    let group = Ipv4Addr::new(239, 255, 71, 3);
    let mut event_loop = real_loop(Log::new());
    event_loop.main(|cx| {
        let key = cx.udp((Ipv4Addr::UNSPECIFIED, 0).into(), noting(2)).unwrap();
        let wrong = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(cx.join_multicast(key, wrong).is_err(), "not a group");
        cx.join_multicast_on(key, IpAddr::V4(group), Ipv4Addr::LOCALHOST, 0).unwrap();
        let port = cx.local_addr(key).unwrap().port();
        let sender = UdpSocket::bind(anywhere()).unwrap();
        socket2::SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        sender.send_to(b"to the group", (group, port)).unwrap();
        sender.send_to(b"to it alone", (Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(cx.leave_multicast(key, IpAddr::V4(Ipv4Addr::new(239, 255, 71, 4))).is_err(), "never joined");
        cx.set_multicast_loop(key, false).unwrap();
        cx.set_broadcast(key, true).unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["to the group", "to it alone"]);
}

/// A path that nothing is at.
fn free_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("loopscope-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn unix_datagrams_wait_in_the_queue_when_the_receiver_is_slow_and_none_is_lost() {
    const COUNT: usize = 1_000;
    let path = free_path("datagrams");
    let mut event_loop = real_loop((Vec::new(), 0));
    event_loop.main(|cx| {
        let mut next = 0_u32;
        let receiver = cx.unix_datagram(Some(&path), move |cx, key, event| {
            let DatagramEvent::Data(datagram) = event else { panic!("{event:?}") };
            assert_eq!((datagram.bytes, &datagram.from), (&next.to_le_bytes()[..], &Peer::Unnamed));
            next += 1;
            if next as usize == COUNT {
                cx.close(key);
            }
        });
        let receiver = receiver.unwrap();
        assert!(cx.pause(receiver));
        let sender = cx.unix_datagram(None, |cx, key, event| {
            assert!(matches!(event, DatagramEvent::Drained), "{event:?}");
            cx.state.1 += 1;
            cx.close(key);
        });
        let sender = sender.unwrap();
        cx.connect_datagrams(sender, &Peer::Unix(path.clone())).unwrap();
        let wrong_kind = cx.send_to(sender, b"x", &Peer::Internet(anywhere())).unwrap_err();
        assert_eq!(wrong_kind.kind(), ErrorKind::InvalidInput);
        for number in 0..COUNT as u32 {
            let wrote = cx.send(sender, &number.to_le_bytes()).unwrap();
            cx.state.0.push(wrote);
        }
        assert_eq!(cx.queued_bytes(sender), Some(cx.state.0.last().unwrap().queued_bytes()));
        cx.after(Duration::from_millis(5), move |cx| assert!(cx.resume(receiver)));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let (wrote, drained) = event_loop.into_state();
    assert!(wrote[0] == Wrote::All && wrote[COUNT - 1] != Wrote::All, "the test has to reach the queue");
    assert_eq!(drained, 1);
    assert!(!path.exists());
}

#[test]
fn one_flooded_socket_leaves_the_others_their_turns() {
    let mut event_loop = real_loop((0_usize, 0_u64, 0_usize));
    let (flooded, quiet) = event_loop.main(|cx| {
        let flooded = cx.udp(anywhere(), |cx, _, _| {
            let iteration = cx.iteration();
            let (in_turn, last, most) = &mut *cx.state;
            *in_turn = if *last == iteration { *in_turn + 1 } else { 1 };
            *last = iteration;
            *most = (*most).max(*in_turn);
        });
        let quiet = cx.udp(anywhere(), |cx, _, _| cx.stop());
        (cx.local_addr(flooded.unwrap()).unwrap(), cx.local_addr(quiet.unwrap()).unwrap())
    });
    let peer = UdpSocket::bind(anywhere()).unwrap();
    for _ in 0..100 {
        peer.send_to(b"flood", flooded).unwrap();
    }
    peer.send_to(b"stop", quiet).unwrap();
    event_loop.run(Mode::Default).unwrap();
    let (_, last, most) = event_loop.into_state();
    assert_eq!((last, most), (1, 16), "the quiet one was served in the same poll");
}

#[test]
fn sending_to_one_without_room_does_not_spin_and_loses_nothing() {
    const SENT: usize = 2000;
    let directory = std::env::temp_dir().join(format!("loopscope-{}-crowded", std::process::id()));
    let _ = std::fs::remove_file(&directory);
    let receiver = std::os::unix::net::UnixDatagram::bind(&directory).unwrap();
    let to = Peer::Unix(directory.clone());
    let mut event_loop = real_loop(None);
    let sender = event_loop.main(|cx| {
        let key = cx.unix_datagram(None, |cx, _, event| match event {
            DatagramEvent::Drained => *cx.state = Some(cx.iteration()),
            other => panic!("{other:?}"),
        });
        let key = key.unwrap();
        for number in 0..SENT {
            cx.send_to(key, &number.to_le_bytes(), &to).unwrap();
        }
        assert!(cx.queued_bytes(key).unwrap() > 0, "the kernel took all of them");
        key
    });
    // Without a reader nothing can be sent, and the loop rests between its tries.
    event_loop.main(|cx| cx.after(Duration::from_millis(200), |cx| cx.stop()));
    event_loop.run(Mode::Default).unwrap();
    let turns = event_loop.main(|cx| cx.iteration());
    assert!(turns < 60, "{turns} iterations in 200 ms");
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 8];
        for number in 0..SENT {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 8);
            assert_eq!(usize::from_le_bytes(buffer), number);
        }
    });
    while event_loop.state().is_none() {
        event_loop.run(Mode::Once).unwrap();
    }
    event_loop.main(|cx| cx.close(sender));
    reader.join().unwrap();
    std::fs::remove_file(&directory).unwrap();
}
