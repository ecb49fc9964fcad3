//! How many hooks of `async_hooks` are active: Node's own counters, which its JavaScript and its C++ share in a typed array.

use super::napi::{Environment, Value};

/// The counters that are read: of `init`, `before`, `after`, `destroy` and `promiseResolve`.
const KINDS: usize = 5;

/// The counters of one environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HookCounts {
    counters: *const [u32; KINDS],
}

impl HookCounts {
    /// `None` where the value is no array of such counters.
    pub(super) fn new(environment: &Environment, value: Value) -> Option<HookCounts> {
        let counters = environment.counters(value, KINDS)?;
        // Held for as long as the environment: the array's memory is Node's own, and lives as long anyway.
        environment.keep_object(value)?;
        Some(HookCounts { counters: counters.cast() })
    }

    /// Returns how many functions are called for operations: of all hooks together those of the kind that most have.
    pub(crate) fn active(&self) -> u64 {
        // SAFETY: Node told that the array has so many numbers of four bytes; it is kept while the environment lives, on whose
        // thread this is called.
        let counters = unsafe { self.counters.read_volatile() };
        counters.iter().copied().max().map_or(0, u64::from)
    }
}
