//! A loop on the real poll and clock, for tests that wait for the system.

use loopscope_loop::{Loop, PanicPolicy};
use std::time::Duration;

/// Makes a loop whose panics are the test's, and which does not wait for ever.
pub fn real_loop<S: 'static>(state: S) -> Loop<S> {
    guarded(Loop::builder(state).on_panic(PanicPolicy::Propagate).build().unwrap())
}

/// Ends a test that hangs, without keeping the loop alive.
pub fn guarded<S: 'static>(mut event_loop: Loop<S>) -> Loop<S> {
    event_loop.main(|cx| {
        let key = cx.after(Duration::from_secs(60), |_| panic!("nothing happened for a minute"));
        cx.unref(key);
    });
    event_loop
}
