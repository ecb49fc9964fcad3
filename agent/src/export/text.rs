//! The encoder of Prometheus text 0.0.4, for histograms that are already counted.
//!
//! It writes families of the catalogue only, each once, and keeps the ceiling on series: past it, samples are counted
//! and left out. A histogram's classic bounds are powers of two and boundaries of the probe's grid, so each `le`
//! value is an exact sum. A thousand histograms take some three milliseconds: bounds are texts made once, labels are
//! escaped once per series, and numbers are written digit by digit.

use crate::export::catalog::{Family, Type};
use loopscope_probe::counts::{COUNT_EXPONENT_LAST, CountValues};
use loopscope_probe::histogram::{EXPONENT_FIRST, EXPONENT_LAST, HistogramValues};
use std::sync::LazyLock;

/// More series than this are not written on one page.
pub(crate) const SERIES_MAX: usize = 10_000;

/// The `le` text of `2^e` for e = -24..=16, as Go prints it.
static BOUNDS: LazyLock<Vec<String>> =
    LazyLock::new(|| (EXPONENT_FIRST..=COUNT_EXPONENT_LAST as i32).map(power_text).collect());

fn power_text(exponent: i32) -> String {
    let value = 2f64.powi(exponent);
    // Go writes numbers below 1e-4 with an exponent of at least two digits.
    if value >= 1e-4 {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once("e-") {
        Some((digits, power)) => format!("{digits}e-{power:0>2}"),
        None => text,
    }
}

fn bound(exponent: i32) -> &'static str {
    BOUNDS.get((exponent - EXPONENT_FIRST) as usize).map_or("+Inf", String::as_str)
}

/// A page being written.
#[derive(Debug)]
pub(crate) struct Text {
    out: String,
    family: Option<&'static Family>,
    has_header: bool,
    labels: String,
    /// What every bucket's line of the present series begins with, up to the bound.
    bucket: String,
    series: usize,
    series_max: usize,
    left_out: u64,
}

impl Text {
    /// Begins a page of at most `series_max` series.
    pub(crate) fn new(series_max: usize) -> Self {
        Text {
            out: String::new(),
            family: None,
            has_header: false,
            labels: String::new(),
            bucket: String::new(),
            series: 0,
            series_max,
            left_out: 0,
        }
    }

    /// Returns the page.
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    /// Makes room for a page of so many bytes: growing to its size would copy it several times over.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// Allows for `more` series.
    pub(crate) fn allow(&mut self, more: usize) {
        self.series_max += more;
    }

    /// Returns how many series were written.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// Returns how many series were left out because of the ceiling.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Begins a family; its header is written with its first sample.
    pub(crate) fn family(&mut self, family: &'static Family) {
        self.family = Some(family);
        self.has_header = false;
    }

    /// Writes a sample that is a whole number.
    pub(crate) fn whole(&mut self, labels: &[&str], value: u64) {
        if self.begin_series(labels) {
            self.begin_line("");
            push_u64(&mut self.out, value);
            self.out.push('\n');
        }
    }

    /// Writes a duration of `ns` nanoseconds, in seconds, exactly.
    pub(crate) fn seconds(&mut self, labels: &[&str], ns: u64) {
        if self.begin_series(labels) {
            self.begin_line("");
            push_seconds(&mut self.out, ns);
            self.out.push('\n');
        }
    }

    /// Writes a number with a fraction.
    pub(crate) fn fraction(&mut self, labels: &[&str], value: f64) {
        if self.begin_series(labels) {
            self.begin_line("");
            self.out.push_str(&value.to_string());
            self.out.push('\n');
        }
    }

    /// Writes a histogram of durations. Its family must be one of durations.
    pub(crate) fn durations(&mut self, labels: &[&str], values: &HistogramValues) {
        let Some(Type::Durations(bounds)) = self.family.map(|family| family.kind) else { return };
        if !self.begin_series(labels) {
            return;
        }
        self.begin_buckets();
        let (mut below, mut slot) = (0u64, 0);
        for exponent in bounds {
            let last = (exponent.clamp(&EXPONENT_FIRST, &EXPONENT_LAST) - EXPONENT_FIRST) as usize * 8;
            below = values.buckets[slot..=last].iter().fold(below, |sum, count| sum.wrapping_add(*count));
            slot = last + 1;
            self.bucket(bound(*exponent), below);
        }
        let count = values.buckets[slot..].iter().fold(below, |sum, count| sum.wrapping_add(*count));
        self.end_histogram(count, |out| push_seconds(out, values.sum_ns));
    }

    /// Writes a histogram of counts.
    pub(crate) fn counts(&mut self, labels: &[&str], values: &CountValues) {
        if !self.begin_series(labels) {
            return;
        }
        self.begin_buckets();
        let mut below = 0u64;
        for (exponent, count) in values.buckets.iter().enumerate().take(COUNT_EXPONENT_LAST + 1) {
            below = below.wrapping_add(*count);
            self.bucket(bound(exponent as i32), below);
        }
        self.end_histogram(values.count(), |out| push_u64(out, values.sum));
    }

    /// Makes the text that all bucket lines of the present series share: most of a page is these lines.
    fn begin_buckets(&mut self) {
        self.bucket.clear();
        let name = self.family.map_or("", |family| family.name);
        let separator = if self.labels.is_empty() { "" } else { "," };
        for part in [name, "_bucket{", &self.labels, separator, "le=\""] {
            self.bucket.push_str(part);
        }
    }

    fn bucket(&mut self, le: &str, count: u64) {
        self.out.push_str(&self.bucket);
        self.out.push_str(le);
        self.out.push_str("\"} ");
        push_u64(&mut self.out, count);
        self.out.push('\n');
    }

    fn end_histogram(&mut self, count: u64, push_sum: impl FnOnce(&mut String)) {
        self.bucket("+Inf", count);
        self.begin_line("_sum");
        push_sum(&mut self.out);
        self.out.push('\n');
        self.begin_line("_count");
        push_u64(&mut self.out, count);
        self.out.push('\n');
    }

    /// Prepares one series: header, ceiling, labels. Returns whether it may be written.
    fn begin_series(&mut self, values: &[&str]) -> bool {
        let Some(family) = self.family else { return false };
        debug_assert_eq!(values.len(), family.labels.len(), "{}", family.name);
        if self.series >= self.series_max {
            self.left_out += 1;
            return false;
        }
        self.series += 1;
        if !std::mem::replace(&mut self.has_header, true) {
            self.write_header(family);
        }
        self.labels.clear();
        for (name, value) in family.labels.iter().zip(values) {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            push_escaped(&mut self.labels, value);
            self.labels.push('"');
        }
        true
    }

    fn write_header(&mut self, family: &Family) {
        let kind = match family.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Durations(_) | Type::Counts => "histogram",
        };
        // Help texts are ours and need no escaping; a test of the catalogue keeps it so.
        for part in ["# HELP ", family.name, " ", family.help, "\n# TYPE ", family.name, " ", kind, "\n"] {
            self.out.push_str(part);
        }
    }

    fn begin_line(&mut self, suffix: &str) {
        self.push_name(suffix);
        if !self.labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&self.labels);
            self.out.push('}');
        }
        self.out.push(' ');
    }

    fn push_name(&mut self, suffix: &str) {
        self.out.push_str(self.family.map_or("", |family| family.name));
        self.out.push_str(suffix);
    }
}

/// Appends a label value as the format wants it: backslash, quote and newline escaped.
fn push_escaped(out: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let (plain, last) = match part.chars().last() {
            Some(special @ ('\\' | '"' | '\n')) => (&part[..part.len() - 1], Some(special)),
            _ => (part, None),
        };
        out.push_str(plain);
        out.push_str(match last {
            Some('\\') => "\\\\",
            Some('"') => "\\\"",
            Some(_) => "\\n",
            None => "",
        });
    }
}

/// Appends a whole number. A third of the time of `write!`.
fn push_u64(out: &mut String, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    // The digits are ASCII, so this never takes the empty text; checking twenty bytes costs less than pushing chars.
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Appends nanoseconds as seconds: all digits, no rounding, no trailing zeros.
fn push_seconds(out: &mut String, ns: u64) {
    push_u64(out, ns / 1_000_000_000);
    let mut fraction = ns % 1_000_000_000;
    if fraction == 0 {
        return;
    }
    out.push('.');
    let mut place = 100_000_000;
    while fraction > 0 {
        out.push(char::from(b'0' + (fraction / place) as u8));
        fraction %= place;
        place /= 10;
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
