//! Unix-domain connections, pipes and named pipes: the same streams, other descriptors.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Cx, Key, Mode, StreamEvent, Wrote};
use loopscope_probe::HandleType;
use real_loop::real_loop;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A path that nothing is at.
fn free_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("loopscope-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn collect(cx: &mut Cx<'_, Vec<u8>>, key: Key) {
    cx.on_stream(key, |cx, key, event| match event {
        StreamEvent::Data(bytes) => cx.state.extend_from_slice(bytes),
        StreamEvent::End => drop(cx.close(key)),
        other => panic!("{other:?}"),
    });
}

#[test]
fn closing_a_listener_leaves_the_file_of_its_successor() {
    let path = free_path("successor");
    let mut event_loop = real_loop(());
    let second = event_loop.main(|cx| {
        let first = cx.listen_unix(&path, |_, _| {}).unwrap();
        // As a service is restarted without a gap: the next one takes the path before the first one ends.
        std::fs::remove_file(&path).unwrap();
        let second = cx.listen_unix(&path, |_, _| {}).unwrap();
        cx.close(first);
        second
    });
    event_loop.run(Mode::NoWait).unwrap();
    assert!(UnixStream::connect(&path).is_ok(), "the second one is reached still");
    event_loop.main(|cx| cx.close(second));
    event_loop.run(Mode::NoWait).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_unix_domain_echo_comes_back_and_its_file_goes() {
    let path = free_path("echo");
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        let listener = cx.listen_unix(&path, |cx, accepted| {
            cx.on_stream(accepted.unwrap(), |cx, key, event| match event {
                StreamEvent::Data(bytes) => assert_eq!(cx.write(key, bytes).unwrap(), Wrote::All),
                _ => assert!(cx.shutdown(key) && cx.close(key)),
            });
        });
        let listener = listener.unwrap();
        assert_eq!(cx.listen_unix(&path, |_, _| {}).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(path.exists(), "the failed one did not take it along");
        assert!(cx.local_addr(listener).is_none());
        cx.connect_unix(&path, move |cx, client| {
            let client = client.unwrap();
            collect(cx, client);
            assert!(cx.peer_addr(client).is_none());
            cx.write(client, b"over a file").unwrap();
            cx.shutdown(client);
            cx.close(listener);
        })
        .unwrap();
    });
    assert!(event_loop.run(Mode::NoWait).is_ok());
    let page = event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap());
    assert!(
        page.handles[HandleType::UnixListener.index()] + page.handles[HandleType::UnixStream.index()] > 0
    );
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), b"over a file");
    assert!(!path.exists());
}

#[test]
fn a_missing_socket_file_is_told_in_the_pending_phase() {
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        let stale = cx.connect_unix(free_path("missing"), |cx, outcome| {
            let kind = outcome.unwrap_err().kind();
            cx.state.push((kind, cx.phase().name()));
        });
        assert!(!cx.is_open(stale.unwrap()));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [(ErrorKind::NotFound, "pending")]);
}

#[test]
fn a_pair_of_sockets_and_a_pipe_carry_bytes_both_ways() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        let key = cx.open_unix(ours).unwrap();
        let (reader, writer) = cx.pipe().unwrap();
        // What comes from the pair goes through the pipe and is collected.
        cx.on_stream(key, move |cx, key, event| match event {
            StreamEvent::Data(bytes) => drop(cx.write(writer, bytes).unwrap()),
            StreamEvent::End => assert!(cx.shutdown(writer) && cx.close(key)),
            other => panic!("{other:?}"),
        });
        collect(cx, reader);
        assert_eq!(cx.write(reader, b"wrong end").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(!cx.shutdown(reader));
    });
    let sent: Vec<u8> = (0..1 << 20).map(|index: u32| (index / 3) as u8).collect();
    let expected = sent.clone();
    let peer = std::thread::spawn(move || theirs.write_all(&sent).unwrap());
    event_loop.run(Mode::Default).unwrap();
    peer.join().unwrap();
    assert!(*event_loop.state() == expected);
}

#[test]
fn a_pipe_whose_reader_is_gone_breaks_at_the_next_write() {
    let mut event_loop = real_loop(());
    event_loop.main(|cx| {
        let (reader, writer) = cx.pipe().unwrap();
        assert!(cx.close(reader));
        assert_eq!(cx.write(writer, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        // And one that fills first, and loses its reader then.
        let (reader, writer) = cx.pipe().unwrap();
        assert!(matches!(cx.write(writer, &[0; 1 << 20]).unwrap(), Wrote::Full(_)));
        cx.on_stream(writer, |cx, key, event| {
            let StreamEvent::Error(error) = event else { panic!("{event:?}") };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(cx.queued_bytes(key), Some(0));
            cx.close(key);
            cx.stop();
        });
        cx.immediate(move |cx| assert!(cx.close(reader)));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn descriptors_of_other_kinds_are_taken_or_refused_with_a_reason() {
    let path = free_path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        // Open for both, as a reader of its own would wait for a writer.
        let fifo = File::options().read(true).write(true).open(&path).unwrap();
        let mut writer = fifo.try_clone().unwrap();
        let reader = cx.open_reader(fifo).unwrap();
        cx.on_stream(reader, |cx, key, event| {
            let StreamEvent::Data(bytes) = event else { panic!("{event:?}") };
            cx.state.extend_from_slice(bytes);
            cx.close(key);
        });
        writer.write_all(b"named").unwrap();
        let regular = File::open("/proc/self/exe").unwrap();
        assert_eq!(cx.open_reader(regular).unwrap_err().kind(), ErrorKind::PermissionDenied);
        let (mut ours, theirs) = std::io::pipe().unwrap();
        let out = cx.open_writer(theirs).unwrap();
        assert_eq!(cx.write(out, b"anonymous").unwrap(), Wrote::All);
        assert!(cx.shutdown(out), "closes it: the reader below comes to its end");
        let mut all = Vec::new();
        ours.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"anonymous");
        cx.close(out);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), b"named");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_lies_behind_a_message_with_descriptors_is_read_too() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let (peer, ours) = UnixStream::pair().unwrap();
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        let key = cx.open_unix(ours).unwrap();
        cx.on_stream(key, |cx, key, event| {
            let StreamEvent::Data(bytes) = event else { panic!("{event:?}") };
            cx.state.extend_from_slice(bytes);
            if cx.state.ends_with(b"B") {
                cx.close(key);
            }
        });
    });
    let (passed, mut space) = ([peer.as_fd()], [std::mem::MaybeUninit::uninit(); 64]);
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
    let sent = sendmsg(&peer, &[std::io::IoSlice::new(b"A")], &mut ancillary, SendFlags::empty());
    assert_eq!(sent.unwrap(), 1);
    (&peer).write_all(b"B").unwrap();
    // One read ends at the descriptors, and the kernel reports nothing new.
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), b"AB");
}

#[test]
fn all_lines_that_wait_in_a_terminal_are_read() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        let key = cx.open_reader(terminal).unwrap();
        cx.on_stream(key, |cx, key, event| {
            let StreamEvent::Data(bytes) = event else { panic!("{event:?}") };
            cx.state.extend_from_slice(bytes);
            if cx.state.ends_with(b"three\n") {
                cx.close(key);
            }
        });
    });
    // Pasted at once: a read gives one line.
    assert_eq!(rustix::io::write(&keyboard, b"one\ntwo\nthree\n").unwrap(), 14);
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), b"one\ntwo\nthree\n");
}
