//! Connections as futures see them, made and given up: no descriptor is opened early or left open.

mod support;

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use support::{anywhere, finish, listen, ms, read_to_end, real_loop};

/// Descriptors are the process's: the tests of this file run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn connections_that_nobody_awaits_wait_in_the_kernel() {
    let _alone = alone();
    let mut event_loop = real_loop();
    let (address, incoming) = listen(&mut event_loop);
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let before = descriptors();
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            here.sleep(ms(20)).await;
            assert_eq!(descriptors(), before, "none is accepted");
            // Two who wait, and one who gives up, which loses nobody.
            let (two, shared) = (here.clone(), Rc::new(incoming));
            assert!(here.within(Duration::ZERO, std::future::pending::<()>()).await.is_none());
            let other = shared.clone();
            let second = two.spawn_local(async move { other.accept().await.unwrap() });
            let mut accepted = vec![shared.accept().await.unwrap(), second.await.unwrap()];
            accepted.push(shared.accept().await.unwrap());
            accepted.push(shared.accept().await.unwrap());
            let polled = {
                let mut accept = pin!(shared.accept());
                poll_fn(|context| Poll::Ready(accept.as_mut().poll(context).is_ready())).await
            };
            here.sleep(ms(1)).await;
            if !polled {
                accepted.push(shared.accept().await.unwrap());
            }
            assert_eq!(accepted.len(), 5);
        })
    });
    finish(event_loop, &task);
    assert_eq!(clients.len(), 5);
}

#[test]
fn outgoing_connections_are_awaited_refused_and_given_up() {
    let _alone = alone();
    let server = TcpListener::bind(anywhere()).unwrap();
    let address = server.local_addr().unwrap();
    let refused = {
        let closed = TcpListener::bind(anywhere()).unwrap();
        closed.local_addr().unwrap()
    };
    let path = std::env::temp_dir().join(format!("loopscope-futures-{}.sock", std::process::id()));
    let mut event_loop = real_loop();
    let unix = event_loop.main(|cx| cx.incoming_unix(&path).unwrap());
    let before = descriptors();
    let own_path = path.clone();
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let made = here.connect(address).await.unwrap();
            made.write("hello").await.unwrap();
            let by_name = here.connect_host("127.0.0.1", address.port()).await.unwrap();
            by_name.write("hello").await.unwrap();
            let failed = here.connect(refused).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::ConnectionRefused);
            let missing = here.connect_unix("/no/such/socket").await.unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);
            let (client, accepted) = (here.connect_unix(own_path), unix.accept().await.unwrap());
            accepted.write("through a file").await.unwrap();
            drop(accepted);
            assert_eq!(read_to_end(&client.await.unwrap()).await.unwrap(), b"through a file");
            // Dropped before it began, while it is under way, and when it is made.
            drop(here.connect(address));
            let under_way = here.connect(address);
            here.with(|_| ()).await;
            drop(under_way);
            let unused = here.connect(address);
            here.sleep(ms(5)).await;
            assert!(unused.is_resolved());
            drop((unused, made, by_name, unix));
            here.sleep(ms(1)).await;
            // One less: the listener on the file.
            assert_eq!(descriptors(), before - 1);
        })
    });
    finish(event_loop, &task);
    assert!(!path.exists());
    drop(server);
}
