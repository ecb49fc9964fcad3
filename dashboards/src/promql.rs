//! Builds PromQL expressions over the families of the catalogue.
//!
//! A histogram is stored by Prometheus either as classic buckets or as one native series; with native histograms on,
//! the `_bucket`, `_sum` and `_count` series do not exist. Every expression over one is therefore `native or classic`:
//! of the two sides, the one that the server does not have is empty. Native comes first, because classic series of the
//! time before native ones were turned on answer for as long as the window is.
//!
//! A quantile of nothing, and a share of nothing, is not a number for Prometheus. Such a value is no value here: it would be drawn
//! as a gap in one place, and make a mean or a maximum over several loops NaN in another.

use loopscope_report::metrics::catalog::{Family, Type};

/// Labels that a series may have beside its family's own: those of its target, and those of its process where
/// `loopscope serve` tells them. On an agent's own page the latter are missing, which is the same as empty.
const OUTER_LABELS: &[&str] = &["job", "instance", "pid", "name"];

/// Tells whether series of the family can have that label.
pub fn has_label(family: &Family, label: &str) -> bool {
    family.labels.contains(&label) || OUTER_LABELS.contains(&label)
}

/// Series of one family.
#[derive(Clone, Debug)]
pub struct Series {
    family: &'static Family,
    matchers: Vec<String>,
}

/// How an aggregation chooses labels.
#[derive(Clone, Copy, Debug)]
pub enum Group<'a> {
    /// Keep these only.
    By(&'a [&'a str]),
    /// Drop these; labels that the user gave to targets (namespace, pod) stay. Empty: nothing is aggregated.
    Without(&'a [&'a str]),
}

impl Series {
    /// All series of a family.
    pub fn of(family: &'static Family) -> Series {
        Series { family, matchers: Vec::new() }
    }

    /// Narrows it to series whose `label` compares to `value` by `operator` (`=`, `!=`, `=~`, `!~`).
    ///
    /// # Panics
    /// The family has no such label: the catalogue is what counts, so this is found when the files are generated.
    #[must_use]
    pub fn with(mut self, label: &str, operator: &str, value: &str) -> Series {
        let family = self.family;
        assert!(
            has_label(family, label),
            "{} has no label `{label}`: it has {:?}",
            family.name,
            family.labels
        );
        self.matchers.push(format!("{label}{operator}\"{value}\""));
        self
    }

    /// Returns its family.
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Returns the selector.
    pub fn select(&self) -> String {
        self.suffixed("", None)
    }

    fn suffixed(&self, suffix: &str, le: Option<&str>) -> String {
        let le = le.map(|le| format!("le=\"{le}\""));
        let matchers: Vec<String> = le.into_iter().chain(self.matchers.iter().cloned()).collect();
        if matchers.is_empty() {
            return format!("{}{suffix}", self.family.name);
        }
        format!("{}{suffix}{{{}}}", self.family.name, matchers.join(","))
    }

    fn assert_histogram(&self) {
        let is_histogram = matches!(self.family.kind, Type::Durations(_) | Type::Counts);
        assert!(is_histogram, "{} is no histogram", self.family.name);
    }

    /// Checks that an aggregation of this names labels that it has.
    fn assert_group(&self, group: Group<'_>) {
        let (Group::By(labels) | Group::Without(labels)) = group;
        let unknown: Vec<_> = labels.iter().filter(|label| !has_label(self.family, label)).collect();
        assert!(unknown.is_empty(), "{} has no labels {unknown:?}", self.family.name);
    }
}

/// Returns `inner` aggregated by `operator` (`sum`, `max`).
fn aggregate(operator: &str, group: Group<'_>, extra: Option<&str>, inner: &str) -> String {
    match group {
        Group::Without([]) => inner.to_owned(),
        Group::Without(labels) => format!("{operator} without ({}) ({inner})", labels.join(", ")),
        Group::By(labels) => {
            let labels: Vec<&str> = labels.iter().copied().chain(extra).collect();
            if labels.is_empty() {
                return format!("{operator}({inner})");
            }
            format!("{operator} by ({}) ({inner})", labels.join(", "))
        }
    }
}

/// Sum of a gauge.
pub fn sum(series: &Series, group: Group<'_>) -> String {
    series.assert_group(group);
    aggregate("sum", group, None, &series.select())
}

/// Largest of a gauge.
pub fn max(series: &Series, group: Group<'_>) -> String {
    series.assert_group(group);
    aggregate("max", group, None, &series.select())
}

/// Largest of a gauge within `window`.
pub fn max_over_time(series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_group(group);
    aggregate("max", group, None, &format!("max_over_time({}[{window}])", series.select()))
}

/// Mean of a gauge within `window`.
pub fn mean_over_time(series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_group(group);
    aggregate("sum", group, None, &format!("avg_over_time({}[{window}])", series.select()))
}

/// Growth a second of a counter.
pub fn rate(series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_group(group);
    aggregate("sum", group, None, &format!("rate({}[{window}])", series.select()))
}

/// Growth a minute of a counter, for what is rare.
pub fn per_minute(series: &Series, group: Group<'_>, window: &str) -> String {
    format!("60 * {}", rate(series, group, window))
}

/// Growth of a counter within `window`.
pub fn increase(series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_group(group);
    aggregate("sum", group, None, &format!("increase({}[{window}])", series.select()))
}

/// The share (0 to 1) that `part` is of `all`; no value where that is 0.
pub fn ratio(part: &str, all: &str) -> String {
    format!("{part}\n/\n({all} > 0)")
}

/// The `q`-quantile (0 to 1) of a histogram's values within `window`; no value where there were none.
pub fn quantile(q: &str, series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_histogram();
    series.assert_group(group);
    let classic =
        aggregate("sum", group, Some("le"), &format!("rate({}[{window}])", series.suffixed("_bucket", None)));
    let native = aggregate("sum", group, None, &format!("rate({}[{window}])", series.select()));
    format!("histogram_quantile({q}, {native}) >= 0\nor\nhistogram_quantile({q}, {classic}) >= 0")
}

/// The share (0 to 1) of a histogram's values within `window` that are greater than `bound`, which must be one of its
/// classic bounds. No value where there were none.
pub fn share_above(bound: &str, series: &Series, group: Group<'_>, window: &str) -> String {
    series.assert_histogram();
    series.assert_group(group);
    let below = format!("rate({}[{window}])", series.suffixed("_bucket", Some(bound)));
    let all = format!("rate({}[{window}])", series.suffixed("_count", None));
    let below = match group {
        Group::Without(labels) => {
            let labels: Vec<&str> = labels.iter().copied().chain(["le"]).collect();
            aggregate("sum", Group::Without(&labels), None, &below)
        }
        by => aggregate("sum", by, None, &below),
    };
    let all = aggregate("sum", group, None, &all);
    let native = aggregate("sum", group, None, &format!("rate({}[{window}])", series.select()));
    // Not from 0 on: where nothing waited at all, Prometheus takes the bucket around 0 to be half below it. What is not a number is
    // not greater than anything.
    format!("1 - histogram_fraction(-Inf, {bound}, {native}) > -1\nor\n1 - {below} / ({all} > 0)")
}

/// Values a second that a histogram took in.
pub fn values_rate(series: &Series, group: Group<'_>, window: &str) -> String {
    parts_rate(series, group, window, "_count", "histogram_count")
}

/// Growth a second of a histogram's sum.
pub fn total_rate(series: &Series, group: Group<'_>, window: &str) -> String {
    parts_rate(series, group, window, "_sum", "histogram_sum")
}

fn parts_rate(series: &Series, group: Group<'_>, window: &str, suffix: &str, function: &str) -> String {
    series.assert_histogram();
    series.assert_group(group);
    let classic =
        aggregate("sum", group, None, &format!("rate({}[{window}])", series.suffixed(suffix, None)));
    let native = aggregate("sum", group, None, &format!("rate({}[{window}])", series.select()));
    format!("{function}({native})\nor\n{classic}")
}

/// Counts by bucket, for a heatmap of all series together.
pub fn buckets(series: &Series, window: &str) -> String {
    series.assert_histogram();
    let classic = format!("sum by (le) (increase({}[{window}]))", series.suffixed("_bucket", None));
    let native = format!("sum(increase({}[{window}]))", series.select());
    // Their labels differ, so where a server has both, both would be drawn.
    format!("{native}\nor\n({classic} unless on () {native})")
}

#[cfg(test)]
#[path = "promql_tests.rs"]
mod tests;
