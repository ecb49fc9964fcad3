//! Captures that cannot be, or come late: each says what is the matter, and none does harm.

mod support;

use loopscope_stacks::thread::is_blocking;
use loopscope_stacks::{
    CaptureError, CaptureSupport, Capturer, TagSource, Target, block_signal, foreign_signals, prepare,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use support::{WITHIN, named, start, until};

/// Long enough for a signal that can be delivered, and short enough to wait for one that cannot.
const SHORT: Duration = Duration::from_millis(200);

fn signal() -> i32 {
    match prepare() {
        CaptureSupport::Ready { signal, .. } => signal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thread_that_ended_is_gone() {
    let (hold, held) = mpsc::channel::<()>();
    let (target, thread) = start(move || _ = held.recv());
    let mut capturer = Capturer::attach(target.clone()).unwrap();
    capturer.capture(WITHIN).unwrap();
    drop(hold);
    thread.join().unwrap();
    until("it is gone", || matches!(capturer.ask(), Err(CaptureError::ThreadGone)));
    assert!(matches!(capturer.capture(WITHIN), Err(CaptureError::ThreadGone)));
    assert!(matches!(Capturer::attach(target), Err(CaptureError::ThreadGone)));
}

#[test]
fn a_blocked_signal_is_not_delivered_and_the_late_sample_is_taken_later() {
    let (hold, held) = mpsc::channel::<()>();
    let (send, receive) = mpsc::channel();
    signal();
    let (_, thread) = start(move || {
        block_signal();
        send.send(Target::this_thread()).unwrap();
        let _ = held.recv();
        unblock(signal());
    });
    let target = receive.recv().unwrap();
    assert_eq!(is_blocking(target.tid, signal()), Some(true));
    let mut capturer = Capturer::attach(target.clone()).unwrap();
    assert!(matches!(capturer.capture(SHORT), Err(CaptureError::NotDelivered)));
    // A capture during a capture: the slot is not asked again while the first signal may arrive.
    assert!(matches!(capturer.ask(), Err(CaptureError::InFlight)));
    assert!(capturer.take().is_none());
    // Another capturer of the same thread has a slot of its own.
    let mut other = Capturer::attach(target.clone()).unwrap();
    assert!(matches!(other.capture(SHORT), Err(CaptureError::NotDelivered)));
    drop(hold);
    thread.join().unwrap();
    let late = capturer.take().expect("it arrived when the thread unblocked the signal");
    assert!(!late.is_off_stack && !late.stack.is_empty());
    assert!(other.take().is_some());
    assert!(capturer.take().is_none(), "a sample is taken once");
}

#[test]
fn a_capturer_may_be_dropped_while_a_signal_is_on_its_way() {
    struct Words(AtomicU64, Arc<AtomicBool>);
    impl Drop for Words {
        fn drop(&mut self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    // SAFETY: the word lives as long as the source, in its Arc.
    unsafe impl TagSource for Words {
        fn words(&self) -> Vec<*const AtomicU64> {
            vec![&raw const self.0]
        }
    }
    let (hold, held) = mpsc::channel::<()>();
    let (send, receive) = mpsc::channel();
    signal();
    let (_, thread) = start(move || {
        block_signal();
        send.send(Target::this_thread()).unwrap();
        let _ = held.recv();
        unblock(signal());
    });
    let is_dropped = Arc::new(AtomicBool::new(false));
    let words: Arc<dyn TagSource> = Arc::new(Words(AtomicU64::new(7), is_dropped.clone()));
    let mut capturer = Capturer::attach(Target { tags: Some(words), ..receive.recv().unwrap() }).unwrap();
    capturer.ask().unwrap();
    drop(capturer);
    assert!(!is_dropped.load(Ordering::Relaxed), "the handler will still read the words");
    drop(hold);
    thread.join().unwrap();
}

#[test]
fn tags_are_copied_with_the_stack() {
    struct Words([AtomicU64; 2]);
    // SAFETY: the words live as long as the source, in its Arc.
    unsafe impl TagSource for Words {
        fn words(&self) -> Vec<*const AtomicU64> {
            self.0.iter().map(|word| &raw const *word).collect()
        }
    }
    let words = Arc::new(Words([AtomicU64::new(1), AtomicU64::new(2)]));
    let tags: Arc<dyn TagSource> = words.clone();
    let mut capturer = Capturer::attach(Target { tags: Some(tags), ..Target::this_thread() }).unwrap();
    assert_eq!(capturer.capture(WITHIN).unwrap().tags, [1, 2]);
    words.0[1].store(9, Ordering::Relaxed);
    assert_eq!(capturer.capture(WITHIN).unwrap().tags, [1, 9]);
}

#[test]
fn more_tags_than_are_copied_are_an_error() {
    struct Words;
    // SAFETY: a static word is valid for ever.
    unsafe impl TagSource for Words {
        fn words(&self) -> Vec<*const AtomicU64> {
            static WORD: AtomicU64 = AtomicU64::new(0);
            vec![&raw const WORD; 17]
        }
    }
    let target = Target { tags: Some(Arc::new(Words)), ..Target::this_thread() };
    let Err(CaptureError::System(error)) = Capturer::attach(target) else { panic!("17 words") };
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn errno_is_as_before_the_signal() {
    let errno = errno();
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    for value in [libc::EINTR, libc::ENOENT, 0] {
        capturer.ask().unwrap();
        // SAFETY: the address of this thread's errno.
        unsafe { *errno = value };
        capturer.take().expect("a signal to oneself arrives at once");
        // SAFETY: as above.
        assert_eq!(unsafe { *errno }, value);
    }
    // The signal arrives while the value is set, not before.
    let (target, is_over) = (Target::this_thread(), Arc::new(AtomicBool::new(false)));
    let theirs = is_over.clone();
    let asking = std::thread::spawn(move || {
        let mut capturer = Capturer::attach(target).unwrap();
        (0..200).for_each(|_| drop(capturer.capture(WITHIN).unwrap()));
        theirs.store(true, Ordering::Release);
    });
    while !is_over.load(Ordering::Acquire) {
        // SAFETY: the address of this thread's errno.
        unsafe { errno.write_volatile(libc::EXDEV) };
        std::hint::spin_loop();
        // SAFETY: as above.
        assert_eq!(unsafe { errno.read_volatile() }, libc::EXDEV);
    }
    asking.join().unwrap();
}

#[test]
fn a_signal_of_somebody_else_is_counted_and_dropped() {
    let signal = signal();
    let before = foreign_signals();
    // SAFETY: raise sends a signal that has a handler to the calling thread.
    unsafe { libc::raise(signal) };
    // Queued by this process, but not with the address of a slot.
    support::queue(signal, 0x1000);
    assert!(foreign_signals() >= before + 2);
    Capturer::attach(Target::this_thread()).unwrap().capture(WITHIN).unwrap();
}

/// What the handler on the alternate stack found.
static FOUND: Mutex<Option<loopscope_stacks::Sample>> = Mutex::new(None);

#[test]
fn on_another_stack_there_are_registers_only() {
    extern "C" fn on_alternate_stack(_signal: libc::c_int) {
        // Raised by the test itself, so no lock of the allocator is held.
        let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
        *FOUND.lock().unwrap() = Some(capturer.capture(WITHIN).unwrap());
    }
    prepare();
    let (_, thread) = start(|| {
        let room = Box::leak(vec![0_u8; 256 * 1024].into_boxed_slice());
        let stack = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
        // SAFETY: the memory was leaked, so it outlives the thread.
        assert_eq!(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) }, 0);
        // SAFETY: zeros are a valid action: no flags and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_alternate_stack as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: the action is initialized; nobody else in this program uses the signal.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) }, 0);
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(libc::SIGUSR2) };
    });
    thread.join().unwrap();
    let sample = FOUND.lock().unwrap().take().unwrap();
    assert!(sample.is_off_stack && sample.stack.is_empty() && !sample.is_cut);
    let (stack, frames) = named(&sample, loopscope_stacks::Detail::Symbols);
    assert_eq!((stack.addresses.len(), frames.len()), (1, 1), "{frames:#?}");
}

fn errno() -> *mut i32 {
    // SAFETY: every thread has an errno.
    unsafe { libc::__errno_location() }
}

fn unblock(signal: i32) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is room for what the call writes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialized above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialized.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) };
}
