//! A thread that sleeps in the kernel is read, not woken: its stack is found, and its call ends as if nobody had looked.

mod support;

use loopscope_stacks::thread::ThreadState;
use loopscope_stacks::{
    Capturer, Detail, RawStack, Sample, SampleSource, SleepingError, Symbolizer, TagSource, Target, Unwinder,
};
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{Error, ErrorKind, PipeReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{start, until};

/// How long a call waits. A thread that nobody has read by then calls again.
const WAIT: Duration = Duration::from_millis(200);

#[inline(never)]
fn outer(call: &mut dyn FnMut()) {
    middle(call, black_box(3));
    black_box(());
}

#[inline(never)]
fn middle(call: &mut dyn FnMut(), depth: u64) {
    let room = black_box([depth; 9]);
    call();
    black_box(room);
}

/// Names without their paths, leaf first.
fn names(unwinder: &Unwinder, stack: &RawStack) -> Vec<String> {
    let frames = Symbolizer::new(Detail::Symbols).name(stack, unwinder.modules());
    frames.into_iter().map(|frame| frame.function).collect()
}

/// Whether the stack is whole, as far as the C library has tables.
fn is_whole(stack: &RawStack) -> bool {
    cfg!(target_env = "musl") || stack.is_complete && !stack.is_cut
}

/// Reads a thread as soon as it sleeps in one of the calls.
fn read(target: &Target, calls: &[&str]) -> (Sample, RawStack, Vec<String>) {
    let mut capturer = Capturer::attach(target.clone()).unwrap();
    let mut unwinder = Unwinder::new();
    let mut found = None;
    until(&format!("the thread sleeps in {calls:?}"), || {
        let words = ThreadState::look(target.tid).unwrap().words();
        if calls.iter().any(|call| words.starts_with(&format!("{call}("))) {
            match capturer.read_sleeping() {
                Ok(sample) => found = Some(sample),
                Err(SleepingError::NotAsleep | SleepingError::Woke) => {}
                Err(error) => panic!("{error}"),
            }
        }
        found.is_some()
    });
    let sample = found.unwrap();
    assert_eq!((sample.source, sample.handler_ns), (SampleSource::Memory, 0));
    let stack = unwinder.unwind(&sample);
    let names = names(&unwinder, &stack);
    (sample, stack, names)
}

/// Looks for the functions among the names, in this order.
fn assert_calls(names: &[String], functions: &[&str]) {
    let mut rest = names.iter();
    for function in functions {
        assert!(rest.any(|name| name == function), "{function} is missing in {names:#?}");
    }
}

/// Lets a thread call `call` until it was read, and asserts that each call waited and that its stack was found. The call
/// returns what it was answered, which is nothing where that was right.
fn is_read(function: &str, calls: &[&str], wait: Duration, call: fn(Duration) -> Option<Error>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = is_over.clone();
    let (target, thread): (_, JoinHandle<()>) = start(move || {
        outer(&mut || {
            while !theirs.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let wrong = call(wait);
                assert!(wrong.is_none(), "answered {wrong:?}");
                assert!(begin.elapsed() >= wait, "ended after {:?}", begin.elapsed());
            }
        });
    });
    let (_, stack, names) = read(&target, calls);
    is_over.store(true, Ordering::Relaxed);
    assert_calls(&names, &[function, "sleeping::middle", "sleeping::outer"]);
    assert!(is_whole(&stack), "{stack:x?} {names:#?}");
    thread.join().unwrap();
}

/// What a call was answered, if that is not `expected`.
fn unless(answer: libc::c_int, expected: libc::c_int) -> Option<Error> {
    (answer != expected).then(Error::last_os_error)
}

/// The same for calls that fail when their time is up.
fn unless_error(answer: isize, expected: i32) -> Option<Error> {
    let error = Error::last_os_error();
    (answer != -1 || error.raw_os_error() != Some(expected)).then_some(error)
}

#[inline(never)]
fn waits_in_poll(wait: Duration) -> Option<Error> {
    // SAFETY: no descriptors are passed.
    black_box(unless(unsafe { libc::poll(std::ptr::null_mut(), 0, wait.as_millis() as i32) }, 0))
}

#[inline(never)]
fn waits_in_select(wait: Duration) -> Option<Error> {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: wait.as_micros() as libc::suseconds_t };
    let none = std::ptr::null_mut();
    // SAFETY: no descriptors are passed, and the time is a live local.
    black_box(unless(unsafe { libc::select(0, none, none, none, &mut time) }, 0))
}

#[inline(never)]
fn waits_in_epoll(wait: Duration) -> Option<Error> {
    // SAFETY: takes a number, returns a descriptor.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: there is room for one event.
    let answer = unsafe { libc::epoll_wait(epoll, &mut event, 1, wait.as_millis() as i32) };
    let wrong = unless(answer, 0);
    // SAFETY: the descriptor was opened above, and is used by nobody else.
    unsafe { libc::close(epoll) };
    black_box(wrong)
}

#[inline(never)]
fn waits_in_nanosleep(wait: Duration) -> Option<Error> {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
    // SAFETY: the time is a live local, and what is left is not asked for.
    black_box(unless(unsafe { libc::nanosleep(&time, std::ptr::null_mut()) }, 0))
}

#[inline(never)]
fn waits_in_usleep(wait: Duration) -> Option<Error> {
    // SAFETY: takes a number, returns one.
    black_box(unless(unsafe { libc::usleep(wait.as_micros() as u32) }, 0))
}

#[inline(never)]
fn waits_in_sleep(wait: Duration) -> Option<Error> {
    // SAFETY: takes a number, returns how many seconds are left.
    black_box(unless(unsafe { libc::sleep(wait.as_secs() as u32) } as i32, 0))
}

#[inline(never)]
fn waits_in_std_sleep(wait: Duration) -> Option<Error> {
    std::thread::sleep(wait);
    black_box(None)
}

#[inline(never)]
fn waits_in_recv(wait: Duration) -> Option<Error> {
    let (mut one, _other) = UnixStream::pair().unwrap();
    one.set_read_timeout(Some(wait)).unwrap();
    let answer = one.read(&mut [0; 4]);
    black_box(answer.err().filter(|error| error.kind() != ErrorKind::WouldBlock))
}

#[inline(never)]
fn waits_in_sem(wait: Duration) -> Option<Error> {
    // SAFETY: zeros are a valid value of either.
    let (mut semaphore, mut time): (libc::sem_t, libc::timespec) = unsafe { std::mem::zeroed() };
    // SAFETY: the semaphore is a live local that nobody uses yet.
    unsafe { libc::sem_init(&mut semaphore, 0, 0) };
    // SAFETY: the time is a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut time) };
    let until_ns = time.tv_nsec + i64::from(wait.subsec_nanos()) + 1_000_000;
    (time.tv_sec, time.tv_nsec) = (time.tv_sec + until_ns / 1_000_000_000, until_ns % 1_000_000_000);
    // SAFETY: the semaphore is initialized, and both outlive the call.
    let answer = unsafe { libc::sem_timedwait(&mut semaphore, &time) };
    black_box(unless_error(answer as isize, libc::ETIMEDOUT))
}

#[test]
fn a_poll_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_poll", &["poll", "ppoll"], WAIT, waits_in_poll);
}

#[test]
fn a_select_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_select", &["select", "pselect6"], WAIT, waits_in_select);
}

#[test]
fn an_epoll_wait_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_epoll", &["epoll_wait", "epoll_pwait"], WAIT, waits_in_epoll);
}

#[test]
fn a_nanosleep_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_nanosleep", &["nanosleep", "clock_nanosleep"], WAIT, waits_in_nanosleep);
}

#[test]
fn a_usleep_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_usleep", &["nanosleep", "clock_nanosleep"], WAIT, waits_in_usleep);
}

#[test]
fn a_sleep_is_read_and_keeps_its_length() {
    let wait = Duration::from_secs(1);
    is_read("sleeping::waits_in_sleep", &["nanosleep", "clock_nanosleep"], wait, waits_in_sleep);
}

#[test]
fn a_sleep_of_std_is_read_through_its_frame_pointers() {
    is_read("sleeping::waits_in_std_sleep", &["nanosleep", "clock_nanosleep"], WAIT, waits_in_std_sleep);
}

#[test]
fn a_recv_with_a_time_out_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_recv", &["recvfrom", "read"], WAIT, waits_in_recv);
}

#[test]
fn a_semaphore_with_a_time_out_is_read_and_keeps_its_length() {
    is_read("sleeping::waits_in_sem", &["futex"], WAIT, waits_in_sem);
}

#[inline(never)]
fn waits_for_a_lock(lock: &Mutex<()>) {
    drop(black_box(lock.lock().unwrap()));
}

#[test]
fn a_contended_lock_is_read() {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let theirs = lock.clone();
    let (target, thread) = start(move || outer(&mut || waits_for_a_lock(&theirs)));
    let (_, stack, names) = read(&target, &["futex"]);
    assert_calls(&names, &["sleeping::waits_for_a_lock", "sleeping::middle", "sleeping::outer"]);
    assert!(is_whole(&stack), "{stack:x?} {names:#?}");
    drop(held);
    thread.join().unwrap();
}

#[inline(never)]
fn waits_for_a_child(input: Stdio) {
    let status = Command::new("cat").stdin(input).stdout(Stdio::null()).status();
    assert!(black_box(status).unwrap().success());
}

#[test]
fn a_wait_for_a_child_is_read() {
    let (input, end) = std::io::pipe().unwrap();
    let mut input = Some(Stdio::from(input));
    let (target, thread) = start(move || outer(&mut || waits_for_a_child(input.take().unwrap())));
    let (_, stack, names) = read(&target, &["wait4", "waitid"]);
    assert_calls(&names, &["sleeping::waits_for_a_child", "sleeping::middle", "sleeping::outer"]);
    assert!(is_whole(&stack), "{stack:x?} {names:#?}");
    drop(end);
    thread.join().unwrap();
}

#[inline(never)]
fn waits_for_a_writer(path: &std::path::Path) {
    black_box(std::fs::File::open(path).unwrap());
}

#[test]
fn an_open_of_a_fifo_is_read() {
    let folder = std::env::temp_dir().join(format!("loopscope-sleeping-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("fifo");
    let named = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(named.as_ptr(), 0o600) }, 0);
    let theirs = path.clone();
    let (target, thread) = start(move || outer(&mut || waits_for_a_writer(&theirs)));
    let (_, stack, names) = read(&target, &["openat", "open"]);
    assert_calls(&names, &["sleeping::waits_for_a_writer", "sleeping::middle", "sleeping::outer"]);
    assert!(is_whole(&stack), "{stack:x?} {names:#?}");
    drop(OpenOptions::new().write(true).open(&path).unwrap());
    thread.join().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[inline(never)]
fn reads_a_byte(mut pipe: PipeReader) {
    black_box(pipe.read(&mut [0]).unwrap());
}

struct Words([AtomicU64; 2]);

// SAFETY: the words are in the source itself, which nobody moves while it is shared.
unsafe impl TagSource for Words {
    fn words(&self) -> Vec<*const AtomicU64> {
        self.0.iter().map(std::ptr::from_ref).collect()
    }
}

#[test]
fn the_words_of_the_target_are_read_with_its_stack() {
    let (pipe, end) = std::io::pipe().unwrap();
    let (mut target, thread) = start(move || reads_a_byte(pipe));
    let words = Arc::new(Words([AtomicU64::new(1), AtomicU64::new(2)]));
    target.tags = Some(words.clone());
    assert_eq!(read(&target, &["read"]).0.tags, [1, 2]);
    words.0[1].store(3, Ordering::Relaxed);
    assert_eq!(read(&target, &["read"]).0.tags, [1, 3]);
    drop(end);
    thread.join().unwrap();
}

#[test]
fn a_stack_pointer_outside_the_stack_gives_the_place_alone() {
    let (pipe, end) = std::io::pipe().unwrap();
    let (mut target, thread) = start(move || reads_a_byte(pipe));
    target.stack = 0x1000..0x2000;
    let (sample, stack, _) = read(&target, &["read"]);
    assert!(sample.is_off_stack && sample.stack.is_empty());
    assert_eq!(stack.addresses, [sample.registers.ip]);
    drop(end);
    thread.join().unwrap();
}

#[test]
fn a_thread_that_runs_is_not_read() {
    let own = Capturer::attach(Target::this_thread()).unwrap().read_sleeping();
    assert!(matches!(own, Err(SleepingError::NotAsleep)), "the own thread");
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = is_over.clone();
    let (target, thread) = start(move || while !theirs.load(Ordering::Relaxed) {});
    let other = Capturer::attach(target).unwrap().read_sleeping();
    assert!(matches!(other, Err(SleepingError::NotAsleep)), "another thread");
    is_over.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_thread_that_ended_with_its_stack_unmapped_is_gone() {
    let (send, receive) = std::sync::mpsc::channel();
    let (pipe, end) = std::io::pipe().unwrap();
    // Larger than what C libraries keep of the stacks of ended threads.
    let large = std::thread::Builder::new().stack_size(256 << 20);
    let thread = large.spawn(move || {
        send.send(Target::this_thread()).unwrap();
        reads_a_byte(pipe);
    });
    let target = receive.recv().unwrap();
    let mut capturer = Capturer::attach(target.clone()).unwrap();
    read(&target, &["read"]);
    drop(end);
    thread.unwrap().join().unwrap();
    until("it is gone", || matches!(capturer.read_sleeping(), Err(SleepingError::ThreadGone)));
    let again = capturer.read_sleeping();
    assert!(matches!(again, Err(SleepingError::ThreadGone)), "it stays gone");
}

/// How often each happened.
#[derive(Debug, Default)]
struct Counts {
    read: u64,
    unfound: u64,
    ran: u64,
    woke: u64,
    unreadable: u64,
}

/// Reads a thread until it has ended; it is woken, and ends, at some moment after the first reading.
fn read_to_the_end(target: Target, mut end: impl Write, unwinder: &mut Unwinder, counts: &mut Counts) {
    let mut capturer = Capturer::attach(target).unwrap();
    let mut reads = 0;
    loop {
        match capturer.read_sleeping() {
            Ok(sample) => {
                reads += 1;
                counts.read += 1;
                let stack = unwinder.unwind(&sample);
                counts.unfound += u64::from(!is_whole(&stack));
                if reads == 1 {
                    // From now on it runs, ends, and its stack goes.
                    end.write_all(&[1]).unwrap();
                }
            }
            Err(SleepingError::NotAsleep) => counts.ran += 1,
            Err(SleepingError::Woke) => counts.woke += 1,
            // Its stack is unmapped while it ends.
            Err(SleepingError::NotReadable(_)) => counts.unreadable += 1,
            Err(SleepingError::ThreadGone) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// `LOOPSCOPE_WAKES=100000` makes it as many, before a release.
#[test]
fn a_thread_may_wake_and_end_while_it_is_read() {
    let wakes = std::env::var("LOOPSCOPE_WAKES").ok().map_or(1_000, |wakes| wakes.parse().unwrap());
    let (mut unwinder, mut counts) = (Unwinder::new(), Counts::default());
    for wake in 0..wakes {
        let (send, receive) = std::sync::mpsc::channel();
        let (pipe, end) = std::io::pipe().unwrap();
        // Every other one has a stack that is unmapped at once.
        let bytes = if wake % 2 == 0 { 256 << 20 } else { 64 << 10 };
        let thread = std::thread::Builder::new().stack_size(bytes).spawn(move || {
            send.send(Target::this_thread()).unwrap();
            reads_a_byte(pipe);
        });
        read_to_the_end(receive.recv().unwrap(), end, &mut unwinder, &mut counts);
        thread.unwrap().join().unwrap();
    }
    eprintln!("{wakes} threads: {counts:?}");
    assert!(counts.read >= wakes);
}
