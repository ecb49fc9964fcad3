//! Tasks and jobs of ours that a runtime is sent, to make the pages of its workers and to find out what its counters do not tell.

use crate::pool::Pool;
use crate::runtime::{Member, WatchedRuntime};
use crate::worker::Worker;
use crate::worker_page;
use loopscope_probe::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For how long a task of ours stays where it is, in nanoseconds, so that another worker takes the next one.
const STAY_NS: u64 = 200_000;

/// Makes the calling worker's page where a visit does that, and says that a task of ours runs on it. Returns the worker, where it
/// has its page.
pub(crate) fn run_here(runtime: &Arc<WatchedRuntime>) -> Option<Arc<Worker>> {
    if !runtime.is_hooked {
        worker_page::visit(runtime);
    }
    worker_page::turn(runtime);
    let worker = worker_page::worker_of(runtime)?;
    if let Some((index, thread)) = worker.index().zip(worker.thread()) {
        runtime.runs_on(index, thread);
    }
    Some(worker)
}

/// Notes what can be seen from the calling worker.
pub(crate) fn bear_witness(runtime: &Arc<WatchedRuntime>, clock: &Clock) {
    let worker = run_here(runtime);
    if let Some((index, thread)) = worker.and_then(|worker| worker.index().zip(worker.thread())) {
        runtime.bear_witness(index, thread, clock.now());
    }
}

/// Sends a task that notes what can be seen, to a runtime of which no timers are known.
pub(crate) fn send_witness(runtime: &Arc<WatchedRuntime>) {
    let mut task = runtime.begin_task();
    runtime.handle.spawn(async move { bear_witness(task.begin(), &Clock::real()) });
}

/// Sends a task to each worker, which says that it runs there.
pub(crate) fn send_to_each(runtime: &Arc<WatchedRuntime>) {
    let (count, begun) = (runtime.worker_count(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..count {
        let (mut own, begun) = (runtime.begin_task(), begun.clone());
        runtime.handle.spawn(async move {
            run_here(own.begin());
            begun.fetch_add(1, Ordering::Relaxed);
            let (clock, since) = (Clock::real(), Clock::real().now());
            while begun.load(Ordering::Relaxed) < count && clock.ns_between(since, clock.now()) < STAY_NS {
                std::hint::spin_loop();
            }
        });
    }
}

/// Sends a job to the pool, by a task: a thread that the pool starts for it has the signal mask of who sends it, and a runtime's
/// workers are such threads, too. The agent has all signals blocked.
pub(crate) fn send_canary(runtime: &Arc<WatchedRuntime>) {
    let mut task = runtime.begin_task();
    runtime.handle.spawn(async move {
        let runtime = task.begin();
        worker_page::turn(runtime);
        if runtime.with_pool(Pool::send_canary) == Some(true) {
            let canary = Canary { runtime: runtime.clone(), has_run: false };
            // It panics where the pool has no thread, and the system refuses it one.
            let sent = catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(move || canary.run())));
            if sent.is_err() {
                runtime.with_pool(Pool::canary_refused);
            }
        }
    });
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

/// Makes the page of the calling thread, where it is a worker of this runtime: nothing can block it before.
pub(crate) fn visit_here(runtime: &Arc<WatchedRuntime>) {
    let is_of_it = crate::runtime::current().is_some_and(|current| Arc::ptr_eq(&current, runtime));
    if is_of_it && crate::worker_index::current().is_some() {
        runtime.set_inside();
        worker_page::visit(runtime);
    }
}

/// Sends tasks that make the pages of workers which have none.
pub(crate) fn visit_workers(runtime: &Arc<WatchedRuntime>) {
    /// How often it comes again, where a worker was not met, or not told from another.
    const ROUNDS: u32 = 8;
    for _ in 0..2 * runtime.worker_count() {
        let mut own = runtime.begin_task();
        runtime.handle.spawn(async move {
            let (clock, task) = (Clock::real(), own.begin());
            worker_page::turn(task);
            for _ in 0..ROUNDS {
                worker_page::visit(task);
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
