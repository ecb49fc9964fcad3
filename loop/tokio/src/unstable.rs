//! What Tokio tells with `--cfg tokio_unstable` only: polls of all tasks and how long each waited to run, the
//! workers' queues, and the blocking pool. Its interface may change with any release, so all that touches it is in
//! this file.

use crate::worker_page::{self, Frame, Known, Label};
use loopscope_probe::ObservedPool;
use loopscope_probe::gauges::GaugeType;
use std::cell::RefCell;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, TaskMeta};

thread_local! {
    /// The polls that run on a thread: one within another where a task runs a runtime in `block_in_place`.
    static RUNNING: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Stands in for Tokio's own method, which goes before it: that is there from 1.53 on, with its feature `schedule-latency`.
trait ScheduleLatency {
    /// Returns how long the task waited to run; `None` where nobody asked the builder to measure it
    /// (`track_task_schedule_latency`).
    fn schedule_latency(&self) -> Option<Duration> {
        None
    }
}

impl ScheduleLatency for TaskMeta<'_> {}

/// Tells whether a task is one of ours: spawned by a file beside this one.
fn is_own(task: &TaskMeta<'_>) -> bool {
    const THIS: &str = "unstable.rs";
    let (folder, _) = file!().split_at(file!().len() - THIS.len());
    task.spawned_at().file().starts_with(folder)
}

/// Times each poll of a task of the program's, by where it was spawned.
pub(crate) fn install(builder: &mut Builder) {
    builder
        .on_before_task_poll(|task| {
            let label = Label { at: task.spawned_at(), name: None };
            let frame = match is_own(task) {
                true => Frame::None,
                // Tokio has no room for what was known of the task.
                false => worker_page::enter_after(&label, &mut { Known::NOTHING }, task.schedule_latency()),
            };
            // None at the end of the thread.
            let _ = RUNNING.try_with(|running| running.borrow_mut().push(frame));
        })
        .on_after_task_poll(|_| {
            let frame = RUNNING.try_with(|running| running.borrow_mut().pop()).ok().flatten();
            worker_page::leave(frame.unwrap_or(Frame::None));
        });
}

/// Returns what the runtime's metrics tell of its blocking pool.
pub(crate) fn pool(handle: &Handle) -> Option<ObservedPool> {
    let metrics = handle.metrics();
    let threads = metrics.num_blocking_threads() as u64;
    let running = threads.saturating_sub(metrics.num_idle_blocking_threads() as u64);
    let queued = metrics.blocking_queue_depth() as u64;
    let (threads, running, queued) = (Some(threads), Some(running), Some(queued));
    Some(ObservedPool { threads, running, queued, ..ObservedPool::default() })
}

/// Returns what the runtime's metrics tell of its workers' queues, and of tasks that had to yield: numbers under
/// their names, always in the same order.
pub(crate) fn numbers(handle: &Handle) -> Vec<(&'static str, GaugeType, u64)> {
    let metrics = handle.metrics();
    let depths = || (0..metrics.num_workers()).map(|worker| metrics.worker_local_queue_depth(worker) as u64);
    vec![
        ("local_queue_depth", GaugeType::Gauge, depths().sum()),
        ("local_queue_depth_longest", GaugeType::Gauge, depths().max().unwrap_or(0)),
        ("budget_forced_yields", GaugeType::Counter, metrics.budget_forced_yield_count()),
    ]
}
