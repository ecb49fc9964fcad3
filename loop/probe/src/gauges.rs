//! Numbers that only some runtimes have, under names that the runtime gives: heap sizes, collections of garbage by kind.
//!
//! A table of words and a few histograms, with the names beside them. Names are what metrics allow: lower-case
//! letters, digits and `_`, beginning with a letter; an entry with another name reads as not there. Whoever holds the
//! [`GaugeWriter`](crate::GaugeWriter) writes, on any thread, one at a time.

use crate::histogram::{Histogram, HistogramValues};
use crate::limits::{count, gauge};
use crate::shared_u64::{GaugeOwned, SharedU64};
use crate::site::load_text;

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
#[non_exhaustive]
pub enum GaugeType {
    /// Goes up and down.
    Gauge = 1,
    /// Only grows.
    Counter = 2,
}

/// What a number of the table measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
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
    pub(crate) meta: SharedU64<GaugeOwned>,
    pub(crate) name: [SharedU64<GaugeOwned>; NAME_WORDS],
    pub(crate) kind: [SharedU64<GaugeOwned>; KIND_WORDS],
    pub(crate) value: SharedU64<GaugeOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(GaugeWords, "gauge", meta, name, kind, value);

#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct HistogramWords {
    pub(crate) name: [SharedU64<GaugeOwned>; NAME_WORDS],
    pub(crate) kind: [SharedU64<GaugeOwned>; KIND_WORDS],
    pub(crate) values: Histogram<GaugeOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(HistogramWords, "gauge_histogram", name, kind, values);

/// The table in shared memory.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct GaugeTable {
    pub(crate) gauges: [GaugeWords; GAUGES],
    /// Histograms in use; published after the names are written.
    pub(crate) histograms_in_use: SharedU64<GaugeOwned>,
    /// Numbers and histograms that found no room, or had no name that metrics allow.
    pub(crate) refused: SharedU64<GaugeOwned>,
    pub(crate) histograms: [HistogramWords; GAUGE_HISTOGRAMS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(GaugeTable, "gauges", gauges, histograms_in_use, refused, histograms);

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
pub struct GaugeId(pub(crate) u8);

/// A histogram in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeHistogramId(pub(crate) u8);

/// Tells whether metrics allow this name.
pub(crate) fn is_name(name: &str) -> bool {
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
