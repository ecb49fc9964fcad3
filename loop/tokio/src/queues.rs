//! What the runtime's metrics tell of its tasks and queues, as numbers of its own: `loopscope_runtime_tasks_alive` and others.

use loopscope_probe::GaugeWriter;
use loopscope_probe::gauges::{GaugeId, GaugeType, GaugeUnit};
use tokio::runtime::RuntimeMetrics;

/// The numbers of one runtime.
#[derive(Debug)]
pub(crate) struct Queues {
    writer: GaugeWriter,
    /// Of each number, in their order; `None` where there was no room.
    ids: Vec<Option<GaugeId>>,
}

impl Queues {
    pub(crate) fn new(writer: GaugeWriter) -> Queues {
        Queues { writer, ids: Vec::new() }
    }

    /// Writes what there is now. `more` is what only some builds of Tokio tell: names and values, always in the same order.
    /// So many tasks of ours are alive, and so many of those have not run yet: they are not told.
    pub(crate) fn publish(
        &mut self,
        metrics: &RuntimeMetrics,
        [own_alive, own_waiting]: [u64; 2],
        more: Vec<(&'static str, GaugeType, u64)>,
    ) {
        let always = [
            ("tasks_alive", GaugeType::Gauge, (metrics.num_alive_tasks() as u64).saturating_sub(own_alive)),
            (
                "global_queue_depth",
                GaugeType::Gauge,
                (metrics.global_queue_depth() as u64).saturating_sub(own_waiting),
            ),
        ];
        for (place, (name, is, value)) in always.into_iter().chain(more).enumerate() {
            if place == self.ids.len() {
                self.ids.push(self.writer.add(name, "", is, GaugeUnit::Count));
            }
            if let Some(id) = self.ids.get(place).copied().flatten() {
                self.writer.set(id, value);
            }
        }
    }
}
