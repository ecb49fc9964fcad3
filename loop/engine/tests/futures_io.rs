//! Connections and listeners by the traits of other libraries: the same bytes, the same ends, the same patience.

use futures_util::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use futures_util::stream::StreamExt;
use loopscope_loop::{Connection, Cx, Loop, LoopHandle, Mode, PanicPolicy, Task};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What a pair in memory holds in one direction, and what a connection takes that is not there yet.
const PIPE_BYTES: usize = 64 << 10;
const TAKEN_BYTES: usize = 64 << 10;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 + index / 251) as u8).collect()
}

fn pair(cx: &mut Cx<'_>) -> [Connection; 2] {
    let (one, other) = cx.memory_pair().unwrap();
    [one, other].map(|key| cx.connection(key).unwrap())
}

/// Runs a future with two connected ends, in virtual time, to its end.
fn with_pair<F: Future<Output = ()> + 'static>(run: impl FnOnce(LoopHandle, [Connection; 2]) -> F) {
    let mut event_loop = Loop::builder(()).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap();
    let task: Task = event_loop.main(|cx| {
        let ends = pair(cx);
        cx.spawn_async(|here| run(here, ends))
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(task.is_done(), "it waits for something that does not come");
}

/// Writes until no more is taken; returns how much was.
async fn write_until_full(connection: &Connection) -> usize {
    let piece = [b'x'; 10_000];
    let mut taken = 0;
    poll_fn(|context| {
        while let Poll::Ready(count) = Pin::new(&mut &*connection).poll_write(context, &piece) {
            taken += count.unwrap();
        }
        Poll::Ready(())
    })
    .await;
    taken
}

#[test]
fn what_others_wrote_for_the_traits_echoes_a_connection() {
    with_pair(|here, [client, server]| async move {
        here.spawn_local(async move {
            assert_eq!(copy(&server, &mut &server).await.unwrap(), 1_000_000);
            (&server).close().await.unwrap();
        });
        let client = Rc::new(client);
        let writer = client.clone();
        here.spawn_local(async move {
            (&*writer).write_all(&pattern(1_000_000)).await.unwrap();
            (&*writer).close().await.unwrap();
        });
        let mut echoed = Vec::new();
        (&*client).read_to_end(&mut echoed).await.unwrap();
        assert!(echoed == pattern(1_000_000), "{} bytes", echoed.len());
    });
}

#[test]
fn closing_ends_the_writing_side_alone() {
    with_pair(|here, [mut client, mut server]| async move {
        here.spawn_local(async move {
            let mut asked = String::new();
            server.read_to_string(&mut asked).await.unwrap();
            assert_eq!(asked, "question");
            server.write_all(b"answer").await.unwrap();
            server.close().await.unwrap();
        });
        client.write_all(b"question").await.unwrap();
        client.close().await.unwrap();
        client.close().await.unwrap();
        let late = client.write_all(b"late").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    });
}

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    with_pair(|here, [client, server]| async move {
        let mut taken = write_until_full(&client).await;
        assert_eq!(taken, TAKEN_BYTES, "in one poll, before the loop has sent any");
        here.sleep(ms(1)).await;
        taken += write_until_full(&client).await;
        assert_eq!(taken, PIPE_BYTES + TAKEN_BYTES);
        here.sleep(ms(1)).await;
        assert_eq!(write_until_full(&client).await, 0, "nothing moves");
        let is_flushed = Rc::new(Cell::new(false));
        let (told, flushed) = (is_flushed.clone(), client);
        here.spawn_local(async move {
            (&flushed).flush().await.unwrap();
            told.set(true);
            (&flushed).write_all(b"!").await.unwrap();
            (&flushed).close().await.unwrap();
        });
        here.sleep(ms(1)).await;
        assert!(!is_flushed.get(), "the peer has not room for all");
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).await.unwrap();
        assert_eq!((all.len(), all.last()), (taken + 1, Some(&b'!')));
        assert!(is_flushed.get());
    });
}

#[test]
fn what_nobody_reads_stays_with_the_sender() {
    with_pair(|here, [client, server]| async move {
        let key = client.key();
        drop(client.write(pattern(10 * PIPE_BYTES)));
        // Asked for and given up: one piece comes, and no more.
        poll_fn(|context| {
            assert!(Pin::new(&mut &server).poll_read(context, &mut [0; 8]).is_pending());
            Poll::Ready(())
        })
        .await;
        here.sleep(ms(10)).await;
        let queued = here.with(move |cx| cx.queued_bytes(key)).await;
        assert!(queued >= Some(8 * PIPE_BYTES), "{queued:?}");
        let mut all = Vec::new();
        (&server).take(10 * PIPE_BYTES as u64).read_to_end(&mut all).await.unwrap();
        assert!(all == pattern(10 * PIPE_BYTES), "what came for the read that was given up is not lost");
    });
}

#[test]
fn a_read_that_is_given_up_loses_no_byte_and_leaves_the_others_waiting() {
    with_pair(|here, [client, server]| async move {
        let server = Rc::new(server);
        let reader = server.clone();
        let read = here.spawn_local(async move {
            let mut buffer = [0; 5];
            (&*reader).read_exact(&mut buffer).await.unwrap();
            buffer
        });
        let mut buffer = [0; 5];
        // The connection's own read, begun beside the one above, and dropped: that one waits on.
        assert!(here.within(ms(1), server.read(&mut buffer)).await.is_none());
        assert!(here.within(ms(1), AsyncReadExt::read(&mut &*server, &mut buffer)).await.is_none());
        client.write("hello").await.unwrap();
        assert_eq!(read.await.as_ref(), Some(b"hello"));
    });
}

#[test]
fn slices_are_written_in_their_order() {
    with_pair(|_, [mut client, mut server]| async move {
        let slices = ["a", "", "bc", "def"].map(|text| IoSlice::new(text.as_bytes()));
        assert_eq!(client.write_vectored(&slices).await.unwrap(), 6);
        drop(client.write("ghi"));
        assert_eq!(AsyncWriteExt::write(&mut client, b"jkl").await.unwrap(), 3);
        client.close().await.unwrap();
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "abcdefghijkl");
    });
}

#[test]
fn a_connection_that_the_peer_closed_is_read_to_its_end_and_cannot_be_written() {
    with_pair(|_, [mut client, mut server]| async move {
        client.write_all(b"last words").await.unwrap();
        client.flush().await.unwrap();
        drop(client);
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "last words");
        // Taken, and refused afterwards.
        assert_eq!(AsyncWriteExt::write(&mut server, b"answer").await.unwrap(), 6);
        assert_eq!(server.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        server.flush().await.unwrap();
        assert_eq!(AsyncWriteExt::write(&mut server, b"").await.unwrap(), 0);
    });
}

#[test]
fn a_closed_key_fails_reads_and_writes() {
    with_pair(|here, [client, mut server]| async move {
        let key = server.key();
        here.with(move |cx| {
            cx.after(ms(2), move |cx| assert!(cx.close(key)));
        })
        .await;
        let mut buffer = [0; 8];
        let read = AsyncReadExt::read(&mut server, &mut buffer).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::NotConnected);
        AsyncWriteExt::write(&mut server, b"x").await.unwrap();
        assert_eq!(server.close().await.unwrap_err().kind(), ErrorKind::NotConnected);
        drop(client);
    });
}

#[test]
fn a_listener_is_a_stream_that_ends_with_its_key() {
    let mut event_loop = Loop::builder(()).on_panic(PanicPolicy::Propagate).build().unwrap();
    let (address, task) = event_loop.main(|cx| {
        let mut incoming = cx.incoming((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = cx.local_addr(incoming.key()).unwrap();
        let task = cx.spawn_async(|here| async move {
            let mut greeting = String::new();
            for _ in 0..2 {
                incoming.next().await.unwrap().unwrap().read_to_string(&mut greeting).await.unwrap();
            }
            assert_eq!(greeting, "hello hello ");
            let key = incoming.key();
            here.with(move |cx| {
                cx.after(ms(1), move |cx| assert!(cx.close(key)));
            })
            .await;
            assert!(incoming.next().await.is_none() && incoming.next().await.is_none());
        });
        (address, task)
    });
    let clients = std::thread::spawn(move || {
        for _ in 0..2 {
            std::io::Write::write_all(&mut TcpStream::connect(address).unwrap(), b"hello ").unwrap();
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(task.is_done());
    clients.join().unwrap();
}
