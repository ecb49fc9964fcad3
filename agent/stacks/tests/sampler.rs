//! The program's sampler: its words are of the same thread and instant as the native stack, and where it is not called the
//! sample says so.

mod support;

use loopscope_stacks::{
    CaptureSupport, Capturer, SAMPLER_WORDS, SampleSource, SamplerRegisters, Target, prepare, set_sampler,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use support::{WITHIN, start, until};

/// The sampler is the process's: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Counted up by the thread that is captured.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Writes where the thread was, who it is, and how far it was.
unsafe extern "C" fn place(registers: *const SamplerRegisters, words: *mut u64, room: usize) -> usize {
    assert_eq!(room, SAMPLER_WORDS);
    // SAFETY: the handler passes registers that live until this returns.
    let SamplerRegisters { ip, sp, fp, lr } = unsafe { *registers };
    // SAFETY: gettid takes nothing and returns a number.
    let tid = unsafe { libc::gettid() } as u64;
    let found = [ip, sp, fp, lr, tid, STEPS.load(Ordering::Relaxed)];
    // SAFETY: there is room for more than these words.
    unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), words, found.len()) };
    found.len()
}

/// Says that it wrote more than it may.
unsafe extern "C" fn boast(_: *const SamplerRegisters, _: *mut u64, room: usize) -> usize {
    room + 1_000
}

fn with_sampler(sampler: Option<loopscope_stacks::Sampler>) -> MutexGuard<'static, ()> {
    let guard = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(matches!(prepare(), CaptureSupport::Ready { .. }));
    // SAFETY: these samplers read a register and an atomic, write within their room, and live as long as the program.
    unsafe { set_sampler(sampler) };
    guard
}

/// A thread that counts up until it is told to end.
fn counting() -> (Target, Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    let (target, thread) = start(move || {
        while !told.load(Ordering::Relaxed) {
            STEPS.fetch_add(1, Ordering::Relaxed);
        }
    });
    (target, is_over, thread)
}

#[test]
fn the_sampler_s_words_are_of_the_same_thread_and_instant() {
    let _guard = with_sampler(Some(place));
    let (target, is_over, thread) = counting();
    let before = STEPS.load(Ordering::Relaxed);
    until("the thread has begun", || STEPS.load(Ordering::Relaxed) > before);
    let mut capturer = Capturer::attach(target.clone()).unwrap();
    for _ in 0..100 {
        let first = STEPS.load(Ordering::Relaxed);
        let sample = capturer.capture(WITHIN).unwrap();
        let last = STEPS.load(Ordering::Relaxed);
        let registers = sample.registers;
        let place = [registers.ip, registers.sp, registers.fp, registers.lr, u64::from(target.tid)];
        let foreign = sample.foreign.expect("the sampler was called");
        assert_eq!(foreign[..5], place);
        assert!(foreign.len() == 6 && (first..=last).contains(&foreign[5]), "{first} {foreign:?} {last}");
    }
    is_over.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_thread_that_sleeps_is_read_without_the_sampler_and_the_sample_says_so() {
    let _guard = with_sampler(Some(place));
    let (wake, sleeps) = mpsc::channel::<()>();
    let (target, thread) = start(move || _ = sleeps.recv());
    let mut capturer = Capturer::attach(target).unwrap();
    let mut read = None;
    until("the thread sleeps", || {
        read = capturer.read_sleeping().ok();
        read.is_some()
    });
    let sample = read.unwrap();
    assert_eq!((sample.source, sample.foreign), (SampleSource::Memory, None));
    drop(wake);
    thread.join().unwrap();
}

#[test]
fn without_a_sampler_a_sample_has_no_words_and_one_that_boasts_is_bounded() {
    let guard = with_sampler(None);
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    assert_eq!(capturer.capture(WITHIN).unwrap().foreign, None);
    drop(guard);
    let _guard = with_sampler(Some(boast));
    assert_eq!(capturer.capture(WITHIN).unwrap().foreign.map(|words| words.len()), Some(SAMPLER_WORDS));
}

#[test]
fn an_alternate_stack_without_room_for_the_sampler_leaves_the_stack_without_words() {
    let _guard = with_sampler(Some(place));
    // The least that a capture takes, found as a caller would: no room is left for anybody else.
    let small = |bytes| Target { alternate_stack_bytes: Some(bytes), ..Target::this_thread() };
    let capture = |bytes| Capturer::attach(small(bytes)).unwrap().capture(WITHIN);
    let least = (0..64 * 1024).step_by(512).find(|bytes| capture(*bytes).is_ok()).unwrap();
    assert_eq!(capture(least).unwrap().foreign, None);
    assert!(capture(1 << 20).unwrap().foreign.is_some());
}
