//! A blocked thread: what the kernel says that it waits in, and the function that waits.

mod support;

use loopscope_stacks::thread::{Activity, ThreadState, cpu_ns};
use loopscope_stacks::{NativeFrame, Target};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{capture, has, is_whole, start, until};

/// Waits until the thread is in a call, captures it, and returns the call's words and the stack.
fn caught(target: &Target, call: &str) -> (String, Vec<NativeFrame>) {
    let words = || ThreadState::look(target.tid).unwrap().words();
    until(call, || words().starts_with(call));
    let told = words();
    let (stack, frames) = capture(target);
    assert!(is_whole(&stack), "{stack:x?} {frames:#?}");
    until("the call is restarted after the signal", || words().starts_with(call));
    (told, frames)
}

#[inline(never)]
fn reads_forever(mut pipe: impl Read) {
    let mut byte = [0];
    std::hint::black_box(pipe.read(&mut byte).unwrap());
}

#[test]
fn a_read_tells_its_descriptor_and_what_that_is() {
    let (read, mut write) = std::io::pipe().unwrap();
    let (target, thread) = start(move || reads_forever(read));
    let (words, frames) = caught(&target, "read(");
    assert!(words.starts_with("read(fd ") && words.contains(" -> pipe:["), "{words}");
    assert!(frames.iter().any(|frame| frame.function.contains("reads_forever")), "{frames:#?}");
    write.write_all(b"x").unwrap();
    thread.join().unwrap();
}

#[inline(never)]
fn sleeps_for_an_hour() {
    std::thread::sleep(Duration::from_secs(3600));
    std::hint::black_box(());
}

#[test]
fn a_sleep_tells_how_long() {
    // It sleeps until the process ends.
    let (target, _) = start(sleeps_for_an_hour);
    let (words, frames) = caught(&target, "clock_nanosleep(");
    assert_eq!(words, "clock_nanosleep(3600s)");
    assert!(has(&frames, "blocked::sleeps_for_an_hour"), "{frames:#?}");
}

#[inline(never)]
fn waits_for_a_lock(lock: &Mutex<()>) {
    drop(std::hint::black_box(lock.lock().unwrap()));
}

#[test]
fn a_lock_held_by_another_thread_is_a_futex() {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let theirs = lock.clone();
    let (target, thread) = start(move || waits_for_a_lock(&theirs));
    let (words, frames) = caught(&target, "futex(");
    assert!(words.starts_with("futex(wait at 0x"), "{words}");
    assert!(has(&frames, "blocked::waits_for_a_lock"), "{frames:#?}");
    drop(held);
    thread.join().unwrap();
}

#[inline(never)]
fn connects_in_vain(address: SocketAddr) {
    // The listener's queue holds a few; the first that finds no place blocks.
    let connections: Vec<_> = (0..64).map_while(|_| std::net::TcpStream::connect(address).ok()).collect();
    std::hint::black_box(connections);
}

#[test]
fn a_connect_tells_the_peer() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let (target, thread) = start(move || connects_in_vain(address));
    let (words, frames) = caught(&target, "connect(");
    assert!(words.contains(" -> socket:[") && words.ends_with(&format!(", {address})")), "{words}");
    assert!(has(&frames, "blocked::connects_in_vain"), "{frames:#?}");
    // Refused from now on.
    drop(listener);
    thread.join().unwrap();
}

#[test]
fn a_busy_thread_runs_and_uses_time() {
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = is_over.clone();
    let (target, thread) = start(move || while !theirs.load(Ordering::Relaxed) {});
    until("it used a ms", || cpu_ns(target.tid).unwrap() > 1_000_000);
    assert_eq!(ThreadState::look(target.tid).unwrap().activity, Activity::Running);
    is_over.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    until("it is gone", || cpu_ns(target.tid).is_none());
    assert_eq!(ThreadState::look(target.tid).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
