//! The host program's own metrics: a recorder for the `metrics` facade, which the program asks for, and its families on
//! our page.
//!
//! ```text
//!   loop:   histogram!("x") --> known handles (lock of the program's threads only) --> atomics of the exporter
//!                                  | only the first time
//!   agent:  render ------------> the exporter's registry ---------------------------> the same atomics
//! ```
//!
//! The exporter crate keeps the host's metrics. Four of its habits are corrected on the way: writing the page holds locks of
//! its registry, for milliseconds where there are very many series (so handles are kept in front of it, and who records what
//! was registered before waits for no page); a backslash before a quote in a label value is lost (so backslashes are doubled
//! before it sees them), units change names with the format (so units are not passed on), and histograms without bounds
//! become summaries (so all get bounds).

use loopscope_report::metrics::render::OWN_PREFIX;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::{HashMap, HashSet};
use std::sync::{OnceLock, PoisonError, RwLock};

/// The program's metrics, as text.
pub type Handle = PrometheusHandle;

static HANDLE: OnceLock<Handle> = OnceLock::new();

/// Installs the recorder for the whole program, once. Returns `None` where the host has installed one of its own.
pub fn install() -> Option<Handle> {
    if let Some(handle) = HANDLE.get() {
        return Some(handle.clone());
    }
    let inner = build()?;
    let handle = inner.handle();
    metrics::set_global_recorder(ProgramRecorder::new(inner)).ok()?;
    Some(HANDLE.get_or_init(|| handle).clone())
}

/// Bounds for histograms of the host: seconds by default, wider for what is named as bytes.
fn build() -> Option<PrometheusRecorder> {
    let powers = |exponents: &mut dyn Iterator<Item = i32>| -> Vec<f64> {
        exponents.map(|exponent| 2f64.powi(exponent)).collect()
    };
    let seconds = powers(&mut [-20, -18, -16].into_iter().chain(-14..=3).chain([5, 7]));
    let bytes = powers(&mut (6..=30).step_by(2));
    let builder = PrometheusBuilder::new().set_buckets(&seconds).ok()?;
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &bytes).ok()?;
    Some(builder.build_recorder())
}

/// Doubles backslashes: the exporter takes a pair for one.
fn doubled(text: &str) -> String {
    text.replace('\\', "\\\\")
}

/// The recorder: what the facade calls. `Inner` is the exporter's.
struct ProgramRecorder<Inner> {
    inner: Inner,
    known: RwLock<Known>,
}

/// What was registered, under the keys of the program. It stays: the exporter forgets nothing either.
#[derive(Default)]
struct Known {
    counters: HashMap<Key, Counter>,
    gauges: HashMap<Key, Gauge>,
    histograms: HashMap<Key, Histogram>,
    described: HashSet<KeyName>,
}

impl<Inner> ProgramRecorder<Inner> {
    fn new(inner: Inner) -> Self {
        ProgramRecorder { inner, known: RwLock::default() }
    }

    /// Returns the handle that is known, or the one that `register` makes; the key is as the exporter must see it. `own` is
    /// for names that are ours. Whatever the exporter waits for, no lock is held meanwhile.
    fn handle<T: Clone>(
        &self,
        key: &Key,
        kind: impl Fn(&mut Known) -> &mut HashMap<Key, T>,
        find: impl Fn(&Known) -> Option<T>,
        register: impl FnOnce(&Key) -> T,
        own: T,
    ) -> T {
        if key.name().starts_with(OWN_PREFIX) {
            return own;
        }
        // Nothing panics under the lock; if it did, what is there would be as it was.
        if let Some(known) = find(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        // Two threads may come here with one key: the exporter gives both the same.
        let made = match key.labels().any(|label| label.value().contains('\\')) {
            false => register(key),
            true => {
                let label = |label: &Label| Label::new(label.key().to_owned(), doubled(label.value()));
                let labels: Vec<Label> = key.labels().map(label).collect();
                register(&Key::from_parts(key.name().to_owned(), labels))
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        kind(&mut known).insert(key.clone(), made.clone());
        made
    }

    /// Calls `describe` for a name that was not described before: some programs describe again whenever they count.
    fn once(&self, name: KeyName, describe: impl FnOnce(KeyName)) {
        let is_known = self.known.read().unwrap_or_else(PoisonError::into_inner).described.contains(&name);
        if !is_known {
            self.known.write().unwrap_or_else(PoisonError::into_inner).described.insert(name.clone());
            describe(name);
        }
    }
}

impl<Inner: Recorder> Recorder for ProgramRecorder<Inner> {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, text: SharedString) {
        self.once(name, |name| self.inner.describe_counter(name, None, doubled(&text).into()));
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, text: SharedString) {
        self.once(name, |name| self.inner.describe_gauge(name, None, doubled(&text).into()));
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, text: SharedString) {
        self.once(name, |name| self.inner.describe_histogram(name, None, doubled(&text).into()));
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let register = |key: &Key| self.inner.register_counter(key, metadata);
        let find = |known: &Known| known.counters.get(key).cloned();
        self.handle(key, |known| &mut known.counters, find, register, Counter::noop())
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let register = |key: &Key| self.inner.register_gauge(key, metadata);
        let find = |known: &Known| known.gauges.get(key).cloned();
        self.handle(key, |known| &mut known.gauges, find, register, Gauge::noop())
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let register = |key: &Key| self.inner.register_histogram(key, metadata);
        let find = |known: &Known| known.histograms.get(key).cloned();
        self.handle(key, |known| &mut known.histograms, find, register, Histogram::noop())
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
