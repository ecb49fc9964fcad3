//! Streams and listeners as futures: what is not awaited waits in the kernel, and a dropped future loses no byte.

mod support;

use loopscope_loop::{Connection, Cx, Loop, LoopHandle, StreamEvent, Task};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;
use support::{finish, listen, ms, read_to_end, real_loop};

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 + index / 251) as u8).collect()
}

/// Listens, and gives the first connection to `serve`.
fn serve<F: Future<Output = io::Result<()>> + 'static>(
    event_loop: &mut Loop,
    serve: impl FnOnce(LoopHandle, Connection) -> F + 'static,
) -> (SocketAddr, Task<()>) {
    let (address, incoming) = listen(event_loop);
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let connection = incoming.accept().await.unwrap();
            drop(incoming);
            serve(here, connection).await.unwrap();
        })
    });
    (address, task)
}

#[test]
fn hundreds_of_connections_are_echoed_and_all_is_closed() {
    const COUNT: usize = 300;
    let mut event_loop = real_loop();
    let (address, incoming) = listen(&mut event_loop);
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let mut served = Vec::new();
            for _ in 0..COUNT {
                let connection = incoming.accept().await.unwrap();
                served.push(here.spawn_local(async move {
                    let bytes = read_to_end(&connection).await.unwrap();
                    connection.write(bytes).await.unwrap();
                }));
            }
            for task in served {
                task.await.unwrap();
            }
        })
    });
    let clients = std::thread::spawn(move || {
        let streams: Vec<_> = (0..COUNT).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (index, mut stream) in streams.into_iter().enumerate() {
            let (sent, mut received) = (pattern(index * 7), Vec::new());
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut received).unwrap();
            assert!(received == sent);
        }
    });
    finish(event_loop, &task);
    clients.join().unwrap();
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    let mut event_loop = real_loop();
    let (go, wait) = mpsc::channel();
    let (address, task) = serve(&mut event_loop, move |here, connection| async move {
        let mut buffer = [0; 7];
        // Given up before anything was sent: the loop reads no more.
        assert!(here.within(ms(1), connection.read(&mut buffer)).await.is_none());
        go.send(()).unwrap();
        let mut all = Vec::new();
        let mut given_up = 0;
        loop {
            // Polled once and dropped, so that most reads are dropped with bytes on their way.
            let mut read = Box::pin(connection.read(&mut buffer));
            let polled = poll_fn(|context| match read.as_mut().poll(context) {
                Poll::Ready(count) => Poll::Ready(Some(count)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
            drop(read);
            match polled {
                None => {
                    given_up += 1;
                    here.with(|_| ()).await;
                    if given_up % 3 == 0 {
                        let mut rest = [0; 5];
                        let Some(count) = here.within(ms(1), connection.read(&mut rest)).await else {
                            continue;
                        };
                        let count = count?;
                        all.extend_from_slice(&rest[..count]);
                        if count == 0 {
                            break;
                        }
                    }
                }
                Some(count) => match count? {
                    0 => break,
                    count => all.extend_from_slice(&buffer[..count]),
                },
            }
        }
        assert!(all == pattern(20_000), "{} bytes", all.len());
        Ok(())
    });
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        wait.recv().unwrap();
        pattern(20_000).chunks(999).for_each(|piece| stream.write_all(piece).unwrap());
    });
    finish(event_loop, &task);
    peer.join().unwrap();
}

#[test]
fn what_nobody_reads_waits_in_the_kernel_and_slows_the_sender_down() {
    const COUNT: usize = 16 << 20;
    let mut event_loop = real_loop();
    let (tell, told) = mpsc::channel::<()>();
    let (address, task) = serve(&mut event_loop, move |here, connection| async move {
        // While the peer can still send, turn the loop; nothing is read.
        while told.try_recv().is_err() {
            here.sleep(ms(1)).await;
        }
        assert!(read_to_end(&connection).await? == pattern(COUNT));
        Ok(())
    });
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let all = pattern(COUNT);
        let mut sent = 0;
        // No one reads: the kernel's buffers fill up long before the end.
        while let Ok(count) = stream.write(&all[sent..]) {
            sent += count;
        }
        assert!(sent < COUNT);
        tell.send(()).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(&all[sent..]).unwrap();
    });
    finish(event_loop, &task);
    peer.join().unwrap();
}

#[test]
fn a_write_waits_for_a_slow_peer_and_is_sent_also_where_it_is_dropped() {
    const PIECE: usize = 8 << 20;
    let mut event_loop = real_loop();
    let (go, wait) = mpsc::channel::<()>();
    let (address, task) = serve(&mut event_loop, move |here, connection| async move {
        let whole = pattern(2 * PIECE);
        // Longer than the kernel's buffers: given up while it waits.
        let first = connection.write(&whole[..PIECE]);
        assert!(here.within(ms(5), first).await.is_none());
        let second = connection.write(&whole[PIECE..]);
        assert!(!second.is_resolved());
        go.send(()).unwrap();
        second.await?;
        connection.shutdown().await?;
        assert_eq!(connection.write("late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(connection.read(&mut [0; 8]).await?, 0);
        Ok(())
    });
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        wait.recv().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == pattern(2 * PIECE));
    });
    finish(event_loop, &task);
    peer.join().unwrap();
}

#[test]
fn a_half_closed_connection_is_read_and_written_by_two_futures() {
    let mut event_loop = real_loop();
    let (address, task) = serve(&mut event_loop, |here, connection| async move {
        let connection = Rc::new(connection);
        let writer = connection.clone();
        let written = here.spawn_local(async move {
            for piece in pattern(300_000).chunks(1000) {
                writer.write(piece).await.unwrap();
            }
            writer.shutdown().await.unwrap();
        });
        assert_eq!(read_to_end(&connection).await?, b"from the other side");
        // Zero again and again, and for an empty buffer always.
        assert_eq!(connection.read(&mut [0; 1]).await?, 0);
        assert_eq!(connection.read(&mut []).await?, 0);
        written.await.unwrap();
        Ok(())
    });
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all == pattern(300_000));
        stream.write_all(b"from the other side").unwrap();
    });
    finish(event_loop, &task);
    peer.join().unwrap();
}

#[test]
fn a_closed_key_ends_the_read_that_waits_for_it() {
    let mut event_loop = real_loop();
    let (address, task) = serve(&mut event_loop, |here, connection| async move {
        let key = connection.key();
        here.with(move |cx| {
            cx.after(ms(2), move |cx| assert!(cx.close(key)));
        })
        .await;
        let failed = connection.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::NotConnected);
        assert_eq!(connection.write("x").await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(connection.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
        Ok(())
    });
    let client = TcpStream::connect(address).unwrap();
    finish(event_loop, &task);
    drop(client);
}

#[test]
fn a_reset_is_an_error_of_the_read_and_then_the_end() {
    let mut event_loop = real_loop();
    let (address, task) = serve(&mut event_loop, |_, connection| async move {
        let failed = connection.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConnectionReset);
        assert_eq!(connection.read(&mut [0; 8]).await?, 0);
        assert!(connection.write("x").await.is_err());
        Ok(())
    });
    let client = socket2::Socket::from(TcpStream::connect(address).unwrap());
    client.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    finish(event_loop, &task);
}

#[test]
fn a_connection_goes_to_callbacks_and_back_with_what_it_holds() {
    let mut event_loop = real_loop();
    let (address, task) = serve(&mut event_loop, |here, connection| async move {
        let mut buffer = [0; 3];
        assert_eq!(connection.read(&mut buffer).await?, 3);
        let (key, rest) = connection.into_key();
        assert_eq!(rest, b"def");
        assert!(here.with(move |cx| cx.is_open(key)).await);
        let (tell, told) = (Rc::new(std::cell::Cell::new(0)), here.clone());
        let seen = tell.clone();
        here.with(move |cx| {
            cx.on_stream(key, move |_, _, event| {
                if let StreamEvent::Data(bytes) = event {
                    tell.set(tell.get() + bytes.len());
                }
            });
            cx.resume(key);
            cx.write(key, b"go on").map(drop)
        })
        .await?;
        while seen.get() < 3 {
            told.sleep(ms(1)).await;
        }
        let again = here.with(move |cx| cx.connection(key)).await.unwrap();
        again.write(".").await?;
        assert_eq!(read_to_end(&again).await?, b"!");
        let no_stream = |cx: &mut Cx<'_>| {
            let timer = cx.after(ms(1), |_| {});
            cx.connection(timer).is_none()
        };
        assert!(here.with(no_stream).await);
        Ok(())
    });
    let peer = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"abcdef").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        stream.write_all(b"ghi").unwrap();
        stream.read_exact(&mut answer[..1]).unwrap();
        stream.write_all(b"!").unwrap();
    });
    finish(event_loop, &task);
    peer.join().unwrap();
}

#[test]
fn whoever_asks_for_the_end_a_second_time_waits_for_it_too() {
    const BYTES: usize = 8 << 20;
    let mut event_loop = real_loop();
    let (address, task) = serve(&mut event_loop, |_, connection| async move {
        drop(connection.write(pattern(BYTES)));
        drop(connection.shutdown());
        // The other side has read nothing yet: resolved at once, this would have the rest thrown away.
        connection.shutdown().await
    });
    let (go, may_read) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        may_read.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).map(|_| all)
    });
    event_loop.main(|cx| cx.after(ms(20), move |_| go.send(()).unwrap()));
    finish(event_loop, &task);
    assert!(reader.join().unwrap().unwrap() == pattern(BYTES), "bytes are missing");
}
