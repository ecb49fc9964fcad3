//! Writes the numbers that only some runtimes have, under the names that they give: `loopscope_runtime_heap_used_bytes`.
//!
//! The names come from pages, which may be another user's, or damaged. A page has room for a few dozen, of lower-case
//! letters, digits and `_`. Here they are made into names that can be no other family's, and no sample of one. Where
//! two runtimes have numbers of different types under one name, those of one type keep it, whichever comes first, and
//! the others have their runtime's name before it. What would still collide is counted as left out.

use crate::metrics::encoder::{Header, Kind};
use crate::metrics::loop_metrics::LoopMetrics;
use crate::metrics::metrics_page::{MetricsPage, RuntimeValue};
use crate::metrics::value::Number;
use loopscope_probe::gauges::{GaugeUnit, GaugeValue, NamedHistogram};
use loopscope_probe::raw::loop_id::OTHER;
use std::collections::{BTreeMap, HashSet};

/// What all their names begin with; no family of the catalogue does.
pub(crate) const PREFIX: &str = "loopscope_runtime_";

/// What formats add to names: a name that ends so could be another family's sample.
const RESERVED: [&str; 7] = ["_total", "_bucket", "_sum", "_count", "_created", "_info", "_gsum"];

/// One family, with what the loops have of it.
struct RuntimeFamily<'a> {
    kind: Kind,
    unit: Option<&'static str>,
    series: Vec<(&'a LoopMetrics, &'a str, RuntimeValue<'a>)>,
    /// Labels that are taken: the loop by its place, and the kind.
    taken: HashSet<(usize, &'a str)>,
}

/// Writes all of them, in the order of their names. Loops that share a label have none, because numbers of one loop are not
/// those of another.
pub(crate) fn write(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    let mut families: BTreeMap<String, RuntimeFamily<'_>> = BTreeMap::new();
    let mut refused = 0;
    let types = types(loops);
    for (at, view) in told(loops) {
        for (base, kind, unit, label, value) in entries(view) {
            let has_name = types.get(&base) == Some(&type_rank(kind, unit));
            let base = if has_name { base } else { base_of_runtime(&base, &view.snapshot.facts.runtime) };
            let new = || RuntimeFamily { kind, unit, series: Vec::new(), taken: HashSet::new() };
            let is_reserved = RESERVED.iter().any(|suffix| base.ends_with(suffix));
            let family = families.entry(base).or_insert_with(new);
            // Another type under the same name would make the page unreadable, and so would the same labels twice.
            let fits = !is_reserved && (family.kind, family.unit) == (kind, unit);
            if fits && family.taken.insert((at, label)) {
                family.series.push((view, label, value));
            } else {
                refused += 1;
            }
        }
    }
    sheet.leave_out(refused);
    for (base, family) in &families {
        write_family(sheet, base, family);
    }
}

fn write_family(sheet: &mut MetricsPage, base: &str, family: &RuntimeFamily<'_>) {
    let (mut room, mut others) = (Vec::with_capacity(family.series.len()), 0);
    for series in &family.series {
        let samples = sheet.samples_of(&series.2);
        if sheet.has_room(samples, others) {
            room.push(series);
            others += samples;
        }
    }
    if room.is_empty() {
        return;
    }
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    let name = format!("{base}{total}");
    let help = "Metric of the loop's runtime.";
    sheet.begin_runtime(Header { name: &name, help, kind: family.kind, unit: family.unit });
    for (view, label, value) in room {
        sheet.runtime_series(view, label, value);
    }
}

/// Returns the loops with a label of their own, and their places.
fn told(loops: &[LoopMetrics]) -> impl Iterator<Item = (usize, &LoopMetrics)> {
    loops.iter().enumerate().filter(|(_, view)| view.label != OTHER)
}

fn entries(view: &LoopMetrics) -> impl Iterator<Item = RuntimeSeries<'_>> {
    let gauges = view.snapshot.gauges.iter().map(of_gauge);
    gauges.chain(view.snapshot.gauge_histograms.iter().map(of_histogram))
}

/// Returns the type that keeps each name: it does not depend on the order of the loops, which changes as they come and go.
fn types(loops: &[LoopMetrics]) -> BTreeMap<String, (u8, Option<&'static str>)> {
    let mut types = BTreeMap::new();
    for (base, kind, unit, ..) in told(loops).flat_map(|(_, view)| entries(view)) {
        let rank = type_rank(kind, unit);
        types.entry(base).and_modify(|kept| *kept = rank.min(*kept)).or_insert(rank);
    }
    types
}

fn type_rank(kind: Kind, unit: Option<&'static str>) -> (u8, Option<&'static str>) {
    let rank = match kind {
        Kind::Counter => 0,
        Kind::Histogram => 1,
        Kind::Gauge => 2,
        Kind::Info => 3,
    };
    (rank, unit)
}

/// Returns the name with that of the runtime before it.
fn base_of_runtime(base: &str, runtime: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    let runtime: String = runtime.chars().map(plain).collect();
    format!("{PREFIX}{runtime}_{}", base.strip_prefix(PREFIX).unwrap_or(base))
}

/// Name without `_total`, type, unit, value of the label `kind`, and value.
type RuntimeSeries<'a> = (String, Kind, Option<&'static str>, &'a str, RuntimeValue<'a>);

fn of_gauge(gauge: &GaugeValue) -> RuntimeSeries<'_> {
    let (unit, number) = match gauge.unit {
        GaugeUnit::Bytes => (Some("bytes"), Number::Whole(gauge.value)),
        GaugeUnit::Nanoseconds => (Some("seconds"), Number::Seconds(gauge.value)),
        // A count, and a unit that is not known here.
        _ => (None, Number::Whole(gauge.value)),
    };
    let kind = if gauge.is_counter { Kind::Counter } else { Kind::Gauge };
    (base(&gauge.name, unit), kind, unit, &gauge.kind, RuntimeValue::Number(number))
}

fn of_histogram(histogram: &NamedHistogram) -> RuntimeSeries<'_> {
    let unit = Some("seconds");
    let value = RuntimeValue::Durations(&histogram.values);
    (base(&histogram.name, unit), Kind::Histogram, unit, &histogram.kind, value)
}

fn base(name: &str, unit: Option<&str>) -> String {
    match unit {
        // A runtime may have put the unit into the name itself.
        Some(unit) if !name.ends_with(&format!("_{unit}")) => format!("{PREFIX}{name}_{unit}"),
        _ => format!("{PREFIX}{name}"),
    }
}

#[cfg(test)]
#[path = "runtime_families_tests.rs"]
mod tests;
