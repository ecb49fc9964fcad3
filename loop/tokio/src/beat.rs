//! A timer that a runtime is asked for now and then: how late it comes is how long timers and I/O wait.

use crate::own_tasks::bear_witness;
use crate::runtime::WatchedRuntime;
use crate::worker_page;
use loopscope_probe::{Clock, Ticks};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A timer is due this long after it was set.
const BEAT: Duration = Duration::from_millis(10);
/// Tokio's timers come at whole milliseconds: so late is not late, in nanoseconds.
pub(crate) const TIMER_NS: u64 = 1_000_000;
/// The next one is set this long after the last, in nanoseconds.
pub(crate) const BEAT_EVERY_NS: u64 = 30_000_000;

/// The timer that was set. Set by the looks, and ended by its task.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    /// When it is due, in ticks; 0 while none is set.
    pub(crate) due: AtomicU64,
    /// It was overdue while nobody may have run the runtime: how late it came says nothing.
    pub(crate) may_be_left: AtomicBool,
}

/// The timer came, or its task was dropped.
struct TimerGuard(Arc<Beat>);

impl Drop for TimerGuard {
    fn drop(&mut self) {
        self.0.due.store(0, Ordering::Release);
    }
}

impl Beat {
    /// Sets the timer, in a runtime that has some.
    pub(crate) fn send(self: &Arc<Self>, runtime: &Arc<WatchedRuntime>, clock: &Clock) {
        let clock = clock.clone();
        let due_at = clock.now().0 + clock.scale().ticks(BEAT.as_nanos() as u64);
        self.may_be_left.store(false, Ordering::Relaxed);
        self.due.store(due_at, Ordering::Release);
        let (mut task, of) = (runtime.begin_task(), TimerGuard(self.clone()));
        runtime.handle.spawn(async move {
            let (end, runtime) = (of, task.begin());
            worker_page::turn(runtime);
            // Until now the task has waited for a worker: no timer was late.
            let due_at = clock.now().0 + clock.scale().ticks(BEAT.as_nanos() as u64);
            end.0.due.store(due_at, Ordering::Release);
            tokio::time::sleep(BEAT).await;
            let late_ns = clock.ns_between(Ticks(due_at), clock.now());
            if !end.0.may_be_left.load(Ordering::Relaxed) {
                runtime.with_page(|page| page.probe_waited(late_ns.saturating_sub(TIMER_NS), BEAT_EVERY_NS));
            }
            match runtime.is_hooked {
                true => worker_page::turn(runtime),
                false => bear_witness(runtime, &clock),
            }
        });
    }
}
