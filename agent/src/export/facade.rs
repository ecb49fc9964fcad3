//! The host program's own metrics: a recorder for the `metrics` facade, and its families on our page.
//!
//! The exporter crate keeps the host's counters. Three of its habits are corrected on the way: a backslash before a
//! quote in a label value is lost (so backslashes are doubled before it sees them), units change names with the
//! format (so units are not passed on), and histograms without bounds become summaries (so all get bounds).

use crate::export::catalog;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Names that begin so are the agent's own.
const OWN_PREFIX: &str = "loopscope_";

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
        let doubled = |label: &Label| Label::new(label.key().to_owned(), label.value().replace('\\', "\\\\"));
        let labels: Vec<Label> = key.labels().map(doubled).collect();
        register(&Key::from_parts(key.name().to_owned(), labels))
    }
}

impl Recorder for HostRecorder {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(name, None, description);
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(name, None, description);
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(name, None, description);
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

/// Appends the exporter's text to `page`: families in the order of their names, without blank lines, each with a help
/// line, and none that the page has already.
pub(crate) fn append_host(page: &mut String, host: &str) {
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = None;
    for line in host.lines().filter(|line| !line.is_empty()) {
        let header = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        if let Some(name) = header.and_then(|header| header.split(' ').next()) {
            current = Some(name);
        }
        if let Some(name) = current.filter(|name| !is_ours(name)) {
            families.entry(name).or_default().push(line);
        }
    }
    for (name, lines) in families {
        if !lines.iter().any(|line| line.starts_with("# HELP ")) {
            page.push_str("# HELP ");
            page.push_str(name);
            page.push_str(" A metric of the program itself.\n");
        }
        for line in lines {
            page.push_str(line);
            page.push('\n');
        }
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) || catalog::ALL.iter().any(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_families_are_sorted_described_and_never_ours() {
        let host = "# TYPE b_total counter\nb_total 3\n\n# HELP a Things.\n# TYPE a gauge\na{x=\"1\"} 2\n\n\
                    # TYPE process_open_fds gauge\nprocess_open_fds 9\n\n# TYPE loopscope_x gauge\nloopscope_x 1\n\n";
        let mut page = String::from("first\n");
        append_host(&mut page, host);
        let expected = "first\n# HELP a Things.\n# TYPE a gauge\na{x=\"1\"} 2\n\
                        # HELP b_total A metric of the program itself.\n# TYPE b_total counter\nb_total 3\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn the_exporter_s_habits_are_corrected() {
        let inner = build().unwrap();
        let handle = inner.handle();
        metrics::with_local_recorder(&HostRecorder { inner }, || {
            metrics::counter!("files_total", "path" => "C:\\x\"y\\\"z\nw").increment(3);
            metrics::counter!("loopscope_loop_iterations_total").increment(9);
            metrics::describe_histogram!("wait_seconds", Unit::Milliseconds, "Waiting.");
            metrics::histogram!("wait_seconds").record(0.3);
        });
        let text = handle.render();
        assert!(text.contains("files_total{path=\"C:\\\\x\\\"y\\\\\\\"z\\nw\"} 3"), "{text}");
        assert!(text.contains("wait_seconds_bucket{le=\"0.5\"} 1"), "{text}");
        assert!(!text.contains("loopscope_"), "{text}");
    }
}
