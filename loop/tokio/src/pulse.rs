//! The runtime as a whole, as the agent asks about it: a timer that should come shows how long timers and I/O wait, and a job that
//! should run shows how long the blocking pool's jobs do.
//!
//! Both are sent while the runtime does something, and never while a worker seems stuck: a task that is spawned from outside wakes
//! a worker, which would hide what is to be told. While all is parked nothing is sent.

use crate::activity::Counters;
use crate::lane;
use crate::runtime::WatchedRuntime;
use crate::unstable;
use loopscope_probe::observer::{Observed, Observer, Sighting};
use loopscope_probe::{Clock, Ticks};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// A timer is due this long after it was set.
const BEAT: Duration = Duration::from_millis(10);
/// Tokio's timers come at whole milliseconds: so late is not late, in nanoseconds.
const TIMER_NS: u64 = 1_000_000;
/// The next one is set this long after the last, in nanoseconds.
const BEAT_EVERY_NS: u64 = 30_000_000;
/// A timer that is this late is what the runtime is busy with, in nanoseconds.
const LATE_NS: u64 = 3_000_000;
/// A job is sent to the blocking pool this often, in nanoseconds.
const CANARY_EVERY_NS: u64 = 250_000_000;
/// How often to look while something is on its way, or was done lately, in nanoseconds.
const LOOK_NS: u64 = 10_000_000;
/// So often where workers that do not ring have no pages yet, in nanoseconds.
const IDLE_LOOK_NS: u64 = 25_000_000;
const RECENT_NS: u64 = 50_000_000;

/// Asked by the agent about the runtime's own page.
#[derive(Debug)]
pub(crate) struct Pulse {
    runtime: Weak<WatchedRuntime>,
    /// When the timer that was set is due, in ticks; 0 while none is. Set by the looks, and ended by its task.
    due: Arc<AtomicU64>,
    looks: Mutex<Looks>,
}

/// What looks remember.
#[derive(Debug)]
struct Looks {
    clock: Clock,
    counters: Vec<Counters>,
    /// When a worker last moved.
    active_at: Ticks,
    beat_at: Ticks,
    canary_at: Ticks,
    /// Whether the runtime has timers; `None` before that was tried.
    has_timers: Option<bool>,
    seen: Observed,
}

/// Returns the watch on a runtime, as [`WatchedRuntime::of`], with a pulse.
pub(crate) fn watch(handle: &Handle, name: &str, is_hooked: bool) -> Arc<WatchedRuntime> {
    WatchedRuntime::of(handle, name, is_hooked, |runtime| Arc::new(Pulse::new(runtime)))
}

impl Pulse {
    fn new(runtime: Weak<WatchedRuntime>) -> Pulse {
        let clock = Clock::real();
        let now = clock.now();
        let looks = Looks {
            clock,
            counters: Vec::new(),
            active_at: now,
            beat_at: Ticks(0),
            canary_at: Ticks(0),
            has_timers: None,
            seen: Observed { parked_since: now, ..Observed::default() },
        };
        Pulse { runtime, due: Arc::default(), looks: Mutex::new(looks) }
    }
}

impl Observer for Pulse {
    fn look(&self, at: Ticks) -> Sighting {
        // It is not there while it is being made.
        let Some(runtime) = self.runtime.upgrade() else { return Sighting::nothing() };
        if runtime.is_ended() {
            return Sighting::nothing().retired();
        }
        if runtime.has_no_workers() || !runtime.is_driven() {
            runtime.check_alive(&Clock::real());
        }
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.note(&runtime, at);
        let is_recent = looks.is_within(RECENT_NS, looks.active_at, at);
        if is_recent {
            looks.set_beat(&runtime, &self.due, at);
            looks.send_canary(&runtime, at);
        }
        let canary_waits = runtime.with_pool(|pool| {
            pool.publish(at, unstable::pool(&runtime.handle).unwrap_or_default());
            pool.canary_since != Ticks::NONE
        });
        let is_whole = runtime.is_hooked || runtime.has_all_workers();
        if is_recent && !is_whole {
            visit_workers(&runtime);
        }
        let due = self.due.load(Ordering::Acquire);
        let seen = looks.judge(&runtime, due, at);
        let is_pending = due != 0 || canary_waits == Some(true) || is_recent;
        let sighting = Sighting::nothing().observed(seen);
        match (is_pending, is_whole) {
            (true, _) => sighting.again_within(LOOK_NS),
            (false, false) => sighting.again_within(IDLE_LOOK_NS),
            (false, true) => sighting,
        }
    }
}

impl Looks {
    fn is_within(&self, ns: u64, since: Ticks, at: Ticks) -> bool {
        self.clock.ns_between(since, at) < ns
    }

    /// Notes whether a worker has moved since the last look.
    fn note(&mut self, runtime: &WatchedRuntime, at: Ticks) {
        let counters: Vec<Counters> =
            (0..runtime.worker_count()).map(|index| runtime.counters(index)).collect();
        if counters != self.counters {
            (self.counters, self.active_at) = (counters, at);
        }
    }

    fn set_beat(&mut self, runtime: &Arc<WatchedRuntime>, due: &Arc<AtomicU64>, at: Ticks) {
        let is_free = due.load(Ordering::Acquire) == 0 && !self.is_within(BEAT_EVERY_NS, self.beat_at, at);
        if !is_free || !*self.has_timers.get_or_insert_with(|| has_timers(runtime)) {
            return;
        }
        self.beat_at = at;
        let clock = self.clock.clone();
        let due_at = clock.now().0 + clock.scale().ticks(BEAT.as_nanos() as u64);
        due.store(due_at, Ordering::Release);
        let (task, of) = (runtime.clone(), EndBeat(due.clone()));
        runtime.handle.spawn(async move {
            let _end = of;
            tokio::time::sleep(BEAT).await;
            let late_ns = clock.ns_between(Ticks(due_at), clock.now());
            task.with_page(|page| page.waited(late_ns.saturating_sub(TIMER_NS)));
            if !task.is_hooked {
                lane::visit(&task);
            }
        });
    }

    fn send_canary(&mut self, runtime: &Arc<WatchedRuntime>, at: Ticks) {
        if self.is_within(CANARY_EVERY_NS, self.canary_at, at) {
            return;
        }
        let is_sent = runtime.with_pool(|pool| {
            let is_free = pool.canary_since == Ticks::NONE;
            if is_free {
                // The pool is said to be full from this look on, and no job of it has waited for longer.
                pool.canary_since = at;
            }
            is_free
        });
        if is_sent == Some(true) {
            self.canary_at = at;
            let canary = Canary { runtime: runtime.clone(), has_run: false };
            runtime.handle.spawn_blocking(move || canary.run());
        }
    }

    /// Says when the runtime was busy: while a timer of several workers is overdue, which means that a blocked one holds the
    /// driver. Of a runtime with one worker, the worker's own page tells all of it.
    fn judge(&mut self, runtime: &WatchedRuntime, due: u64, at: Ticks) -> Observed {
        let late = self.clock.scale().ticks(LATE_NS);
        let is_late = runtime.is_multi() && runtime.worker_count() > 1 && due != 0 && at.0 > due + late;
        if is_late != (self.seen.busy_since != Ticks::NONE) || is_late && self.seen.busy_since.0 != due {
            self.seen.parked_since = at;
            self.seen.busy_since = if is_late { Ticks(due) } else { Ticks::NONE };
        }
        self.seen
    }
}

/// The job that was sent to the pool: it runs, or is dropped by a runtime that ends.
struct Canary {
    runtime: Arc<WatchedRuntime>,
    has_run: bool,
}

impl Canary {
    fn run(mut self) {
        self.has_run = true;
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.runtime.with_pool(|pool| pool.canary_ended(self.has_run));
    }
}

/// The timer came, or its task was dropped.
struct EndBeat(Arc<AtomicU64>);

impl Drop for EndBeat {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Tells whether the runtime has timers. The only way to find out is a panic where it has none: there is no lag then, and where a
/// panic would end the process it is not tried.
fn has_timers(runtime: &WatchedRuntime) -> bool {
    !cfg!(panic = "abort")
        && catch_unwind(AssertUnwindSafe(|| {
            let _context = runtime.handle.enter();
            drop(tokio::time::sleep(Duration::ZERO));
        }))
        .is_ok()
}

/// Sends tasks that make the pages of workers which have none.
pub(crate) fn visit_workers(runtime: &Arc<WatchedRuntime>) {
    /// For how long one stays where it is, in nanoseconds, so that another worker takes the next one.
    const STAY_NS: u64 = 200_000;
    /// How often it comes again, where a worker was not met, or not told from another.
    const ROUNDS: u32 = 8;
    for _ in 0..2 * runtime.worker_count() {
        let task = runtime.clone();
        runtime.handle.spawn(async move {
            let clock = Clock::real();
            for _ in 0..ROUNDS {
                lane::visit(&task);
                let begun = clock.now();
                while !task.has_all_workers() && clock.ns_between(begun, clock.now()) < STAY_NS {
                    std::hint::spin_loop();
                }
                if task.has_all_workers() || task.is_ended() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
    }
}
