//! Callbacks that wait for their phase: the pending phase's, and the close phase's.

use crate::callback::{Once, Site, State};
use loopscope_probe::{Kind, TaskTimes, Ticks};

/// A deferred callback.
pub(crate) struct Deferred<S: State> {
    pub(crate) kind: Kind,
    pub(crate) site: Site,
    pub(crate) life: TaskTimes,
    pub(crate) run: Once<S>,
}

/// A handle on its way to the close phase.
pub(crate) struct Closing<S: State> {
    pub(crate) kind: Kind,
    pub(crate) site: Site,
    pub(crate) ready: Ticks,
    pub(crate) run: Option<Once<S>>,
}
