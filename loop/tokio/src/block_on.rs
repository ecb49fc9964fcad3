//! Running a runtime whose thread goes on to something else afterwards.

use crate::runtime::{self, WatchedRuntime};
use crate::worker_page;
use loopscope_probe::raw::registry;
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};

/// `Runtime::block_on`, which also says when it returns. Tokio tells nobody that, so that a `current_thread` runtime
/// whose thread does something else between two of its runs would seem blocked meanwhile. Not needed where the thread
/// or the program ends.
///
/// # Panics
/// As `Runtime::block_on`.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let _watch = loopscope_tokio::attach(runtime.handle(), "importer");
/// for file in 0..3 {
///     let lines = loopscope_tokio::block_on(&runtime, async move { file * 100 });
///     // Something else on this thread, which is no stall of the runtime.
///     assert_eq!(lines, file * 100);
/// }
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    let _running = running(runtime.handle());
    runtime.block_on(future)
}

/// Says until the result is dropped that the calling thread runs this `current_thread` runtime, and then that it has
/// returned: what [`block_on`] does, for runtimes that it cannot be given, such as a `LocalRuntime`. Of other
/// runtimes it says nothing.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let running = loopscope_tokio::running(runtime.handle());
/// runtime.block_on(async {});
/// drop(running);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "the runtime is at rest once it is dropped"]
pub fn running(handle: &Handle) -> Running {
    let watched = watched(handle);
    if let Some(watched) = &watched {
        // A second thread only waits until the first returns.
        if watched.begin_run() {
            worker_page::run(watched);
        }
        // Nobody looked at it meanwhile.
        registry::note_change();
    }
    Running { handle: handle.clone(), watched }
}

/// Returns the watch on a runtime of one worker.
fn watched(handle: &Handle) -> Option<Arc<WatchedRuntime>> {
    runtime::known(handle).filter(|watched| !watched.is_multi())
}

/// A runtime that runs. Made by [`running`].
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    watched: Option<Arc<WatchedRuntime>>,
}

impl Drop for Running {
    /// Says that it is at rest, also where the future panics.
    fn drop(&mut self) {
        // Its first hook, which began the watch, may have been in this run.
        let watched = self.watched.take().or_else(|| {
            let watched = watched(&self.handle)?;
            watched.begin_run();
            Some(watched)
        });
        if let Some(watched) = watched {
            watched.end_run();
            worker_page::rest(&watched);
        }
    }
}
