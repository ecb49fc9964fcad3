//! The host program's own metrics: a recorder for the `metrics` facade, and its families on our page.
//!
//! The exporter crate keeps the host's counters. Three of its habits are corrected on the way: a backslash before a
//! quote in a label value is lost (so backslashes are doubled before it sees them), units change names with the
//! format (so units are not passed on), and histograms without bounds become summaries (so all get bounds).

use crate::export::catalog;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::OnceLock;

/// Names that begin so are the agent's own.
pub(crate) const OWN_PREFIX: &str = "loopscope_";

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder for the whole program, once. Returns `None` where the host has installed one of its own.
pub(crate) fn install() -> Option<PrometheusHandle> {
    if let Some(handle) = HANDLE.get() {
        return Some(handle.clone());
    }
    let inner = build()?;
    let handle = inner.handle();
    metrics::set_global_recorder(HostRecorder { inner }).ok()?;
    Some(HANDLE.get_or_init(|| handle).clone())
}

/// Bounds for histograms of the host: seconds by default, wider for what is named as bytes.
fn build() -> Option<PrometheusRecorder> {
    let powers = |exponents: &mut dyn Iterator<Item = i32>| -> Vec<f64> {
        exponents.map(|exponent| 2f64.powi(exponent)).collect()
    };
    let seconds = powers(&mut catalog::FAST.iter().copied().chain([5, 7]));
    let bytes = powers(&mut (6..=30).step_by(2));
    let builder = PrometheusBuilder::new().set_buckets(&seconds).ok()?;
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &bytes).ok()?;
    Some(builder.build_recorder())
}

/// Doubles backslashes: the exporter takes a pair for one.
fn doubled(text: &str) -> String {
    text.replace('\\', "\\\\")
}

struct HostRecorder {
    inner: PrometheusRecorder,
}

impl HostRecorder {
    /// Runs `register` with the key as the exporter must see it, or not at all for names that are ours.
    fn with_key<T>(&self, key: &Key, register: impl FnOnce(&Key) -> T, own: T) -> T {
        if key.name().starts_with(OWN_PREFIX) {
            return own;
        }
        if key.labels().all(|label| !label.value().contains('\\')) {
            return register(key);
        }
        let label = |label: &Label| Label::new(label.key().to_owned(), doubled(label.value()));
        let labels: Vec<Label> = key.labels().map(label).collect();
        register(&Key::from_parts(key.name().to_owned(), labels))
    }
}

impl Recorder for HostRecorder {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(name, None, doubled(&description).into());
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(name, None, doubled(&description).into());
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(name, None, doubled(&description).into());
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.with_key(key, |key| self.inner.register_counter(key, metadata), Counter::noop())
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.with_key(key, |key| self.inner.register_gauge(key, metadata), Gauge::noop())
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.with_key(key, |key| self.inner.register_histogram(key, metadata), Histogram::noop())
    }
}

#[cfg(test)]
#[path = "facade_tests.rs"]
pub(crate) mod tests;
