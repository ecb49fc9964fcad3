//! A listener without descriptors: in a process of its own, because the limit is the process's.

use loopscope_loop::{Cx, Key, Loop, Mode, OutOfDescriptors, PanicPolicy, StreamEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// More clients than there are descriptors for.
const CLIENTS: usize = 8;

#[derive(Default)]
struct Server {
    listener: Option<Key>,
    accepted: Vec<Key>,
    errors: Vec<io::Error>,
    polls_before: u64,
    echoed: usize,
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn accepted(cx: &mut Cx<'_, Server>, connection: io::Result<Key>) {
    match connection {
        Ok(key) => {
            cx.state.accepted.push(key);
            cx.on_stream(key, |cx, key, event| match event {
                StreamEvent::Data(bytes) => {
                    cx.write(key, bytes).unwrap();
                    cx.state.echoed += 1;
                }
                other => panic!("{other:?}"),
            });
        }
        Err(error) => cx.state.errors.push(error),
    }
}

/// Leaves `free` descriptors, and returns the limit as it was.
fn leave(free: usize) -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let number = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name().to_str()?.parse().ok();
    let listed: Vec<u64> = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(number).collect();
    // The limit is on the numbers, of which some may be free in between. The one that listed them is closed by now.
    let is_open =
        |number: &u64| listed.contains(number) && std::fs::exists(format!("/proc/self/fd/{number}")).unwrap();
    let last_free = (0..).filter(|number| !is_open(number)).nth(free - 1).unwrap();
    let current = Some(last_free + 1);
    setrlimit(Resource::Nofile, Rlimit { current, maximum: before.maximum }).unwrap();
    before
}

#[test]
fn a_listener_without_descriptors_says_so_once_waits_and_serves_everybody_later() {
    let mut event_loop = Loop::builder(Server::default()).on_panic(PanicPolicy::Propagate).build().unwrap();
    let address = event_loop.main(|cx| {
        let listener = cx.listen((Ipv4Addr::LOCALHOST, 0).into(), accepted).unwrap();
        cx.state.listener = Some(listener);
        cx.local_addr(listener).unwrap()
    });
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let before = leave(2);
    event_loop.main(|cx| {
        cx.after(Duration::from_millis(350), |cx| cx.stop());
    });
    event_loop.run(Mode::Default).unwrap();

    // Two were accepted; of the lack of a third it was told once, and the loop slept.
    let state = event_loop.state();
    assert_eq!((state.accepted.len(), state.errors.len()), (2, 1));
    let starved =
        state.errors[0].get_ref().and_then(|inner| inner.downcast_ref::<OutOfDescriptors>()).unwrap();
    assert_eq!(starved.error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    assert!(state.errors[0].to_string().contains("ulimit -n"));
    let polls = event_loop.main(|cx| cx.iteration());
    assert!((3..=12).contains(&polls), "{polls} polls in 350 ms");

    // A busy loop does not try in every iteration, and a socket that it closes itself is used at once.
    event_loop.main(|cx| {
        cx.state.polls_before = cx.iteration();
        let first = cx.state.accepted[0];
        cx.close(first);
        wait_for_third(cx);
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.state().accepted.len(), 3);
    assert_eq!(event_loop.state().errors.len(), 2, "a new lack is told anew");

    // With descriptors enough everybody is served; the one that was closed is not.
    setrlimit(Resource::Nofile, before).unwrap();
    for client in &mut clients[1..] {
        client.write_all(b"x").unwrap();
    }
    event_loop.main(|cx| {
        cx.every(Duration::from_millis(1), |cx| {
            if cx.state.echoed == CLIENTS - 1 {
                cx.stop();
            }
        });
        cx.after(Duration::from_secs(60), |cx| panic!("{} of {CLIENTS} were served", cx.state.echoed));
    });
    event_loop.run(Mode::Default).unwrap();
    let mut byte = [0];
    assert!(clients[1..].iter_mut().all(|client| client.read_exact(&mut byte).is_ok()));
    assert_eq!(clients[0].read(&mut byte).unwrap(), 0);
    drop(event_loop);
    drop(clients);
    // Three are standard streams, one is `read_dir`'s; the rest is the test harness's and the page's.
    assert!(open_descriptors() < 10, "{} descriptors are left", open_descriptors());
}

/// Turns the loop with immediates, without waiting, until a third connection was accepted.
fn wait_for_third(cx: &mut Cx<'_, Server>) {
    if cx.state.accepted.len() == 3 || cx.iteration() > cx.state.polls_before + 20 {
        cx.stop();
    } else {
        cx.immediate(wait_for_third);
    }
}
