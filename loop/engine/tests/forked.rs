//! Child processes and a loop's descriptors: a command inherits none, and a fork that lets its copy go harms nobody.

use loopscope_loop::{Loop, Mode, PanicPolicy, StreamEvent};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One at a time: a child that is forked while another thread holds a lock finds it locked for ever.
static ALONE: Mutex<()> = Mutex::new(());

/// A loop that echoes, has a timer and jobs, and a client of it.
fn echoing() -> (Loop<usize>, TcpStream) {
    let mut event_loop = Loop::builder(0).on_panic(PanicPolicy::Propagate).build().unwrap();
    let address: SocketAddr = event_loop.main(|cx| {
        cx.every(Duration::from_millis(1), |cx| *cx.state += 1);
        let listener = cx.listen((Ipv4Addr::LOCALHOST, 0).into(), |cx, connection| {
            cx.on_stream(connection.unwrap(), |cx, key, event| match event {
                StreamEvent::Data(bytes) => drop(cx.write(key, bytes).unwrap()),
                other => panic!("{other:?}"),
            });
        });
        cx.local_addr(listener.unwrap()).unwrap()
    });
    (event_loop, TcpStream::connect(address).unwrap())
}

/// Sends something and turns the loop until it has come back.
fn echo(event_loop: &mut Loop<usize>, client: &mut TcpStream, text: &[u8]) {
    client.set_nonblocking(true).unwrap();
    client.write_all(text).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 64];
    while received.len() < text.len() {
        assert!(event_loop.run(Mode::Once).unwrap(), "the timer keeps it alive");
        if let Ok(count) = client.read(&mut buffer) {
            received.extend_from_slice(&buffer[..count]);
        }
    }
    assert_eq!(received, text);
}

/// Runs `child` in a forked process, and tells whether it ended well.
fn in_child(child: impl FnOnce()) -> bool {
    // SAFETY: the child runs `child` alone, on its one thread, and leaves by `_exit`. No other thread of this program
    // holds a lock that it needs: the tests here run one at a time, no pool thread was started, and the C library takes
    // the allocator's locks over the fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let is_good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_ok();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_good)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; `status` has room for the answer.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_fork_that_drops_its_copy_of_the_loop_leaves_the_parent_s_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (event_loop, mut client) = echoing();
    let mut copy = Some(event_loop);
    echo(copy.as_mut().unwrap(), &mut client, b"before the fork");
    assert!(in_child(|| drop(copy.take())));
    let mut event_loop = copy.expect("the child took its own copy");
    echo(&mut event_loop, &mut client, b"after the fork");
    // What the child took with it does not keep the connection open.
    drop(event_loop);
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_command_inherits_no_descriptor_of_a_loop() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let listed = || {
        let output = Command::new("ls").arg("/proc/self/fd").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let before = listed();
    let (mut event_loop, mut client) = echoing();
    event_loop.main(|cx| {
        let _ = cx.pipe().unwrap();
        cx.on_signal(loopscope_loop::signals::SIGUSR1, |_| {}).unwrap();
        cx.udp((Ipv4Addr::LOCALHOST, 0).into(), |_, _, _| {}).unwrap();
    });
    echo(&mut event_loop, &mut client, b"all of it is open");
    assert_eq!(listed(), before);
}

#[test]
fn a_fork_that_lets_its_copy_go_leaves_the_parents_socket_files() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let paths = ["listener", "datagrams"].map(|name| {
        let path = std::env::temp_dir().join(format!("loopscope-{}-forked-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    });
    let mut event_loop = Loop::new().unwrap();
    event_loop.main(|cx| {
        cx.listen_unix(&paths[0], |_, _| {}).unwrap();
        cx.unix_datagram(Some(&paths[1]), |_, _, _| {}).unwrap();
    });
    let mut copy = Some(event_loop);
    assert!(in_child(|| drop(copy.take())));
    assert!(paths.iter().all(|path| path.exists()), "the child removed them");
    drop(copy);
    assert!(!paths.iter().any(|path| path.exists()), "they go with the loop that made them");
}
