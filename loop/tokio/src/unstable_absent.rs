//! Without `--cfg tokio_unstable`: nothing more is known.

use loopscope_probe::ObservedPool;
use loopscope_probe::gauges::GaugeType;
use tokio::runtime::{Builder, Handle};

pub(crate) fn install(_builder: &mut Builder) {}

/// Returns what the runtime's metrics tell of its blocking pool: nothing.
pub(crate) fn pool(_handle: &Handle) -> Option<ObservedPool> {
    None
}

/// Returns what the runtime's metrics tell of its workers' queues: nothing.
pub(crate) fn numbers(_handle: &Handle) -> Vec<(&'static str, GaugeType, u64)> {
    Vec::new()
}
