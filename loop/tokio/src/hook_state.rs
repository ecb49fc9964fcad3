//! What the hooks of one runtime have in common: its name, and the runtime itself once it is known.

use crate::runtime::WatchedRuntime;
use std::sync::{OnceLock, Weak};

/// Shared by the hooks of one runtime, and kept by the pages of its workers: as long as one of those is there, no other
/// runtime's is at the same address.
#[derive(Debug)]
pub(crate) struct HookState {
    pub(crate) name: String,
    /// Weak: the runtime owns its hooks.
    pub(crate) runtime: OnceLock<Weak<WatchedRuntime>>,
}
