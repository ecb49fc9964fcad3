//! `attach`: nothing is installed, and the runtime may have run for long.

use crate::own_tasks::{visit_here, visit_workers};
use crate::runtime::{WatchedRuntime, is_off};
use crate::runtime_observer;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Watches a runtime that runs, under `name`, until the result is dropped. Its pages are made by short tasks that
/// visit its workers; when these are busy is recorded by an agent of this process, which looks every 9.5 ms while they are
/// and sleeps while all are parked: without an agent nothing is.
///
/// Called on a thread that runs no task, such as in `main` or in the future of `block_on`, it returns once each
/// worker of a `multi_thread` runtime has its page, and after 10 ms at the latest. A worker that is blocked before it
/// was first visited has none: that it is blocked is told of the runtime, without a stack. One runtime is watched
/// once, under the first name, until the last of its watches is dropped; one that was built by
/// [`build`](crate::build) tells more already, and stays as it is.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
/// let _watch = loopscope_tokio::attach(runtime.handle(), "web");
/// runtime.block_on(async { /* the program as it was */ });
/// # std::io::Result::Ok(())
/// ```
pub fn attach(handle: &Handle, name: &str) -> Watch {
    if is_off() {
        return Watch::nothing();
    }
    let runtime = runtime_observer::watch(handle, name, false);
    let mut watch = Watch::nothing();
    if !runtime.is_hooked {
        runtime.hold();
        visit_here(&runtime);
        visit_workers(&runtime);
        runtime.wait_for_pages();
        watch.attached = Some(runtime);
    }
    watch
}

/// A watch that was begun; dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    attached: Option<Arc<WatchedRuntime>>,
    /// Of `start`: the agent that it started.
    #[cfg(all(feature = "agent", target_os = "linux"))]
    pub(crate) agent: Option<loopscope_agent::Agent>,
}

impl Watch {
    pub(crate) fn nothing() -> Watch {
        Watch {
            attached: None,
            #[cfg(all(feature = "agent", target_os = "linux"))]
            agent: None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(runtime) = &self.attached {
            runtime.let_go();
        }
    }
}
