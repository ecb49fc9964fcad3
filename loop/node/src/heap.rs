//! The heap's figures on the page: read on the loop's thread, at most once a second, because V8 has no lock around them.

pub use crate::sys::HeapFigures;
use loopscope_probe::GaugeWriter;
use loopscope_probe::Ticks;
use loopscope_probe::gauges::{GaugeId, GaugeType, GaugeUnit};

/// Tells whether these are figures of a heap with this limit, as `v8.getHeapStatistics()` says it.
///
/// # Errors
/// V8's structure is another one: says why.
pub fn check(heap: &HeapFigures, limit: u64) -> Result<(), String> {
    if heap.limit != limit {
        return Err(format!("V8 reports a limit of {} bytes, its own API {limit}", heap.limit));
    }
    match heap.used <= heap.total && heap.used > 0 {
        true => Ok(()),
        false => Err(format!("V8 reports {} used bytes of {}", heap.used, heap.total)),
    }
}

/// Nanoseconds between two looks.
const EVERY_NS: u64 = 1_000_000_000;

/// The gauges of one heap.
#[derive(Debug)]
pub struct HeapGauges {
    gauges: [Option<GaugeId>; 5],
    due: Ticks,
    every: u64,
}

impl HeapGauges {
    /// Makes the gauges.
    pub fn new(writer: &mut GaugeWriter) -> HeapGauges {
        let names = ["heap_used", "heap_total", "heap_limit", "heap_malloced", "heap_external"];
        let gauges = names.map(|name| writer.add(name, "", GaugeType::Gauge, GaugeUnit::Bytes));
        HeapGauges { gauges, due: Ticks::NONE, every: writer.clock().scale().ticks(EVERY_NS) }
    }

    /// Tells whether it is time for another look.
    #[inline]
    pub fn are_due(&self, now: Ticks) -> bool {
        now >= self.due
    }

    /// Writes what was seen.
    pub fn set(&mut self, writer: &mut GaugeWriter, now: Ticks, heap: &HeapFigures) {
        self.due = Ticks(now.0.saturating_add(self.every));
        let figures = [heap.used, heap.total, heap.limit, heap.malloced, heap.external];
        for (gauge, figure) in self.gauges.iter().zip(figures) {
            if let Some(gauge) = gauge {
                writer.set(*gauge, figure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Writer;

    #[test]
    fn figures_of_another_structure_are_found_out() {
        let heap = HeapFigures { used: 10, total: 20, limit: 100, ..HeapFigures::default() };
        assert_eq!(check(&heap, 100), Ok(()));
        assert!(check(&heap, 99).unwrap_err().contains("99"));
        assert!(check(&HeapFigures { used: 30, ..heap }, 100).is_err());
        assert!(check(&HeapFigures { used: 0, ..heap }, 100).is_err());
    }

    #[test]
    fn they_are_written_once_a_second() {
        let mut writer = Writer::builder("heap").private().build();
        let mut gauges = writer.take_gauges().unwrap();
        let mut heap = HeapGauges::new(&mut gauges);
        assert!(heap.are_due(Ticks(1)));
        heap.set(&mut gauges, Ticks(1), &HeapFigures { used: 7, ..HeapFigures::default() });
        assert!(!heap.are_due(Ticks(1)) && heap.are_due(Ticks(1 + heap.every)));
        let snapshot = writer.page().snapshot(writer.clock());
        assert_eq!((&*snapshot.gauges[0].name, snapshot.gauges[0].value), ("heap_used", 7));
    }
}
