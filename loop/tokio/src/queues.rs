//! What the runtime's metrics tell of its tasks and queues, as numbers of its own: `loopscope_runtime_tasks_alive` and others.

use crate::unstable;
use loopscope_probe::GaugeWriter;
use loopscope_probe::gauges::{GaugeType, GaugeUnit};
use tokio::runtime::Handle;

/// A number under its name, which is always the same in this place of the list.
pub(crate) type Number = (&'static str, GaugeType, u64);

/// The numbers of one runtime.
#[derive(Debug)]
pub(crate) struct Queues {
    writer: GaugeWriter,
    ids: Vec<Option<loopscope_probe::gauges::GaugeId>>,
}

impl Queues {
    pub(crate) fn new(mut writer: GaugeWriter, handle: &Handle) -> Queues {
        let add = |(name, is, _): Number| writer.add(name, "", is, GaugeUnit::Count);
        let ids = numbers(handle).into_iter().map(add).collect();
        Queues { writer, ids }
    }

    /// Writes what there is now.
    pub(crate) fn publish(&mut self, handle: &Handle) {
        for (id, (_, _, value)) in self.ids.iter().zip(numbers(handle)) {
            if let Some(id) = id {
                self.writer.set(*id, value);
            }
        }
    }
}

fn numbers(handle: &Handle) -> Vec<Number> {
    let metrics = handle.metrics();
    let mut numbers = vec![
        ("tasks_alive", GaugeType::Gauge, metrics.num_alive_tasks() as u64),
        ("global_queue_depth", GaugeType::Gauge, metrics.global_queue_depth() as u64),
    ];
    numbers.extend(unstable::numbers(handle));
    numbers
}
