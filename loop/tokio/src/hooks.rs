//! Hooks of a runtime that is being built: when its workers park and unpark, to the microsecond.

use crate::hook_state::HookState;
use crate::runtime::{WatchedRuntime, is_off};
use crate::runtime_observer;
use crate::unstable;
use crate::worker_page;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Handle, Runtime};

/// Builds the runtime of `builder`, watched under `name`. Sets its hooks `on_thread_park`, `on_thread_unpark` and
/// `on_thread_stop`, in place of any that were set before: who has some of their own calls [`hooks`] instead. With
/// `--cfg tokio_unstable` also those around each poll. Outside a task it returns once each worker has its page, and
/// after 10 ms at the latest.
///
/// ```
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// let runtime = loopscope_tokio::build(builder.enable_all(), "web")?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As `Builder::build`.
pub fn build(builder: &mut Builder, name: &str) -> io::Result<Runtime> {
    if is_off() {
        return builder.build();
    }
    let hooks = hooks(name);
    hooks.install(builder);
    let runtime = builder.build()?;
    hooks.adopt(runtime.handle()).wait_for_pages();
    Ok(runtime)
}

/// Returns what the hooks of a runtime are to call that has hooks of its own, or is built otherwise (`build_local`). For one
/// runtime; cheap to clone.
///
/// ```
/// let hooks = loopscope_tokio::hooks("web");
/// let mut builder = tokio::runtime::Builder::new_current_thread();
/// let (park, unpark, stop) = (hooks.clone(), hooks.clone(), hooks);
/// builder.on_thread_park(move || park.park()).on_thread_unpark(move || unpark.unpark()).on_thread_stop(move || stop.stop());
/// ```
pub fn hooks(name: &str) -> Hooks {
    Hooks { state: Arc::new(HookState { name: name.to_owned(), runtime: OnceLock::new() }) }
}

/// What a runtime's hooks call. See [`hooks`].
#[derive(Clone, Debug)]
pub struct Hooks {
    state: Arc<HookState>,
}

impl Hooks {
    /// For `on_thread_park`: the worker is about to wait.
    #[inline]
    pub fn park(&self) {
        worker_page::parks(&self.state, || self.find());
    }

    /// For `on_thread_unpark`: the worker goes on.
    #[inline]
    pub fn unpark(&self) {
        worker_page::unparks(&self.state, || self.find());
    }

    /// For `on_thread_stop`: the thread ends.
    pub fn stop(&self) {
        worker_page::end_thread();
    }

    pub(crate) fn install(&self, builder: &mut Builder) {
        let (park, unpark, stop) = (self.clone(), self.clone(), self.clone());
        builder
            .on_thread_park(move || park.park())
            .on_thread_unpark(move || unpark.unpark())
            .on_thread_stop(move || stop.stop());
        unstable::install(builder);
    }

    /// Says which runtime it is, before its first poll.
    pub(crate) fn adopt(&self, handle: &Handle) -> Arc<WatchedRuntime> {
        let runtime = runtime_observer::watch(handle, &self.state.name, true);
        // A worker's first hook may have been earlier.
        let _ = self.state.runtime.set(Arc::downgrade(&runtime));
        runtime
    }

    #[cold]
    fn find(&self) -> Option<Arc<WatchedRuntime>> {
        if is_off() {
            return None;
        }
        if self.state.runtime.get().is_none() {
            self.adopt(&Handle::try_current().ok()?);
        }
        self.state.runtime.get()?.upgrade().filter(|runtime| !runtime.is_ended())
    }
}
