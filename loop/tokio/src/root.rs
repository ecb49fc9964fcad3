//! Running a runtime whose thread goes on to something else afterwards.

use crate::lane;
use crate::runtime::{self, WatchedRuntime};
use loopscope_probe::registry;
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// `Runtime::block_on`, which also says when it returns. Tokio tells nobody that, so that a `current_thread` runtime whose thread
/// does something else between two of its runs would seem blocked meanwhile. Not needed where the thread or the program ends.
///
/// # Panics
/// As `Runtime::block_on`.
#[track_caller]
pub fn block_on<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    let watched = {
        let _context = runtime.enter();
        runtime::current()
    };
    let _rest = watched.filter(|watched| !watched.is_multi()).map(|watched| {
        watched.set_at_rest(false);
        // Nobody looked at it meanwhile.
        registry::note_change();
        Rest(watched)
    });
    runtime.block_on(future)
}

/// Says so, also where the future panics.
struct Rest(Arc<WatchedRuntime>);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.set_at_rest(true);
        lane::rest(&self.0);
    }
}
