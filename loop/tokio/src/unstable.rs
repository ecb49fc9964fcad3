//! What Tokio tells with `--cfg tokio_unstable` only: polls of all tasks and how long each waited to run, the
//! workers' queues, and the blocking pool. Its interface may change with any release, so all that touches it is in
//! this file.

use crate::worker_page::{self, Frame, Known, Label};
use loopscope_probe::ObservedPool;
use loopscope_probe::gauges::GaugeType;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, TaskMeta};

/// The polls that run on a thread: one within another where a task runs a runtime in `block_in_place`.
struct Running {
    innermost: Cell<Frame>,
    depth: Cell<usize>,
    outer: RefCell<Vec<Frame>>,
}

thread_local! {
    static RUNNING: Running = const {
        Running { innermost: Cell::new(Frame::None), depth: Cell::new(0), outer: RefCell::new(Vec::new()) }
    };
}

impl Running {
    fn enter(&self, frame: Frame) {
        let outer = self.innermost.replace(frame);
        if self.depth.replace(self.depth.get() + 1) > 0 {
            self.outer.borrow_mut().push(outer);
        }
    }

    fn leave(&self) -> Frame {
        let depth = self.depth.get().saturating_sub(1);
        self.depth.set(depth);
        let outer = if depth > 0 { self.outer.borrow_mut().pop() } else { None };
        self.innermost.replace(outer.unwrap_or(Frame::None))
    }
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

/// Times each poll of a task, by where it was spawned.
pub(crate) fn install(builder: &mut Builder) {
    builder
        .on_before_task_poll(|task| {
            let label = Label { at: task.spawned_at(), name: None };
            // Tokio has no room for what was known of the task.
            let frame = worker_page::enter_after(&label, &mut { Known::NOTHING }, task.schedule_latency());
            // None at the end of the thread.
            let _ = RUNNING.try_with(|running| running.enter(frame));
        })
        .on_after_task_poll(|_| worker_page::leave(RUNNING.try_with(Running::leave).unwrap_or(Frame::None)));
}

/// Returns what the runtime's metrics tell of its blocking pool.
pub(crate) fn pool(handle: &Handle) -> Option<ObservedPool> {
    let metrics = handle.metrics();
    let threads = metrics.num_blocking_threads() as u64;
    let running = threads.saturating_sub(metrics.num_idle_blocking_threads() as u64);
    let queued = metrics.blocking_queue_depth() as u64;
    Some(ObservedPool { threads: Some(threads), running: Some(running), queued: Some(queued), oldest: None })
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
