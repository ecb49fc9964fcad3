//! Sources of the program's own, and descriptors that cannot be watched.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::Mode;
use loopscope_loop::mio::event::Source;
use loopscope_loop::mio::unix::{SourceFd, pipe};
use loopscope_loop::mio::{Interest, Registry, Token};
use real_loop::real_loop;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A descriptor that somebody else owns, open or not.
struct Borrowed(RawFd);

impl Source for Borrowed {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.0).register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.0).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0).deregister(registry)
    }
}

#[test]
fn an_adopted_source_is_read_in_turns_of_the_program_s_own() {
    let mut event_loop = real_loop(Vec::new());
    let (mut sender, receiver) = pipe::new().unwrap();
    event_loop.main(|cx| {
        let key = cx.adopt(receiver, Interest::READABLE, |cx, key, readiness| {
            // One byte a turn, and then the others.
            let mut byte = [0];
            assert!(cx.adopted::<pipe::Sender>(key).is_none(), "it is of another type");
            match cx.adopted::<pipe::Receiver>(key).unwrap().read(&mut byte) {
                Ok(0) => assert!(cx.close(key) && !cx.again(key, readiness)),
                Ok(_) => {
                    let iteration = cx.iteration();
                    cx.state.push((byte[0], iteration));
                    assert!(cx.again(key, readiness));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        });
        let key = key.unwrap();
        assert!(cx.adopted::<pipe::Receiver>(key).is_some());
        sender.write_all(b"abc").unwrap();
        cx.after(Duration::from_millis(5), move |_| drop(sender));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let (bytes, iterations): (Vec<u8>, Vec<u64>) = event_loop.into_state().into_iter().unzip();
    assert_eq!(bytes, b"abc");
    assert!(iterations.windows(2).all(|pair| pair[1] == pair[0] + 1), "{iterations:?}");
}

#[test]
fn an_interest_that_changes_reports_what_is_so_already() {
    let mut event_loop = real_loop(Vec::new());
    let (ours, theirs) = mio_pair();
    event_loop.main(|cx| {
        let key = cx.adopt(ours, Interest::READABLE, |cx, key, readiness| {
            cx.state.push((readiness.is_readable, readiness.is_writable));
            cx.close(key);
        });
        let key = key.unwrap();
        cx.after(Duration::from_millis(5), move |cx| {
            assert!(cx.state.is_empty(), "there is nothing to read");
            cx.set_interest(key, Interest::WRITABLE).unwrap();
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    drop(theirs);
    assert_eq!(event_loop.into_state(), [(false, true)]);
}

fn mio_pair() -> (loopscope_loop::mio::net::UnixStream, loopscope_loop::mio::net::UnixStream) {
    loopscope_loop::mio::net::UnixStream::pair().unwrap()
}

#[test]
fn a_closed_descriptor_one_watched_twice_and_a_regular_file_are_refused() {
    let mut event_loop = real_loop(());
    let (sender, receiver) = pipe::new().unwrap();
    let regular = std::fs::File::open("/proc/self/exe").unwrap();
    event_loop.main(|cx| {
        // No process has that many open.
        let closed = cx.adopt(Borrowed(1_000_000), Interest::READABLE, |_, _, _| {}).unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
        let once = cx.adopt(Borrowed(receiver.as_raw_fd()), Interest::READABLE, |_, _, _| {}).unwrap();
        let twice = cx.adopt(Borrowed(receiver.as_raw_fd()), Interest::READABLE, |_, _, _| {}).unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
        let file = cx.adopt(Borrowed(regular.as_raw_fd()), Interest::READABLE, |_, _, _| {}).unwrap_err();
        assert_eq!(file.kind(), ErrorKind::PermissionDenied);
        assert!(cx.close(once));
        // Nothing is left of those that were refused, so it can be watched again.
        let again = cx.adopt(Borrowed(receiver.as_raw_fd()), Interest::READABLE, |_, _, _| {}).unwrap();
        assert!(cx.close(again));
        assert!(cx.set_interest(again, Interest::READABLE).is_err());
    });
    drop(sender);
    assert!(!event_loop.run(Mode::Default).unwrap(), "nothing that was refused keeps it alive");
}

#[test]
fn a_descriptor_that_was_closed_behind_the_loop_s_back_harms_nobody_else() {
    let mut event_loop = real_loop(0);
    let (mut sender, receiver) = pipe::new().unwrap();
    let (gone, other_end) = pipe::new().unwrap();
    event_loop.main(|cx| {
        let stale = cx.adopt(Borrowed(gone.as_raw_fd()), Interest::WRITABLE, |_, _, _| {}).unwrap();
        drop((gone, other_end));
        cx.adopt(receiver, Interest::READABLE, move |cx, key, _| {
            *cx.state += 1;
            assert!(cx.close(key) && cx.close(stale));
        })
        .unwrap();
        sender.write_all(b"x").unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), 1);
}

#[test]
fn more_sources_than_one_wait_reports_are_all_of_one_iteration() {
    const SOURCES: usize = 2500;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    if limit.maximum.is_some_and(|maximum| maximum < SOURCES as u64 + 100) {
        return println!("skipped: {SOURCES} sources: the limit of open files is {:?}", limit.maximum);
    }
    let open = || rustix::event::eventfd(1, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let ready: Vec<OwnedFd> = (0..SOURCES).map(|_| open()).collect();
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| {
        for descriptor in &ready {
            let source = Borrowed(descriptor.as_raw_fd());
            let key = cx.adopt(source, Interest::READABLE, |cx, key, _| {
                let iteration = cx.iteration();
                cx.state.push(iteration);
                cx.close(key);
            });
            key.unwrap();
        }
    });
    event_loop.run(Mode::Default).unwrap();
    let iterations = event_loop.into_state();
    assert_eq!(iterations.len(), SOURCES);
    assert!(iterations.iter().all(|iteration| *iteration == iterations[0]), "one iteration for all");
}
