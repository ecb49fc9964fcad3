//! Without `--cfg tokio_unstable`: nothing more is known.

use crate::queues::Number;
use loopscope_probe::ObservedPool;
use loopscope_probe::description::Fact;
use tokio::runtime::{Builder, Handle};

pub(crate) fn install(_builder: &mut Builder) {}

/// What pages of workers know more: nothing.
pub(crate) const FACTS: &[Fact] = &[];

/// Returns what the runtime's metrics tell of its blocking pool: nothing.
pub(crate) fn pool(_handle: &Handle) -> Option<ObservedPool> {
    None
}

/// Returns what the runtime's metrics tell of its workers' queues: nothing.
pub(crate) fn numbers(_handle: &Handle) -> Vec<Number> {
    Vec::new()
}
