//! A program that takes the signal away later: noticed, and said. Alone in its process, which is of no use afterwards.

use loopscope_stacks::{CaptureError, CaptureSupport, Capturer, Target, prepare};
use std::time::Duration;

extern "C" fn the_programs_own(_signal: libc::c_int) {}

#[test]
fn a_handler_that_was_replaced_is_noticed_before_anything_is_sent() {
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    capturer.capture(Duration::from_secs(10)).unwrap();
    let CaptureSupport::Ready { signal, .. } = prepare() else { panic!("it worked just now") };
    // SAFETY: zeros are a valid action: no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = the_programs_own as *const () as usize;
    // SAFETY: the action is initialized.
    assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
    let refused = capturer.capture(Duration::from_secs(10)).unwrap_err();
    assert!(matches!(refused, CaptureError::HandlerReplaced));
    assert!(refused.to_string().contains("before the first capture"), "{refused}");
    assert!(matches!(capturer.ask(), Err(CaptureError::HandlerReplaced)));
}
