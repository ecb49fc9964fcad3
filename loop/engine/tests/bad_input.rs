//! What goes wrong outside: nothing hangs, no descriptor stays open, and no byte that was accepted is lost.
//!
//! Descriptors are counted in `/proc/self/fd`, so these tests run one after the other. Elsewhere are: a closed
//! descriptor and one that is watched twice (`adopted.rs`), a timer of `u64::MAX` (`run_modes.rs`), panics in virtual
//! time (`panics.rs`), a process without descriptors (`few_descriptors.rs`), a fork (`forked.rs`).

use loopscope_loop::mio::{Interest, unix::pipe};
use loopscope_loop::{Cx, Hook, Key, Listening, Loop, Mode, PanicPolicy, Peer, StreamEvent, signals};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn real_loop<S: 'static>(state: S, policy: PanicPolicy) -> Loop<S> {
    let mut event_loop = Loop::builder(state).on_panic(policy).build().unwrap();
    event_loop.main(|cx| {
        let key = cx.after(Duration::from_secs(120), |_| {
            eprintln!("nothing happened for two minutes");
            std::process::abort();
        });
        cx.unref(key);
    });
    event_loop
}

/// Counts the descriptors while a test runs alone.
struct Descriptors {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

impl Descriptors {
    fn count() -> Descriptors {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Descriptors { before: open_descriptors(), _alone }
    }

    /// Waits until as many are open as before: pool threads let go of theirs when they end.
    fn are_as_before(self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while open_descriptors() != self.before {
            assert!(Instant::now() < deadline, "{} were open, now {}", self.before, open_descriptors());
            std::thread::yield_now();
        }
    }
}

#[derive(Default)]
struct Crowd {
    greeted: usize,
    heard: usize,
    /// Connections that the kernel reset: with its queue of connections full, it may forget one that it has confirmed.
    reset: usize,
    /// Connections that it made of a late packet, and whose other side is gone: nobody will ever tell of their end.
    ghosts: usize,
}

/// Every client sends its number and gets it back.
fn come_all(cx: &mut Cx<'_, Crowd>, count: usize) {
    let options = Listening::default().backlog(4096);
    let listener = cx.listen_with(anywhere(), options, |cx, connection| {
        let key = connection.unwrap();
        cx.on_stream(key, |cx, key, event| match event {
            StreamEvent::Data(bytes) => drop(cx.write(key, bytes).unwrap()),
            StreamEvent::End => {
                cx.state.greeted += 1;
                assert!(cx.close(key));
            }
            StreamEvent::Error(error) if error.kind() == ErrorKind::ConnectionReset => assert!(cx.close(key)),
            other => panic!("{other:?}"),
        });
        cx.on_idle(key, Duration::from_secs(20), |cx, key| {
            cx.state.ghosts += 1;
            assert!(cx.close(key));
        });
    });
    let listener = listener.unwrap();
    for number in 0..count {
        come(cx, listener, number, count);
    }
}

/// Tells whether a client lost its connection: to the kernel, or because its data was later than a ghost's would be.
fn is_lost(event: &StreamEvent<'_>) -> bool {
    match event {
        StreamEvent::Error(error) => error.kind() == ErrorKind::ConnectionReset,
        StreamEvent::End => true,
        _ => false,
    }
}

/// One client; it comes again where its connection is reset, and the last one to be answered ends it all.
fn come(cx: &mut Cx<'_, Crowd>, listener: Key, number: usize, count: usize) {
    let address = cx.local_addr(listener).unwrap();
    let made = cx.connect(address, move |cx, made| {
        let key = made.unwrap();
        let mut received = Vec::new();
        cx.on_stream(key, move |cx, key, event| match event {
            StreamEvent::Data(bytes) => {
                received.extend_from_slice(bytes);
                if received.len() == 8 {
                    assert_eq!(received, number.to_le_bytes());
                    assert!(cx.close(key));
                    cx.state.heard += 1;
                    if cx.state.heard == count {
                        assert!(cx.close(listener));
                    }
                }
            }
            event if is_lost(&event) => {
                cx.state.reset += 1;
                assert!(cx.state.reset < count / 10, "most connections are not reset");
                assert!(cx.close(key));
                come(cx, listener, number, count);
            }
            other => panic!("{other:?}"),
        });
        cx.write(key, &number.to_le_bytes()).unwrap();
    });
    made.unwrap();
}

#[test]
fn ten_thousand_connects_at_once_are_all_made_and_answered() {
    let descriptors = Descriptors::count();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    // Both ends are in this process.
    let room = limit.maximum.map_or(usize::MAX, |most| most as usize) - open_descriptors() - 100;
    let count = (room / 2).min(10_000);
    let mut event_loop = real_loop(Crowd::default(), PanicPolicy::Propagate);
    event_loop.main(|cx| come_all(cx, count));
    assert!(!event_loop.run(Mode::Default).unwrap());
    let Crowd { reset, ghosts, .. } = event_loop.state();
    println!("{count} connects at once, {reset} of them reset by the kernel, and {ghosts} that it made up");
    assert_eq!((event_loop.state().greeted, event_loop.state().heard), (count, count));
    drop(event_loop);
    setrlimit(Resource::Nofile, limit).unwrap();
    descriptors.are_as_before();
}

#[test]
fn a_peer_that_never_reads_is_told_to_go_by_its_time_out() {
    let descriptors = Descriptors::count();
    let mut event_loop = real_loop(0, PanicPolicy::Propagate);
    let address = event_loop.main(|cx| {
        let listener = cx.listen(anywhere(), |cx, connection| {
            let key = connection.unwrap();
            while !cx.write(key, &[b'x'; 1 << 16]).unwrap().is_full() {}
            cx.on_idle(key, ms(30), |cx, key| {
                *cx.state = cx.queued_bytes(key).unwrap();
                assert!(cx.close(key));
                cx.stop();
            });
        });
        cx.local_addr(listener.unwrap()).unwrap()
    });
    let client = TcpStream::connect(address).unwrap();
    event_loop.run(Mode::Default).unwrap();
    assert!(*event_loop.state() >= 64 << 10, "what it did not read was queued up to the mark");
    drop((event_loop, client));
    descriptors.are_as_before();
}

#[test]
fn zero_length_reads_and_writes_do_nothing_and_end_nothing() {
    let descriptors = Descriptors::count();
    let mut event_loop = real_loop(Vec::new(), PanicPolicy::Propagate);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    event_loop.main(|cx| {
        let key = cx.open_unix(ours).unwrap();
        let connection = cx.connection(key).unwrap();
        cx.spawn_async(|here| async move {
            // Nothing has arrived, and then something has: an empty buffer gets nothing at once either way.
            assert_eq!(connection.read(&mut []).await.unwrap(), 0);
            connection.write("").await.unwrap();
            connection.write("ready").await.unwrap();
            let mut byte = [0];
            assert_eq!(connection.read(&mut byte).await.unwrap(), 1);
            assert_eq!(connection.read(&mut []).await.unwrap(), 0);
            assert_eq!(connection.read(&mut byte).await.unwrap(), 1);
            let file =
                here.fs().open("/proc/self/exe", std::fs::OpenOptions::new().read(true)).await.unwrap();
            assert_eq!(here.fs().read_at(&file, 0, 0).await.unwrap(), b"");
            here.with(move |cx| cx.state.push(byte[0])).await;
        });
    });
    let peer = std::thread::spawn(move || {
        let mut ready = [0; 5];
        assert_eq!(theirs.read(&mut []).unwrap(), 0);
        theirs.read_exact(&mut ready).unwrap();
        theirs.write_all(b"").unwrap();
        theirs.write_all(b"ab").unwrap();
        theirs
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(*event_loop.state(), b"b");
    drop((event_loop, peer.join().unwrap()));
    descriptors.are_as_before();
}

#[test]
fn a_loop_is_dropped_with_work_in_its_pool_and_everything_open() {
    let descriptors = Descriptors::count();
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let mut event_loop = real_loop(Lived::default(), PanicPolicy::Propagate);
    let (peer, stream) = UnixStream::pair().unwrap();
    event_loop.main(|cx| {
        cx.work(
            move || {
                begun.send(()).unwrap();
                wait.recv().unwrap();
            },
            |_, _| panic!("the loop is gone"),
        );
        for _ in 0..100 {
            cx.work(|| std::fs::File::open("/proc/self/exe"), |_, _| {});
        }
        for (_, set_up) in kinds() {
            set_up(cx, |_, _| {});
        }
        let (local, key) = (cx.local(), cx.open_unix(stream).unwrap());
        let connection = cx.connection(key).unwrap();
        cx.spawn_local(async move {
            let _job = local.work(|| ());
            connection.read(&mut [0]).await
        });
    });
    has_begun.recv().unwrap();
    event_loop.run(Mode::NoWait).unwrap();
    drop((event_loop, peer));
    go.send(()).unwrap();
    descriptors.are_as_before();
}

/// What is open, and what was called.
#[derive(Default)]
struct Lived {
    open: Vec<Key>,
    calls: usize,
}

/// What a callback does when it is called.
type Act = fn(&mut Cx<'_, Lived>, Key);

/// One way to have a callback of a kind called: it notes everything it opens.
type SetUp = fn(&mut Cx<'_, Lived>, Act);

/// Two ends of a stream; the second is watched by nobody.
fn pair(cx: &mut Cx<'_, Lived>) -> (Key, Key) {
    let (one, other) = UnixStream::pair().unwrap();
    let (one, other) = (cx.open_unix(one).unwrap(), cx.open_unix(other).unwrap());
    cx.state.open.extend([one, other]);
    (one, other)
}

fn stream_kinds() -> Vec<(&'static str, SetUp)> {
    vec![
        ("accept", |cx, act| {
            let mut own = None::<Key>;
            let slot = std::rc::Rc::new(std::cell::Cell::new(None));
            let get = slot.clone();
            let listener = cx.listen(anywhere(), move |cx, accepted| {
                cx.state.open.extend(accepted.ok());
                act(cx, *own.get_or_insert_with(|| get.get().unwrap()));
            });
            let listener = listener.unwrap();
            slot.set(Some(listener));
            let address = cx.local_addr(listener).unwrap();
            let client = cx.connect(address, |_, _| {}).unwrap();
            cx.state.open.extend([listener, client]);
        }),
        ("connect", |cx, act| {
            let listener = cx.listen(anywhere(), |cx, accepted| cx.state.open.extend(accepted.ok())).unwrap();
            let address = cx.local_addr(listener).unwrap();
            let client = cx.connect(address, move |cx, made| act(cx, made.unwrap())).unwrap();
            cx.state.open.extend([listener, client]);
        }),
        ("data", |cx, act| {
            let (reader, writer) = pair(cx);
            cx.on_stream(reader, move |cx, key, event| {
                assert!(matches!(event, StreamEvent::Data(_)));
                act(cx, key);
            });
            cx.write(writer, b"one").unwrap();
        }),
        ("end", |cx, act| {
            let (reader, writer) = pair(cx);
            cx.on_stream(reader, move |cx, key, event| {
                assert!(matches!(event, StreamEvent::End));
                act(cx, key);
            });
            cx.shutdown(writer);
        }),
        ("drained", |cx, act| {
            let (reader, writer) = pair(cx);
            cx.on_stream(reader, |_, _, _| {});
            cx.on_stream(writer, move |cx, key, event| {
                if let StreamEvent::Drained = event {
                    act(cx, key);
                }
            });
            cx.write(writer, &[b'x'; 1 << 20]).unwrap();
        }),
        ("idle time-out", |cx, act| {
            let (reader, _) = pair(cx);
            cx.on_stream(reader, |_, _, _| panic!("nothing comes"));
            cx.on_idle(reader, ms(1), act);
        }),
    ]
}

fn other_kinds() -> Vec<(&'static str, SetUp)> {
    vec![
        ("datagram", |cx, act| {
            let socket = cx.udp(anywhere(), move |cx, key, _| act(cx, key)).unwrap();
            let address = cx.local_addr(socket).unwrap();
            cx.send_to(socket, b"to myself", &Peer::Internet(address)).unwrap();
            cx.state.open.push(socket);
        }),
        ("adopted", |cx, act| {
            let (mut sender, receiver) = pipe::new().unwrap();
            sender.write_all(b"x").unwrap();
            let adopted = cx.adopt(receiver, Interest::READABLE, move |cx, key, _| act(cx, key)).unwrap();
            let kept = cx.adopt(sender, Interest::WRITABLE, |_, _, _| {}).unwrap();
            cx.state.open.extend([adopted, kept]);
        }),
        ("signal", |cx, act| {
            let slot = std::rc::Rc::new(std::cell::Cell::new(None));
            let own = slot.clone();
            let key = cx.on_signal(signals::SIGUSR2, move |cx| act(cx, own.get().unwrap())).unwrap();
            slot.set(Some(key));
            cx.state.open.push(key);
            kill_process(getpid(), Signal::USR2).unwrap();
        }),
        ("child", |cx, act| {
            let slot = std::rc::Rc::new(std::cell::Cell::new(None));
            let own = slot.clone();
            let child =
                cx.spawn(&mut Command::new("true"), move |cx, _| act(cx, own.get().unwrap())).unwrap();
            slot.set(Some(child.key));
            cx.state.open.push(child.key);
        }),
        ("wake", |cx, act| {
            let slot = std::rc::Rc::new(std::cell::Cell::new(None));
            let own = slot.clone();
            let (key, wake) = cx.wake_handle(move |cx| act(cx, own.get().unwrap()));
            slot.set(Some(key));
            cx.state.open.push(key);
            wake.wake();
        }),
        ("timer", |cx, act| own_key(cx, act, |cx, run| cx.every(ms(1), run))),
        ("idle", |cx, act| own_key(cx, act, |cx, run| cx.on(Hook::Idle, run))),
        ("prepare", |cx, act| own_key(cx, act, |cx, run| cx.on(Hook::Prepare, run))),
        ("check", |cx, act| {
            // A check hook does not end a wait.
            cx.after(ms(1), |_| {});
            own_key(cx, act, |cx, run| cx.on(Hook::Check, run));
        }),
    ]
}

type Again = Box<dyn FnMut(&mut Cx<'_, Lived>)>;

/// Registers a callback that does not get its own key.
fn own_key(cx: &mut Cx<'_, Lived>, act: Act, register: fn(&mut Cx<'_, Lived>, Again) -> Key) {
    let slot = std::rc::Rc::new(std::cell::Cell::new(None));
    let own = slot.clone();
    let key = register(cx, Box::new(move |cx| act(cx, own.get().unwrap())));
    slot.set(Some(key));
    cx.state.open.push(key);
}

fn kinds() -> Vec<(&'static str, SetUp)> {
    stream_kinds().into_iter().chain(other_kinds()).collect()
}

/// Soon closes everything, so that the loop can end.
fn close_all_soon(cx: &mut Cx<'_, Lived>) {
    cx.after(ms(3), |cx| {
        for key in std::mem::take(&mut cx.state.open) {
            cx.close(key);
        }
    });
}

fn calls(policy: PanicPolicy, name: &str, set_up: SetUp, act: Act) -> usize {
    let mut event_loop = real_loop(Lived::default(), policy);
    event_loop.main(|cx| set_up(cx, act));
    assert!(!event_loop.run(Mode::Default).unwrap(), "{name}: the loop ends");
    event_loop.state().calls
}

#[test]
fn every_kind_of_handle_may_be_closed_inside_its_own_callback() {
    let descriptors = Descriptors::count();
    for (name, set_up) in kinds() {
        let calls = calls(PanicPolicy::Propagate, name, set_up, |cx, key| {
            cx.state.calls += 1;
            // Of what runs only once the key is stale by now.
            let was_open = cx.is_open(key);
            assert_eq!(cx.close(key), was_open);
            assert!(!cx.is_open(key) && !cx.close(key));
            close_all_soon(cx);
        });
        assert_eq!(calls, 1, "{name}: a closed handle is not called again");
    }
    descriptors.are_as_before();
}

#[test]
fn a_panic_in_every_kind_of_callback_leaves_the_loop_and_the_handle_alive() {
    let descriptors = Descriptors::count();
    for (name, set_up) in kinds() {
        let calls = calls(PanicPolicy::Continue, name, set_up, |cx, _| {
            cx.state.calls += 1;
            if cx.state.calls == 1 {
                close_all_soon(cx);
                panic!("on purpose, in a callback of {name}", name = cx.phase().name());
            }
        });
        assert!(calls >= 1, "{name}");
    }
    descriptors.are_as_before();
}
