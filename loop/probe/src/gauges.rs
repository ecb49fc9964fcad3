//! Numbers that only some runtimes have, under names that the runtime gives: heap sizes, collections of garbage by kind.
//!
//! A table of words and a few histograms, with the names beside them. Names are what metrics allow: lower-case letters, digits
//! and `_`, beginning with a letter; an entry with another name reads as not there. Whoever holds the [`GaugeWriter`] writes,
//! on any thread, one at a time.

use crate::clock::Clock;
use crate::histogram::{Histogram, HistogramValues};
use crate::limits::{count, gauge};
use crate::memory::Memory;
use crate::site::{load_text, store_text};
use crate::word::{GaugeOwned, Pen, Word};
use std::sync::Arc;

/// How many gauges and counters a page has room for.
pub const GAUGES: usize = 32;
/// How many histograms of durations.
pub const GAUGE_HISTOGRAMS: usize = 8;
/// Bytes of a name; what is longer has no room.
pub const GAUGE_NAME_BYTES: usize = NAME_WORDS * 8;
/// Bytes of the value of the label `kind`; what is longer is cut off.
pub const GAUGE_KIND_BYTES: usize = KIND_WORDS * 8;

const NAME_WORDS: usize = 5;
const KIND_WORDS: usize = 3;

/// What a number of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum GaugeType {
    /// Goes up and down.
    Gauge = 1,
    /// Only grows.
    Counter = 2,
}

/// What a number of the table measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum GaugeUnit {
    /// A number of things.
    Count = 0,
    /// Bytes.
    Bytes = 1,
    /// Nanoseconds; shown in seconds.
    Nanoseconds = 2,
}

#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct GaugeWords {
    /// Type in bits 0 to 7, unit in 8 to 15; 0 where nothing is.
    meta: Word<GaugeOwned>,
    name: [Word<GaugeOwned>; NAME_WORDS],
    kind: [Word<GaugeOwned>; KIND_WORDS],
    value: Word<GaugeOwned>,
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(GaugeWords, "gauge", meta, name, kind, value);

#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct HistogramWords {
    name: [Word<GaugeOwned>; NAME_WORDS],
    kind: [Word<GaugeOwned>; KIND_WORDS],
    values: Histogram<GaugeOwned>,
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(HistogramWords, "gauge_histogram", name, kind, values);

/// The table in shared memory.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct GaugeTable {
    gauges: [GaugeWords; GAUGES],
    /// Histograms in use; published after the names are written.
    histograms_in_use: Word<GaugeOwned>,
    /// Numbers and histograms that found no room, or had no name that metrics allow.
    refused: Word<GaugeOwned>,
    histograms: [HistogramWords; GAUGE_HISTOGRAMS],
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(GaugeTable, "gauges", gauges, histograms_in_use, refused, histograms);

/// A copy of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugeValue {
    /// Its name, such as `heap_used`: without unit.
    pub name: String,
    /// The value of the label `kind`; empty where there is only one.
    pub kind: String,
    /// What it is.
    pub is_counter: bool,
    /// What it measures.
    pub unit: GaugeUnit,
    /// The number.
    pub value: u64,
}

/// A copy of one histogram of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHistogram {
    /// Its name, such as `gc`: without unit.
    pub name: String,
    /// The value of the label `kind`; empty where there is only one.
    pub kind: String,
    /// Its values.
    pub values: HistogramValues,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeId(u8);

/// A histogram in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeHistogramId(u8);

/// Tells whether metrics allow this name.
fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= GAUGE_NAME_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(is_part)
}

impl GaugeTable {
    /// Copies the numbers in use.
    pub(crate) fn read(&self) -> Vec<GaugeValue> {
        self.gauges.iter().filter_map(GaugeWords::read).collect()
    }

    /// Copies the histograms in use.
    pub(crate) fn read_histograms(&self) -> Vec<NamedHistogram> {
        let in_use = (self.histograms_in_use.observe() as usize).min(GAUGE_HISTOGRAMS);
        let read = |words: &HistogramWords| {
            let name = load_text(&words.name);
            is_name(&name).then(|| NamedHistogram {
                name,
                kind: load_text(&words.kind),
                values: words.values.read(),
            })
        };
        self.histograms[..in_use].iter().filter_map(read).collect()
    }

    /// Returns how many numbers and histograms got no place.
    pub(crate) fn refused(&self) -> u64 {
        count(self.refused.get())
    }
}

impl GaugeWords {
    fn read(&self) -> Option<GaugeValue> {
        let meta = self.meta.observe();
        let is_counter = match meta & 0xff {
            1 => false,
            2 => true,
            _ => return None,
        };
        let unit = match meta >> 8 & 0xff {
            0 => GaugeUnit::Count,
            1 => GaugeUnit::Bytes,
            _ => GaugeUnit::Nanoseconds,
        };
        let (name, value) = (load_text(&self.name), self.value.get());
        let value = if is_counter { count(value) } else { gauge(value) };
        is_name(&name).then(|| GaugeValue { name, kind: load_text(&self.kind), is_counter, unit, value })
    }
}

/// The one writer of a page's named numbers. On any thread.
#[derive(Debug)]
pub struct GaugeWriter {
    memory: Arc<Memory>,
    pen: Pen<GaugeOwned>,
    clock: Clock,
    gauges: usize,
}

impl GaugeWriter {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock) -> Self {
        GaugeWriter { memory, pen: Pen::mint(), clock, gauges: 0 }
    }

    fn table(&self) -> &GaugeTable {
        &self.memory.page().gauges
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a number, 0 so far. `name` is without unit; `kind` is the value of the label `kind`, empty for none. `None` where the
    /// table is full, or the name is none that metrics allow: then it is counted as left out.
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
