//! A program that handles SIGURG, SIGWINCH and every real-time signal itself: the last one is shared, and its own signals still reach it.
//! Alone in its process, because the handlers must be there first.

mod support;

use loopscope_stacks::{CaptureSupport, Capturer, Target, foreign_signals, prepare};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn the_programs_own(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the handler was installed with SA_SIGINFO, so there is a siginfo.
    let info = unsafe { &*info };
    // SAFETY: the test queues a value.
    let value = unsafe { info.si_value() };
    SIGNAL.store(signal, Ordering::Relaxed);
    VALUE.store(value.sival_ptr.addr(), Ordering::Relaxed);
}

#[test]
fn where_all_signals_are_taken_one_is_shared() {
    for signal in (libc::SIGRTMIN()..=libc::SIGRTMAX()).chain([libc::SIGURG, libc::SIGWINCH]) {
        // SAFETY: zeros are a valid action: no flags and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = the_programs_own as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is initialized.
        assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
    }
    assert!(prepare().is_full(), "{:?}", prepare());
    let CaptureSupport::Ready { signal, .. } = prepare() else { panic!("it is full") };
    assert_eq!(signal, libc::SIGRTMAX());
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    capturer.capture(Duration::from_secs(10)).unwrap();
    assert_eq!(SIGNAL.load(Ordering::Relaxed), 0, "captures do not reach the program's handler");
    support::queue(signal, 4711);
    assert_eq!(SIGNAL.load(Ordering::Relaxed), signal);
    assert_eq!(VALUE.load(Ordering::Relaxed), 4711);
    assert_eq!(foreign_signals(), 1);
    capturer.capture(Duration::from_secs(10)).unwrap();
}
