//! A forked child has the handler but not the threads: captures that its parent began are refused, its own work, and its
//! parent's go on.

mod support;

use loopscope_stacks::{CaptureError, CaptureSupport, Capturer, Target, prepare, readiness};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use support::WITHIN;

/// Forks happen one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `child` in a forked child, and returns whether it returned true.
fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child goes on with one thread and leaves by `_exit`. What it calls waits for no lock that another
    // thread of this program may hold, which is what is tested; glibc and musl allow it to allocate and to start threads.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: ends a child that hangs, by a signal whose default action that is.
        unsafe { libc::alarm(WITHIN.as_secs() as u32) };
        let is_good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_good)) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is a live local.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// Captures the calling thread.
fn captures_itself() -> bool {
    let capture = Capturer::attach(Target::this_thread()).and_then(|mut capturer| capturer.capture(WITHIN));
    capture.inspect_err(|error| eprintln!("{error}")).is_ok_and(|sample| !sample.stack.is_empty())
}

#[test]
fn what_was_begun_before_a_fork_captures_nobody_in_the_child() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    capturer.capture(WITHIN).unwrap();
    let is_refused = |capturer: &mut Capturer| matches!(capturer.ask(), Err(CaptureError::Unavailable(_)));
    assert!(in_child(|| {
        let was_refused = is_refused(&mut capturer);
        // The child's own handler changes nothing for what is not its own.
        was_refused && captures_itself() && is_refused(&mut capturer) && capturer.take().is_none()
    }));
    capturer.capture(WITHIN).unwrap();
}

#[test]
fn a_child_captures_its_own_threads_and_its_own_child_does_too() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let CaptureSupport::Ready { signal, .. } = prepare() else { panic!("{:?}", prepare()) };
    let is_ready =
        |found: CaptureSupport| matches!(found, CaptureSupport::Ready { signal: now, .. } if now == signal);
    assert!(in_child(|| {
        is_ready(prepare()) && is_ready(readiness()) && captures_itself() && in_child(captures_itself)
    }));
    assert!(captures_itself());
}

#[test]
fn all_slots_are_the_childs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let attach = || Capturer::attach(Target::this_thread());
    let mut held: Vec<Capturer> = std::iter::from_fn(|| attach().ok()).collect();
    assert!(held.len() > 1 && matches!(attach(), Err(CaptureError::NoSlot)));
    assert!(in_child(|| {
        let is_own_free = captures_itself();
        // What goes in the child takes no slot from whoever has it now.
        let mut own: Vec<Capturer> = std::iter::from_fn(|| attach().ok()).collect();
        drop(std::mem::take(&mut held));
        is_own_free && attach().is_err() && own.iter_mut().all(|own| own.capture(WITHIN).is_ok())
    }));
    assert!(held.iter_mut().all(|held| held.capture(WITHIN).is_ok()));
}

/// With a lock of the parent's that is waited for, one of these children hangs.
#[test]
fn a_child_forked_while_another_thread_attaches_captures_itself() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(Capturer::attach(Target::this_thread()));
            }
        });
        let good = (0..50).filter(|_| in_child(captures_itself)).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(good, 50);
    });
}
