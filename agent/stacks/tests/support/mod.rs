//! What several tests need: a thread to look at, and waiting for something to be true.

#![allow(dead_code, reason = "no test needs all of it")]

use loopscope_stacks::{Capturer, Detail, NativeFrame, RawStack, Sample, Symbolizer, Target, Unwinder};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A generous deadline: only a test that fails waits for it.
pub const WITHIN: Duration = Duration::from_secs(30);

/// Starts a thread and returns how to capture it.
pub fn start(work: impl FnOnce() + Send + 'static) -> (Target, std::thread::JoinHandle<()>) {
    let (send, receive) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        send.send(Target::this_thread()).unwrap();
        work();
    });
    (receive.recv().unwrap(), thread)
}

/// Waits until something is true.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !is_true() {
        assert!(deadline > Instant::now(), "waiting in vain: {what}");
        std::thread::yield_now();
    }
}

/// Unwinds and names.
pub fn named(sample: &Sample, detail: Detail) -> (RawStack, Vec<NativeFrame>) {
    let mut unwinder = Unwinder::new();
    let stack = unwinder.unwind(sample);
    let frames = Symbolizer::new(detail).name(&stack, unwinder.modules());
    (stack, frames)
}

/// Captures a thread once, and names what was found.
pub fn capture(target: &Target) -> (RawStack, Vec<NativeFrame>) {
    let sample = Capturer::attach(target.clone()).unwrap().capture(WITHIN).unwrap();
    named(&sample, Detail::Symbols)
}

/// Whether a stack was found whole, by tables alone. musl's C library has none, so there nothing is known of the frames
/// that are its own.
pub fn is_whole(stack: &RawStack) -> bool {
    cfg!(target_env = "musl") || stack.is_complete && !stack.is_guessed && !stack.is_cut
}

/// Whether a function is among the frames.
pub fn has(frames: &[NativeFrame], function: &str) -> bool {
    frames.iter().any(|frame| frame.function == function)
}

/// Queues a signal with a value at the calling thread, as `pthread_sigqueue` does, which musl lacks.
pub fn queue(signal: i32, value: u64) {
    let pid = std::process::id();
    // The head of a siginfo_t: signal, errno; code; pid, uid; value.
    let head = [signal as u64, libc::SI_QUEUE as u32 as u64, u64::from(pid), value];
    let mut info = [0; 16];
    info[..4].copy_from_slice(&head);
    let tid = Target::this_thread().tid;
    // SAFETY: the kernel reads the 128 bytes of `info`; the caller's signal has a handler.
    let sent = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info.as_ptr()) };
    assert_eq!(sent, 0);
}
