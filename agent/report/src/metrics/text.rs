//! The encoder of text: Prometheus 0.0.4 and OpenMetrics 1.0, which differ in headers, bounds and exemplars.
//!
//! A thousand histograms take some three milliseconds: bounds are texts made once, labels are escaped once per
//! series, and numbers are written digit by digit.
//!
//! OpenMetrics' `_created` samples are not written: Prometheus 2 stores each as a series of its own, a third more of
//! them. A counter of the host program whose name does not end in `_total` cannot be a counter there; it is of type
//! `unknown`, because a name that changed with the format would be two metrics.

use crate::metrics::buckets::{Bound, Buckets, newest_within};
use crate::metrics::encoder::{Encoder, Header, Kind, Labels};
use crate::metrics::number::{bound, point_after, push_number, push_u64};
use crate::metrics::value::Number;
use crate::model::exemplar::Exemplar;
use std::collections::HashSet;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

/// A page of text being written.
#[derive(Debug)]
pub(crate) struct Text {
    dialect: Dialect,
    out: String,
    name: String,
    labels: String,
    /// What every bucket's line of the present series begins with, up to the bound.
    bucket: String,
    /// Names of families in OpenMetrics' sense, for what would clash with them.
    families: HashSet<String>,
}

impl Text {
    /// Begins a page.
    pub(crate) fn new(dialect: Dialect) -> Self {
        let (out, name, labels, bucket) = Default::default();
        Text { dialect, out, name, labels, bucket, families: HashSet::new() }
    }

    fn write_header(&mut self, family: &str, kind: &str, header: &Header<'_>) {
        for part in ["# HELP ", family, " "] {
            self.out.push_str(part);
        }
        // Only OpenMetrics escapes quotes in help texts.
        let escaped: &[char] =
            if self.dialect == Dialect::OpenMetrics { &['\\', '\n', '"'] } else { &['\\', '\n'] };
        push_escaped(&mut self.out, header.help, escaped);
        for part in ["\n# TYPE ", family, " ", kind, "\n"] {
            self.out.push_str(part);
        }
        if let Some(unit) = header.unit.filter(|_| self.dialect == Dialect::OpenMetrics) {
            for part in ["# UNIT ", family, " ", unit, "\n"] {
                self.out.push_str(part);
            }
        }
    }

    fn set_labels(&mut self, labels: Labels<'_>) {
        self.labels.clear();
        push_labels(&mut self.labels, labels);
    }

    /// Makes the text that all bucket lines of the present series share: most of a page is these lines.
    fn begin_buckets(&mut self) {
        self.bucket.clear();
        let separator = if self.labels.is_empty() { "" } else { "," };
        for part in [&self.name, "_bucket{", &self.labels, separator, "le=\""] {
            self.bucket.push_str(part);
        }
    }

    fn bucket(&mut self, at: Bound, count: u64, exemplar: Option<&Exemplar>) {
        let le = bound(at);
        self.out.push_str(&self.bucket);
        self.out.push_str(&le);
        if self.dialect == Dialect::OpenMetrics {
            self.out.push_str(point_after(&le));
        }
        self.out.push_str("\"} ");
        push_u64(&mut self.out, count);
        if let Some(exemplar) = exemplar {
            self.out.push_str(" # {");
            push_labels(&mut self.out, &[("incident_id", &exemplar.incident_id)]);
            self.out.push_str("} ");
            push_number(&mut self.out, Number::Seconds(exemplar.value_ns));
            self.out.push(' ');
            push_number(&mut self.out, Number::Seconds(exemplar.unix_ns));
        }
        self.out.push('\n');
    }

    fn sample(&mut self, suffix: &str, number: Number) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        if !self.labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&self.labels);
            self.out.push('}');
        }
        self.out.push(' ');
        push_number(&mut self.out, number);
        self.out.push('\n');
    }
}

impl Encoder for Text {
    fn family(&mut self, header: &Header<'_>) {
        self.name.clear();
        self.name.push_str(header.name);
        if self.dialect == Dialect::Prometheus {
            let kind = match header.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::Info => "gauge",
                Kind::Histogram => "histogram",
            };
            self.write_header(header.name, kind, header);
            return;
        }
        let (family, kind) = match header.kind {
            Kind::Counter => {
                header.name.strip_suffix("_total").map_or((header.name, "unknown"), |base| (base, "counter"))
            }
            Kind::Info => {
                header.name.strip_suffix("_info").map_or((header.name, "gauge"), |base| (base, "info"))
            }
            Kind::Gauge => (header.name, "gauge"),
            Kind::Histogram => (header.name, "histogram"),
        };
        // Two families of one name, as of `jobs_total` and `jobs`, are told apart by giving the counter's its full name.
        match self.families.insert(family.to_owned()) {
            true => self.write_header(family, kind, header),
            false => self.write_header(header.name, "unknown", header),
        }
    }

    fn number(&mut self, labels: Labels<'_>, number: Number) {
        self.set_labels(labels);
        self.sample("", number);
    }

    fn histogram(&mut self, labels: Labels<'_>, buckets: &Buckets<'_>, exemplars: &[Exemplar]) {
        self.set_labels(labels);
        self.begin_buckets();
        let has_exemplars = self.dialect == Dialect::OpenMetrics && !exemplars.is_empty();
        let mut above = f64::NEG_INFINITY;
        let count = buckets.walk(|at, below| {
            let exemplar = if has_exemplars { newest_within(exemplars, above, at) } else { None };
            above = at.value();
            self.bucket(at, below, exemplar);
        });
        self.sample("_sum", buckets.sum());
        self.sample("_count", Number::Whole(count));
    }

    fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        if self.dialect == Dialect::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out.into_bytes()
    }
}

/// Appends labels as the formats want them: backslash, quote and newline escaped.
fn push_labels(out: &mut String, labels: Labels<'_>) {
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        push_escaped(out, value, &['\\', '"', '\n']);
        out.push('"');
    }
}

fn push_escaped(out: &mut String, value: &str, escaped: &[char]) {
    // All that is ever escaped is one byte long, and next to nothing has it.
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return out.push_str(value);
    }
    for part in value.split_inclusive(escaped) {
        let Some(special) = part.chars().last().filter(|last| escaped.contains(last)) else {
            out.push_str(part);
            continue;
        };
        out.push_str(&part[..part.len() - 1]);
        out.push_str(match special {
            '\\' => "\\\\",
            '"' => "\\\"",
            _ => "\\n",
        });
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
