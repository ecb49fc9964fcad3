//! Whether a runtime has timers, which Tokio does not say: asking for one where there are none is a panic, and there is no other way.
//!
//! Where a panic would end the process it is not tried. Else the program's panic hook is not to hear of it, as one may end the
//! process, or tell people: for the microseconds of the try another one is in its place, which passes on what other threads say.

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

/// Tells whether the runtime has timers, as far as that can be found out. Not on a thread that panics.
pub(crate) fn has_timers(handle: &Handle) -> bool {
    !cfg!(panic = "abort") && unheard(|| drop(sleep_on(handle))).is_ok()
}

fn sleep_on(handle: &Handle) -> tokio::time::Sleep {
    let _context = handle.enter();
    tokio::time::sleep(Duration::ZERO)
}

/// Calls `act`, and has no panic of it told.
fn unheard(act: impl FnOnce()) -> thread::Result<()> {
    let (program, here) = (Arc::new(panic::take_hook()), thread::current().id());
    let passed_on = program.clone();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() != here {
            passed_on(panic);
        }
    }));
    let outcome = catch_unwind(AssertUnwindSafe(act));
    // Whoever has set another one meanwhile dropped ours.
    if Arc::strong_count(&program) > 1 {
        drop(panic::take_hook());
        if let Ok(hook) = Arc::try_unwrap(program) {
            panic::set_hook(hook);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_runtime_without_timers_is_told_from_one_with_them_and_the_programs_hook_hears_nothing() {
        static HEARD: AtomicU32 = AtomicU32::new(0);
        let before = panic::take_hook();
        panic::set_hook(Box::new(|_| {
            HEARD.fetch_add(1, Ordering::Relaxed);
        }));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        assert!(!has_timers(builder.build().unwrap().handle()));
        assert!(has_timers(builder.enable_time().build().unwrap().handle()));
        assert_eq!(HEARD.load(Ordering::Relaxed), 0);
        // It is in its place again.
        assert!(thread::spawn(|| panic!("the program's own")).join().is_err());
        assert_eq!(HEARD.load(Ordering::Relaxed), 1);
        panic::set_hook(before);
    }
}
