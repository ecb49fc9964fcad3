//! What Tokio tells with `--cfg tokio_unstable` only: polls of all tasks, and the blocking pool. Its interface may change with any
//! release, so all that touches it is in this file.

use crate::lane::{self, Frame, Label};
use loopscope_probe::ObservedPool;
use std::cell::Cell;
use tokio::runtime::{Builder, Handle};

thread_local! {
    static RUNNING: Cell<Frame> = const { Cell::new(Frame::None) };
}

/// Times each poll of a task, by where it was spawned.
pub(crate) fn install(builder: &mut Builder) {
    builder
        .on_before_task_poll(|task| {
            let frame = lane::enter(&Label { at: task.spawned_at(), name: None });
            RUNNING.set(frame);
        })
        .on_after_task_poll(|_| lane::leave(RUNNING.replace(Frame::None)));
}

/// Returns what the runtime's metrics tell of its blocking pool.
pub(crate) fn pool(handle: &Handle) -> Option<ObservedPool> {
    let metrics = handle.metrics();
    let threads = metrics.num_blocking_threads() as u64;
    let running = threads.saturating_sub(metrics.num_idle_blocking_threads() as u64);
    let queued = metrics.blocking_queue_depth() as u64;
    Some(ObservedPool { threads: Some(threads), running: Some(running), queued: Some(queued), oldest: None })
}
