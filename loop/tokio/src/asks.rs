//! Short tasks of ours that a busy worker runs between two polls of the program's: one that ran one was not stuck until then.
//!
//! Tokio counts a worker's polls of its driver only every 61 polls of tasks (`hidden_polls.rs`), so tasks that yield and whose polls
//! take milliseconds look like one that does not. A task that is sent from outside goes into the queue that all workers share, and a
//! worker looks there after each poll or two where polls are long. But where a worker is parked, that one is woken for it and takes
//! it: this would cost the program a wake-up and tell nothing. So tasks are sent only while no worker is parked.

use crate::own_tasks::run_here;
use crate::runtime::{OwnTask, WatchedRuntime};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A worker that has not moved for so long is asked, in nanoseconds: one whose polls are short has.
pub(crate) const STILL_NS: u64 = 10_000_000;

/// The tasks that one runtime was sent.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// How many have not run yet.
    waiting: Arc<AtomicUsize>,
}

/// One of them, until it has run or was dropped.
struct Ask {
    task: OwnTask,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Asks {
    /// Tells whether one has not run yet.
    pub(crate) fn wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Sends as many as there are workers, unless twice as many wait: whoever comes first may take several.
    pub(crate) fn send(&self, runtime: &Arc<WatchedRuntime>) {
        let workers = runtime.worker_count();
        let room = (2 * workers).saturating_sub(self.waiting.load(Ordering::Relaxed));
        for _ in 0..room.min(workers) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let mut ask = Ask { task: runtime.begin_task(), waiting: self.waiting.clone() };
            runtime.handle.spawn(async move {
                run_here(ask.task.begin());
            });
        }
    }
}
