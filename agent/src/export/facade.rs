//! The host program's own metrics: a recorder for the `metrics` facade, which the program asks for, and its families as
//! text for our page.
//!
//! ```text
//!   loop:   histogram!("x") --> index (read lock) --> words of atomics     recording takes no lock
//!   agent:  render ----------> list (no lock) ------> the same words
//! ```
//!
//! Looking up a metric takes a lock that only the program's own threads take, and writing the page takes none: metrics are
//! also on a list that only grows, and is walked while it does. So nothing that the agent does, however long its thread is
//! off a processor meanwhile, holds a loop up. The exporter crate copied its handles under the lock that registering
//! takes, and kept every sample of a histogram until the page was next written; here a sample is added to its bucket.
//!
//! Units are not made part of names: the program's names are on the page as it wrote them.

use crate::export::catalog;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Names that begin so are the agent's own.
pub(crate) const OWN_PREFIX: &str = "loopscope_";

static INSTALLED: OnceLock<Arc<HostMetrics>> = OnceLock::new();

/// Installs the recorder for the whole program, once. Returns `None` where the host has installed one of its own.
pub(crate) fn install() -> Option<Arc<HostMetrics>> {
    if let Some(metrics) = INSTALLED.get() {
        return Some(metrics.clone());
    }
    let metrics = Arc::<HostMetrics>::default();
    metrics::set_global_recorder(HostRecorder(metrics.clone())).ok()?;
    Some(INSTALLED.get_or_init(|| metrics).clone())
}

/// Everything that the program has registered.
#[derive(Debug, Default)]
pub(crate) struct HostMetrics {
    /// Taken by the program's threads only.
    index: RwLock<MetricIndex>,
    /// The list that the page is written from.
    first: OnceLock<Arc<MetricNode>>,
}

#[derive(Debug, Default)]
struct MetricIndex {
    counters: HashMap<Key, Arc<AtomicU64>>,
    gauges: HashMap<Key, Arc<AtomicU64>>,
    histograms: HashMap<Key, Arc<FixedHistogram>>,
    /// Names that were described.
    helps: HashSet<String>,
    last: Option<Arc<MetricNode>>,
}

/// A link of the list: written once, and the one after it once.
#[derive(Debug)]
struct MetricNode {
    entry: HostMetric,
    next: OnceLock<Arc<MetricNode>>,
}

/// What the program registered.
#[derive(Debug)]
pub(crate) enum HostMetric {
    /// A name as it is on the page, and what it is.
    Help(String, SharedString),
    Counter(Key, Arc<AtomicU64>),
    /// The bits of a floating-point number.
    Gauge(Key, Arc<AtomicU64>),
    Histogram(Key, Arc<FixedHistogram>),
}

/// A histogram with bounds that are fixed when it is registered.
#[derive(Debug)]
pub(crate) struct FixedHistogram {
    bounds: &'static [f64],
    /// Samples up to each bound and above the one before it; the last are those above all of them. Written by any thread,
    /// read by the agent's: counts alone, which order nothing.
    counts: Box<[AtomicU64]>,
    /// The bits of the samples' sum; as the counts.
    sum: AtomicU64,
}

impl FixedHistogram {
    fn new(bounds: &'static [f64]) -> FixedHistogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        FixedHistogram { bounds, counts, sum: AtomicU64::new(0) }
    }
}

impl HistogramFn for FixedHistogram {
    fn record(&self, sample: f64) {
        // Not a number would make the sum one that is none for ever.
        if sample.is_nan() {
            return;
        }
        let place = self.bounds.partition_point(|bound| *bound < sample);
        self.counts[place].fetch_add(1, Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + sample).to_bits());
        // It always has a next value.
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }
}

/// Bounds for histograms of the host: seconds by default, wider for what is named as bytes.
fn bounds_of(name: &str) -> &'static [f64] {
    static SECONDS: OnceLock<Vec<f64>> = OnceLock::new();
    static BYTES: OnceLock<Vec<f64>> = OnceLock::new();
    let powers = |exponents: &mut dyn Iterator<Item = i32>| -> Vec<f64> {
        exponents.map(|exponent| 2f64.powi(exponent)).collect()
    };
    match name.ends_with("_bytes") {
        true => BYTES.get_or_init(|| powers(&mut (6..=30).step_by(2))),
        false => SECONDS.get_or_init(|| powers(&mut catalog::FAST.iter().copied().chain([5, 7]))),
    }
}

impl HostMetrics {
    /// Calls `visit` with everything that is registered, in the order in which it was, without any lock.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&HostMetric)) {
        let mut next = self.first.get();
        while let Some(node) = next {
            visit(&node.entry);
            next = node.next.get();
        }
    }

    /// Finds what `find` looks up, or makes it and puts it on the list.
    fn get_or_make<T: Clone>(
        &self,
        find: impl Fn(&MetricIndex) -> Option<T>,
        make: impl FnOnce(&mut MetricIndex) -> (T, HostMetric),
    ) -> T {
        // A panic under the lock, which is in no line below, would leave what was there.
        if let Some(found) = find(&self.index.read().unwrap_or_else(PoisonError::into_inner)) {
            return found;
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&index) {
            return found;
        }
        let (made, entry) = make(&mut index);
        self.push(&mut index, entry);
        made
    }

    fn push(&self, index: &mut MetricIndex, entry: HostMetric) {
        let node = Arc::new(MetricNode { entry, next: OnceLock::new() });
        let link = index.last.as_ref().map_or(&self.first, |last| &last.next);
        // Each is set once: only who holds the index adds a node.
        let _ = link.set(node.clone());
        index.last = Some(node);
    }

    /// Writes everything as Prometheus text: the counters, the gauges, then the histograms.
    pub(crate) fn render(&self) -> String {
        let mut helps: HashMap<String, String> = HashMap::new();
        let mut families: [Vec<(String, String)>; 3] = Default::default();
        let mut places: [HashMap<String, usize>; 3] = Default::default();
        self.visit(|entry| {
            let (kind, key) = match entry {
                HostMetric::Help(name, text) => {
                    helps.insert(name.clone(), escaped(text));
                    return;
                }
                HostMetric::Counter(key, _) => (0, key),
                HostMetric::Gauge(key, _) => (1, key),
                HostMetric::Histogram(key, _) => (2, key),
            };
            let name = plain(key.name(), true);
            let place = *places[kind].entry(name.clone()).or_insert_with(|| {
                families[kind].push((name, String::new()));
                families[kind].len() - 1
            });
            let (name, lines) = &mut families[kind][place];
            write_series(lines, name, entry);
        });
        let mut text = String::new();
        for (families, kind) in families.iter().zip(["counter", "gauge", "histogram"]) {
            for (name, lines) in families {
                if let Some(help) = helps.get(name) {
                    let _ = writeln!(text, "# HELP {name} {help}");
                }
                let _ = write!(text, "# TYPE {name} {kind}\n{lines}");
            }
        }
        text
    }
}

/// Writes the lines of one series. Writing to memory does not fail.
fn write_series(lines: &mut String, name: &str, entry: &HostMetric) {
    let labels = |key: &Key| key.labels().map(label_text).collect::<Vec<_>>().join(",");
    let braced = |labels: &str| if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    match entry {
        HostMetric::Help(..) => {}
        HostMetric::Counter(key, value) => {
            let _ = writeln!(lines, "{name}{} {}", braced(&labels(key)), value.load(Relaxed));
        }
        HostMetric::Gauge(key, value) => {
            let value = f64::from_bits(value.load(Relaxed));
            let _ = writeln!(lines, "{name}{} {value}", braced(&labels(key)));
        }
        HostMetric::Histogram(key, buckets) => {
            let labels = labels(key);
            let comma = if labels.is_empty() { "" } else { "," };
            let mut count = 0;
            let bounds = buckets.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (bound, more) in bounds.zip(&buckets.counts) {
                count += more.load(Relaxed);
                let _ = writeln!(lines, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
            }
            let sum = f64::from_bits(buckets.sum.load(Relaxed));
            let labels = braced(&labels);
            let _ = writeln!(lines, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
        }
    }
}

fn label_text(label: &Label) -> String {
    format!("{}=\"{}\"", plain(label.key(), false), escaped(label.value()))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Replaces what no name may have by `_`.
fn plain(name: &str, may_have_colons: bool) -> String {
    let is_good = |place: usize, c: char| match c {
        '0'..='9' => place > 0,
        ':' => may_have_colons,
        c => c.is_ascii_alphabetic() || c == '_',
    };
    name.chars().enumerate().map(|(place, c)| if is_good(place, c) { c } else { '_' }).collect()
}

/// The recorder: what the facade calls.
struct HostRecorder(Arc<HostMetrics>);

impl HostRecorder {
    fn describe(&self, name: &KeyName, text: SharedString) {
        let mut index = self.0.index.write().unwrap_or_else(PoisonError::into_inner);
        let name = plain(name.as_str(), true);
        // Some describe again whenever they count.
        if index.helps.insert(name.clone()) {
            self.0.push(&mut index, HostMetric::Help(name, text));
        }
    }
}

/// Tells whether a name is for us alone.
fn is_own(key: &Key) -> bool {
    key.name().starts_with(OWN_PREFIX)
}

impl Recorder for HostRecorder {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        if is_own(key) {
            return Counter::noop();
        }
        let make = |index: &mut MetricIndex| {
            let value = Arc::<AtomicU64>::default();
            index.counters.insert(key.clone(), value.clone());
            (value.clone(), HostMetric::Counter(key.clone(), value))
        };
        Counter::from_arc(self.0.get_or_make(|index| index.counters.get(key).cloned(), make))
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        if is_own(key) {
            return Gauge::noop();
        }
        let make = |index: &mut MetricIndex| {
            let value = Arc::<AtomicU64>::default();
            index.gauges.insert(key.clone(), value.clone());
            (value.clone(), HostMetric::Gauge(key.clone(), value))
        };
        Gauge::from_arc(self.0.get_or_make(|index| index.gauges.get(key).cloned(), make))
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        if is_own(key) {
            return Histogram::noop();
        }
        let make = |index: &mut MetricIndex| {
            let buckets = Arc::new(FixedHistogram::new(bounds_of(key.name())));
            index.histograms.insert(key.clone(), buckets.clone());
            (buckets.clone(), HostMetric::Histogram(key.clone(), buckets))
        };
        Histogram::from_arc(self.0.get_or_make(|index| index.histograms.get(key).cloned(), make))
    }
}

#[cfg(test)]
#[path = "facade_tests.rs"]
pub(crate) mod tests;
