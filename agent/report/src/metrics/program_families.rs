//! The host program's families: read from the exporter's text, so that every format can be written from them.
//!
//! The text has habits that are put right here, as no format could bear them: families come in random order, with
//! blank lines between them, and without help where none was given; a suffix that a histogram's name already ends in
//! is not repeated (the count of `drain_count` is called `drain_count`); one name may be used for two types; and a
//! label of the host's may be called `le`.

use crate::metrics::buckets::Classic;
use crate::metrics::encoder::Kind;
use crate::metrics::value::Number;
use std::collections::{BTreeMap, BTreeSet};

/// Help for what came without.
const HELP: &str = "Metric of the program.";

/// One family.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProgramFamily {
    pub name: String,
    pub help: String,
    pub kind: Kind,
    pub series: Vec<ProgramSeries>,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProgramSeries {
    pub labels: Vec<(String, String)>,
    pub value: ProgramValue,
}

/// Its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ProgramValue {
    Number(Number),
    Histogram(Classic),
}

/// The host's families, and what could not be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProgramFamilies {
    /// In the order of their names.
    pub families: Vec<ProgramFamily>,
    /// The names of families left out because theirs, or that of one of their samples, was taken.
    pub left_out: Vec<String>,
}

impl ProgramFamilies {
    /// Reads the exporter's text. `is_taken` tells the names of families that the page has already.
    pub(crate) fn read(text: &str, is_taken: impl Fn(&str) -> bool) -> ProgramFamilies {
        let mut families: BTreeMap<String, ProgramFamily> = BTreeMap::new();
        let (mut help, mut current, mut left_out) = (None, None::<ProgramFamily>, Vec::new());
        let mut end = |ended: Option<ProgramFamily>| match ended {
            Some(family) if is_taken(&family.name) || families.contains_key(&family.name) => {
                left_out.push(family.name);
            }
            Some(family) if !family.series.is_empty() => {
                families.insert(family.name.clone(), family);
            }
            _ => {}
        };
        for line in text.lines() {
            if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                help = Some((name.to_owned(), unescape(text)));
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                let help = help.take().filter(|(described, text)| described == name && !text.is_empty());
                let help = help.map_or_else(|| HELP.to_owned(), |(_, text)| text);
                end(current.take());
                current = kind_of(kind).filter(|_| !name.is_empty()).map(|kind| ProgramFamily {
                    name: name.to_owned(),
                    help,
                    kind,
                    series: Vec::new(),
                });
            } else if let (Some(family), Some(sample)) = (&mut current, Sample::parse(line)) {
                family.take(sample);
            }
        }
        end(current.take());
        left_out.extend(leave_out_samples_of_histograms(&mut families));
        ProgramFamilies { families: families.into_values().collect(), left_out }
    }
}

fn kind_of(text: &str) -> Option<Kind> {
    match text {
        "counter" => Some(Kind::Counter),
        "gauge" => Some(Kind::Gauge),
        "histogram" => Some(Kind::Histogram),
        // A summary would be one only where a histogram had no bounds, and all have.
        _ => None,
    }
}

/// A family called like a part of a histogram would be the same series twice. Returns which were.
fn leave_out_samples_of_histograms(families: &mut BTreeMap<String, ProgramFamily>) -> Vec<String> {
    let histograms = families.values().filter(|family| family.kind == Kind::Histogram);
    let parts: BTreeSet<String> = histograms
        .flat_map(|family| {
            ["bucket", "count", "sum", "created"].map(|part| format!("{}_{part}", family.name))
        })
        .collect();
    parts.into_iter().filter(|name| families.remove(name).is_some()).collect()
}

impl ProgramFamily {
    fn take(&mut self, sample: Sample) {
        let Sample { name, mut labels, value } = sample;
        if self.kind != Kind::Histogram {
            if name == self.name {
                self.series
                    .push(ProgramSeries { labels: distinct(labels), value: ProgramValue::Number(value) });
            }
            return;
        }
        // The exporter puts `le` last. Parts of one histogram come together: bounds, sum, count.
        let bound = if self.is_part(&name, "bucket") { labels.pop() } else { None };
        let mut labels = distinct(labels);
        for (name, _) in labels.iter_mut().filter(|(name, _)| name == "le") {
            "exported_le".clone_into(name);
        }
        if self.series.last().is_none_or(|last| last.labels != labels) {
            self.series.push(ProgramSeries { labels, value: ProgramValue::Histogram(Classic::default()) });
        }
        let is_sum = self.is_part(&name, "sum");
        let Some(ProgramSeries { value: ProgramValue::Histogram(buckets), .. }) = self.series.last_mut()
        else {
            return;
        };
        let whole = if let Number::Whole(whole) = value { whole } else { 0 };
        match bound.and_then(|(_, bound)| bound.parse::<f64>().ok()) {
            Some(bound) if bound.is_finite() => buckets.bounds.push((bound, whole)),
            Some(_) => buckets.count = whole,
            None if is_sum => buckets.sum = value.value(),
            // The count again, which is that of the infinite bound.
            None => {}
        }
    }

    /// Tells whether a sample called `name` is that part of this histogram.
    fn is_part(&self, name: &str, part: &str) -> bool {
        match name.strip_prefix(&self.name) {
            Some("") => self.name.ends_with(part),
            Some(suffix) => suffix.strip_prefix('_') == Some(part),
            None => false,
        }
    }
}

/// Keeps the first of several labels of one name, as `a-b` and `a_b` become, and none of the reserved ones.
fn distinct(labels: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        if !name.starts_with("__") && kept.iter().all(|(other, _)| *other != name) {
            kept.push((name, value));
        }
    }
    kept
}

/// One line.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: Number,
}

impl Sample {
    fn parse(line: &str) -> Option<Sample> {
        let name_end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(name_end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while let Some((label, after)) = rest.split_once("=\"") {
                let end = closing_quote(after)?;
                labels.push((label.to_owned(), unescape(&after[..end])));
                rest = &after[end + 1..];
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}')?;
        }
        let value = rest.trim();
        let number = match value.parse::<u64>() {
            Ok(whole) => Number::Whole(whole),
            Err(_) => Number::Real(value.parse().ok()?),
        };
        Some(Sample { name: name.to_owned(), labels, value: number })
    }
}

/// Returns where the quote is that ends a label's value.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        plain.push(match escaped {
            Some('n') => '\n',
            Some(other) => other,
            None => letter,
        });
    }
    plain
}

#[cfg(test)]
#[path = "program_families_tests.rs"]
mod tests;
