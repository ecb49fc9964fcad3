//! Figures of one loop for JavaScript: `snapshot()`.

use loopscope_probe::Snapshot;
use loopscope_probe::raw::histogram::HistogramValues;
use serde_json::{Value, json};

/// Returns what a page says of its loop since its start. Times are milliseconds.
pub(crate) fn json(snapshot: &Snapshot) -> String {
    let [warning, critical] = snapshot.blocked;
    let total_ns = snapshot.active_ns.saturating_add(snapshot.idle_ns);
    let value = json!({
        "loop": snapshot.facts.label,
        "iterations": snapshot.iterations,
        "activeMs": ms(snapshot.active_ns),
        "idleMs": ms(snapshot.idle_ns),
        "utilization": if total_ns == 0 { 0.0 } else { snapshot.active_ns as f64 / total_ns as f64 },
        // Nobody waits for longer than the longest iteration lasted.
        "lag": histogram(&snapshot.lag, snapshot.iteration.longest_ns()),
        "iteration": histogram(&snapshot.iteration, None),
        "stalls": { "warning": warning, "critical": critical, "thresholdMs": ms(snapshot.warning_ns) },
        "busyMs": ms(snapshot.now.busy_ns),
        "handles": snapshot.handles_referenced,
        "requests": snapshot.requests_active,
    });
    value.to_string()
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn histogram(values: &HistogramValues, longest_ns: Option<u64>) -> Value {
    let quantile = |share| values.quantile_at_most_ns(share, longest_ns).map(ms);
    json!({
        "count": values.count(),
        "p50Ms": quantile(0.5),
        "p99Ms": quantile(0.99),
        "maxMs": quantile(1.0),
    })
}
