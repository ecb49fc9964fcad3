//! What a format must be able to write: families, numbers and histograms that are already counted.
//!
//! Families are written once, through [`MetricsPage`](crate::metrics::metrics_page::MetricsPage), which hands them to the encoder of the
//! format that was asked for. An encoder decides nothing: which families there are, in which order, and how many
//! series, is the same in all formats.

use crate::metrics::buckets::Buckets;
use crate::metrics::catalog::{Family, Type, Unit};
pub use crate::metrics::value::Number;
use crate::model::exemplar::Exemplar;
use std::fmt::Debug;

/// Labels of one series: names and values, as they are, not escaped.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page being written in one format.
pub(crate) trait Encoder: Debug {
    /// Begins a family; at least one series follows, and all of its series follow.
    fn family(&mut self, header: &Header<'_>);
    /// Writes a series that is one number.
    fn number(&mut self, labels: Labels<'_>, number: Number);
    /// Writes a series that is a histogram, in formats that can with exemplars, newest last.
    fn histogram(&mut self, labels: Labels<'_>, buckets: &Buckets<'_>, exemplars: &[Exemplar]);
    /// Makes room for so many bytes: growing to a page's size would copy it several times over.
    fn reserve(&mut self, bytes: usize);
    /// Ends the page and returns it.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Always 1: the labels are the information.
    Info,
}

/// What is said of a family before its series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    /// The name of its samples in text; the same in every format.
    pub name: &'a str,
    /// Any text.
    pub help: &'a str,
    pub kind: Kind,
    /// What its name ends in, before `_total`.
    pub unit: Option<&'static str>,
}

impl Header<'static> {
    /// Returns the header of a family of the catalogue.
    pub(crate) fn of(family: &Family) -> Self {
        let kind = match family.kind {
            Type::Counter => Kind::Counter,
            Type::Gauge if family.unit == Unit::Info => Kind::Info,
            Type::Gauge => Kind::Gauge,
            Type::Durations(_) | Type::Counts => Kind::Histogram,
        };
        Header { name: family.name, help: family.help, kind, unit: family.unit.suffix() }
    }
}
