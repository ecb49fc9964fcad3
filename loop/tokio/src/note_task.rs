//! The task that has a runtime note its own workers (`runtime_notes.rs`), and measures how late timers come.
//!
//! It ends soon after the agent has ceased to look, or the runtime to do something by itself: one that is idle is not woken.

use crate::beat::TIMER_NS;
use crate::own_tasks::{bear_witness, run_here};
use crate::runtime::{OwnTask, WatchedRuntime};
use crate::runtime_notes::EVERY_NS;
use loopscope_probe::raw::clock::Scale;
use loopscope_probe::{Clock, Ticks};
use std::sync::Arc;
use std::time::Duration;

/// A runtime of more workers is looked at by the agent alone: a note reads the counters of each, and other processors write them.
const WORKERS_MAX: usize = 32;

/// Has notes made for some time from now on, in a runtime of which timers are known. Returns false where that cannot be.
pub(crate) fn renew(runtime: &Arc<WatchedRuntime>, clock: &Clock) -> bool {
    // Who leaves unannounced must be looked for whenever a timer is overdue.
    let is_fit = !runtime.is_hooked && !runtime.may_be_left() && runtime.worker_count() <= WORKERS_MAX;
    let is_there = if is_fit { runtime.notes.renew(clock.scale(), clock.now()) } else { None };
    if is_there == Some(false) {
        let task = NoteTask { task: runtime.begin_task(), runtime: runtime.clone(), clock: clock.clone() };
        runtime.handle.spawn(task.run());
    }
    is_there.is_some()
}

/// Tells whether a timer came so early that its runtime has a time of its own: the program has paused it, and it goes on as fast as it can.
fn came_early(scale: Scale, due: Ticks, now: Ticks) -> bool {
    scale.ns(due.since(now)) > TIMER_NS
}

/// The task, until it has ended or was dropped.
struct NoteTask {
    task: OwnTask,
    runtime: Arc<WatchedRuntime>,
    clock: Clock,
}

impl NoteTask {
    async fn run(mut self) {
        let (clock, runtime) = (self.clock.clone(), self.runtime.clone());
        let (scale, notes) = (clock.scale(), &runtime.notes);
        self.task.begin();
        let mut now = clock.now();
        while notes.are_wanted(now) {
            run_here(&runtime);
            let due = Ticks(now.0 + scale.ticks(EVERY_NS));
            notes.make(scale, now, due, |counters| runtime.read_counters(counters));
            tokio::time::sleep(Duration::from_nanos(EVERY_NS)).await;
            now = clock.now();
            if came_early(scale, due, now) {
                notes.give_up();
            }
            let late_ns = scale.ns(now.since(due)).saturating_sub(TIMER_NS);
            runtime.with_page(|page| page.probe_waited(late_ns, EVERY_NS));
        }
        bear_witness(&runtime, &clock);
    }
}

impl Drop for NoteTask {
    fn drop(&mut self) {
        self.runtime.notes.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_timer_that_comes_before_its_time_is_one_of_a_paused_clock() {
        for (now, is_so) in [(1, true), (6, true), (7, false), (8, false), (30, false)] {
            assert_eq!(came_early(Scale::NANOSECONDS, Ticks(8 * MS), Ticks(now * MS)), is_so, "{now}");
        }
    }

    // Not under Miri, whose kernel has no such timer.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn a_runtime_makes_notes_for_a_while_and_only_where_nobody_leaves_it_unannounced() {
        let clock = Clock::real();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let watched = crate::runtime_observer::watch(runtime.handle(), "notes", false);
        assert!(!renew(&watched, &clock), "its thread may do something else");
        watched.set_inside();
        let before = clock.now();
        assert!(renew(&watched, &clock));
        assert!(renew(&watched, &clock), "once more: it is the same task");
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);
        let is_over = async {
            while watched.notes.is_alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), is_over).await }).unwrap();
        let mut times = Vec::new();
        watched.notes.between(before, clock.now(), |note| {
            assert_eq!(note.counters.len(), 1);
            times.push(note.at);
        });
        assert!(!times.is_empty() && times.is_sorted(), "{times:?}");
        assert_eq!((watched.notes.due(), watched.notes.alarm(clock.now())), (0, None));
    }
}
