//! Writing the numbers that only this runtime has: on any thread, one at a time.

use crate::clock::Clock;
use crate::gauges::{
    GAUGE_HISTOGRAMS, GAUGES, GaugeHistogramId, GaugeId, GaugeTable, GaugeType, GaugeUnit, is_name,
};
use crate::memory::Memory;
use crate::shared_u64::{GaugeOwned, WriteToken};
use crate::site::store_text;
use std::sync::Arc;

/// The one writer of a page's named numbers. On any thread.
///
/// ```
/// use loopscope_probe::Writer;
/// use loopscope_probe::gauges::{GaugeType, GaugeUnit};
///
/// let mut writer = Writer::builder("web").build();
/// let mut gauges = writer.take_gauges().expect("it is the first");
/// // `loopscope_runtime_heap_used_bytes`, and the histogram `loopscope_runtime_gc_pause_seconds{kind="minor"}`.
/// let heap = gauges.add("heap_used", "", GaugeType::Gauge, GaugeUnit::Bytes).unwrap();
/// let pauses = gauges.add_histogram("gc_pause", "minor").unwrap();
/// gauges.set(heap, 4_096);
/// gauges.record(pauses, 2_000_000);
/// ```
#[derive(Debug)]
pub struct GaugeWriter {
    memory: Arc<Memory>,
    pen: WriteToken<GaugeOwned>,
    clock: Clock,
    gauges: usize,
}

impl GaugeWriter {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock) -> Self {
        GaugeWriter { memory, pen: WriteToken::mint(), clock, gauges: 0 }
    }

    fn table(&self) -> &GaugeTable {
        &self.memory.page().gauges
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a number, 0 so far. `name` is without unit; `kind` is the value of the label `kind`, empty for none.
    /// `None` where the table is full, or the name is none that metrics allow: then it is counted as left out.
    pub fn add(&mut self, name: &str, kind: &str, is: GaugeType, unit: GaugeUnit) -> Option<GaugeId> {
        if !is_name(name) || self.gauges == GAUGES {
            self.table().refused.add(&self.pen, 1);
            return None;
        }
        let number = self.gauges;
        let words = &self.table().gauges[number];
        store_text(&self.pen, &words.name, name, false);
        store_text(&self.pen, &words.kind, kind, false);
        words.meta.publish(&self.pen, is as u64 | (unit as u64) << 8);
        self.gauges += 1;
        Some(GaugeId(number as u8))
    }

    /// Sets a number.
    pub fn set(&mut self, id: GaugeId, value: u64) {
        self.table().gauges[usize::from(id.0)].value.set(&self.pen, value);
    }

    /// Adds a histogram of durations; as [`GaugeWriter::add`].
    pub fn add_histogram(&mut self, name: &str, kind: &str) -> Option<GaugeHistogramId> {
        let table = self.table();
        let number = table.histograms_in_use.get() as usize;
        if !is_name(name) || number >= GAUGE_HISTOGRAMS {
            table.refused.add(&self.pen, 1);
            return None;
        }
        let words = &table.histograms[number];
        store_text(&self.pen, &words.name, name, false);
        store_text(&self.pen, &words.kind, kind, false);
        table.histograms_in_use.publish(&self.pen, number as u64 + 1);
        Some(GaugeHistogramId(number as u8))
    }

    /// Counts one duration in nanoseconds. No allocation, no lock.
    pub fn record(&mut self, id: GaugeHistogramId, ns: u64) {
        self.table().histograms[usize::from(id.0)].values.record(&self.pen, ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VirtualClock, Writer};

    #[test]
    fn what_is_written_is_read_under_its_name_and_bad_names_are_counted() {
        let time = VirtualClock::starting_at(1_000);
        let mut writer = Writer::builder("gauges").clock(Clock::simulated(time)).build();
        let mut gauges = writer.take_gauges().unwrap();
        assert!(writer.take_gauges().is_none(), "they have one writer");
        let used = gauges.add("heap_used", "", GaugeType::Gauge, GaugeUnit::Bytes).unwrap();
        let scavenges = gauges.add("gc_runs", "minor", GaugeType::Counter, GaugeUnit::Count).unwrap();
        assert_eq!(gauges.add("Heap size", "", GaugeType::Gauge, GaugeUnit::Bytes), None);
        let pauses = gauges.add_histogram("gc_pause", "minor").unwrap();
        gauges.set(used, 4_096);
        gauges.set(scavenges, 3);
        gauges.record(pauses, 2_000_000);
        let snapshot = writer.page().snapshot(writer.clock());
        let told: Vec<_> =
            snapshot.gauges.iter().map(|gauge| (&*gauge.name, &*gauge.kind, gauge.value)).collect();
        assert_eq!(told, [("heap_used", "", 4_096), ("gc_runs", "minor", 3)]);
        assert_eq!(snapshot.gauges[0].unit, GaugeUnit::Bytes);
        assert!(!snapshot.gauges[0].is_counter && snapshot.gauges[1].is_counter);
        let [pause] = &snapshot.gauge_histograms[..] else { panic!("{:?}", snapshot.gauge_histograms) };
        assert_eq!((&*pause.name, &*pause.kind, pause.values.count()), ("gc_pause", "minor", 1));
        assert_eq!(snapshot.gauges_refused, 1);
    }

    #[test]
    fn a_full_table_refuses_and_counts() {
        let mut writer = Writer::builder("full").private().build();
        let mut gauges = writer.take_gauges().unwrap();
        let mut add =
            |number: usize| gauges.add(&format!("g{number}"), "", GaugeType::Gauge, GaugeUnit::Count);
        assert!((0..GAUGES).all(|number| add(number).is_some()));
        assert_eq!(add(99), None);
        assert_eq!(writer.page().gauges.refused(), 1);
    }
}
