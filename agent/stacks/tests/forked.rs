//! A forked child has the handler but not the threads: its captures are refused, and its parent's go on.

use loopscope_stacks::{CaptureError, Capturer, Target};
use std::time::Duration;

#[test]
fn a_forked_child_captures_nobody() {
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    capturer.capture(Duration::from_secs(10)).unwrap();
    // SAFETY: the child makes one call that allocates at most, which glibc and musl allow after fork, and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_refused = matches!(capturer.ask(), Err(CaptureError::Unavailable(_)));
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_refused)) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is a live local.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child was refused, and lives to say so");
    capturer.capture(Duration::from_secs(10)).unwrap();
}
