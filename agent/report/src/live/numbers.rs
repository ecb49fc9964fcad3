//! Numbers that only some runtimes have, as a display shows them: values, rates of what only grows, and quantiles.

use crate::live::view::NumberView;
use loopscope_probe::Snapshot;
use loopscope_probe::gauges::GaugeUnit;
use loopscope_probe::raw::histogram::HistogramValues;
use std::collections::HashMap;

/// The counters and histograms of a loop at its last observation, by name and kind. A page has room for a few dozen.
#[derive(Clone, Debug, Default)]
pub(super) struct NumbersPast {
    counters: HashMap<(String, String), u64>,
    histograms: HashMap<(String, String), HistogramValues>,
}

impl NumbersPast {
    /// Returns the numbers as they are now, and remembers them. `per_second` makes a rate of a later and an earlier count.
    pub(super) fn turn(
        &mut self,
        snapshot: &Snapshot,
        per_second: impl Fn(u64, u64) -> f64,
    ) -> Vec<NumberView> {
        let mut views = Vec::with_capacity(snapshot.gauges.len() + snapshot.gauge_histograms.len());
        let mut now = NumbersPast::default();
        for gauge in &snapshot.gauges {
            let key = (gauge.name.clone(), gauge.kind.clone());
            let value = if gauge.is_counter {
                let before = self.counters.get(&key).copied().unwrap_or(0);
                now.counters.insert(key, gauge.value);
                per_second(gauge.value, before)
            } else {
                gauge.value as f64
            };
            views.push(NumberView {
                name: gauge.name.clone(),
                kind: gauge.kind.clone(),
                unit: unit(gauge.unit),
                value,
                is_rate: gauge.is_counter,
                p99_ns: None,
            });
        }
        for histogram in &snapshot.gauge_histograms {
            let key = (histogram.name.clone(), histogram.kind.clone());
            let before = self.histograms.get(&key);
            let values =
                before.map_or_else(|| histogram.values.clone(), |before| histogram.values.since(before));
            now.histograms.insert(key, histogram.values.clone());
            views.push(NumberView {
                name: histogram.name.clone(),
                kind: histogram.kind.clone(),
                unit: "count",
                value: per_second(values.count(), 0),
                is_rate: true,
                p99_ns: values.quantile_ns(0.99),
            });
        }
        *self = now;
        views
    }
}

fn unit(unit: GaugeUnit) -> &'static str {
    match unit {
        GaugeUnit::Bytes => "bytes",
        GaugeUnit::Nanoseconds => "nanoseconds",
        // A count, and a unit that is not known here.
        _ => "count",
    }
}
