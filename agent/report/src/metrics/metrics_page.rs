//! A page being written, whatever its format: families of the catalogue, each once, and the ceiling on samples.
//!
//! Past the ceiling, series are counted and left out, so a page is never larger than its reader can bear.

use crate::metrics::buckets::Buckets;
use crate::metrics::catalog::{FAST, Family, Type};
use crate::metrics::classic_buckets::ClassicBuckets;
use crate::metrics::encoder::{Encoder, Header};
use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::{LoopMetrics, LoopOwner};
use crate::metrics::program_families::{ProgramFamily, ProgramValue};
use crate::metrics::value::Number;
use crate::model::exemplar::{Exemplar, Exemplars};
use loopscope_probe::raw::count_histogram::CountValues;
use loopscope_probe::raw::histogram::HistogramValues;
use std::collections::HashSet;
use std::sync::Arc;

/// More samples than this are not written on one page, counted as Prometheus does.
pub(crate) const SAMPLES_MAX: usize = 20_000;

/// No family has more labels.
pub(crate) const LABELS_MAX: usize = 4;

/// So many more tell whose a loop is.
pub(crate) const OWNER_LABELS: [&str; 3] = ["pid", "name", "runtime"];

/// A number of a loop's runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RuntimeValue<'a> {
    Number(Number),
    Durations(&'a HistogramValues),
}

/// The page.
#[derive(Debug)]
pub(crate) struct MetricsPage {
    encoder: Box<dyn Encoder>,
    family: Option<&'static Family>,
    owner: Option<Arc<LoopOwner>>,
    /// The series that follow are of a loop that has ended.
    is_at_rest: bool,
    has_header: bool,
    names: HashSet<&'static str>,
    classic: ClassicBuckets,
    samples: usize,
    samples_max: usize,
    left_out: u64,
}

impl MetricsPage {
    /// Begins a page of at most so many samples: lines of text. They are as many in every format, because what a
    /// scraper makes of protobuf is its affair.
    pub(crate) fn new(format: MetricsFormat, samples_max: usize) -> Self {
        let encoder = format.encoder();
        let names = HashSet::new();
        MetricsPage {
            encoder,
            family: None,
            owner: None,
            is_at_rest: false,
            has_header: false,
            names,
            classic: ClassicBuckets::Full,
            samples: 0,
            samples_max,
            left_out: 0,
        }
    }

    /// Ends the page and returns it.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.encoder.finish()
    }

    /// Makes room for a page of so many bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.encoder.reserve(bytes);
    }

    /// Says how many classic bounds histograms of durations get.
    pub(crate) fn bounded_by(&mut self, classic: ClassicBuckets) {
        self.classic = classic;
    }

    /// Allows for `more` samples.
    pub(crate) fn allow(&mut self, more: usize) {
        self.samples_max += more;
    }

    /// Returns how many samples were written.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// Returns how many series were left out because of the ceiling.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Tells whether a family of that name was written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Begins a family; its header is written with its first sample.
    pub(crate) fn family(&mut self, family: &'static Family) {
        self.family = Some(family);
        self.owner = None;
        self.is_at_rest = false;
        self.has_header = false;
    }

    /// Says whose the series are that follow, up to the next such word or family: on the page of a host, they have
    /// the labels of the owning process before their own. One that has ended has no gauges.
    pub(crate) fn of(&mut self, view: &LoopMetrics) {
        self.owner.clone_from(&view.owner);
        self.is_at_rest = view.is_at_rest;
    }

    /// Writes a sample that is a whole number.
    pub(crate) fn whole(&mut self, labels: &[&str], value: u64) {
        self.number(labels, Number::Whole(value));
    }

    /// Writes a duration of `ns` nanoseconds, in seconds.
    pub(crate) fn seconds(&mut self, labels: &[&str], ns: u64) {
        self.number(labels, Number::Seconds(ns));
    }

    /// Writes a number with a fraction.
    pub(crate) fn fraction(&mut self, labels: &[&str], value: f64) {
        self.number(labels, Number::Real(value));
    }

    /// Writes a histogram of durations. Its family must be one of durations.
    pub(crate) fn durations(&mut self, labels: &[&str], values: &HistogramValues) {
        self.histogram(labels, values, &[]);
    }

    /// Writes a histogram of durations, with exemplars in formats that have them.
    pub(crate) fn exemplified(&mut self, labels: &[&str], values: &HistogramValues, exemplars: &Exemplars) {
        self.histogram(labels, values, exemplars.newest_last());
    }

    /// Writes a histogram of counts.
    pub(crate) fn counts(&mut self, labels: &[&str], values: &CountValues) {
        let buckets = Buckets::Counts(values);
        self.series_of(labels, buckets.samples(), |encoder, labels| encoder.histogram(labels, &buckets, &[]));
    }

    /// Begins a family of a loop's runtime, which the catalogue does not know. The caller makes sure that its name is
    /// no other family's, and that no two of its series have the same labels.
    pub(crate) fn begin_runtime(&mut self, header: Header<'_>) {
        self.family = None;
        self.owner = None;
        self.has_header = true;
        self.encoder.family(&header);
    }

    /// Writes a series of the family that [`MetricsPage::begin_runtime`] began, with the labels of its owner.
    pub(crate) fn runtime_series(&mut self, view: &LoopMetrics, kind: &str, value: &RuntimeValue<'_>) {
        self.samples += self.samples_of(value);
        let owner = view.owner.as_ref();
        let of_owner = owner
            .into_iter()
            .flat_map(|owner| OWNER_LABELS.into_iter().zip([&*owner.pid, &*owner.name, &*owner.runtime]));
        let own = [("loop", view.label.as_str()), ("kind", kind)];
        // A label without a value is the same as none.
        let pairs: Vec<(&str, &str)> =
            of_owner.chain(own).filter(|(name, value)| *name != "kind" || !value.is_empty()).collect();
        match value {
            RuntimeValue::Number(number) => self.encoder.number(&pairs, *number),
            RuntimeValue::Durations(values) => {
                self.encoder.histogram(&pairs, &Buckets::Durations(values, self.classic.of(FAST)), &[]);
            }
        }
    }

    /// Returns how many samples a number of a runtime is.
    pub(crate) fn samples_of(&self, value: &RuntimeValue<'_>) -> usize {
        match value {
            RuntimeValue::Number(_) => 1,
            RuntimeValue::Durations(values) => Buckets::Durations(values, self.classic.of(FAST)).samples(),
        }
    }

    /// Tells whether a series of so many samples has room besides `others`; else counts it as left out.
    pub(crate) fn has_room(&mut self, samples: usize, others: usize) -> bool {
        let has_room = self.samples + others + samples <= self.samples_max;
        self.left_out += u64::from(!has_room);
        has_room
    }

    /// Counts series that were left out for another reason than the ceiling.
    pub(crate) fn leave_out(&mut self, series: u64) {
        self.left_out += series;
    }

    /// Writes a family of the host program. Its series are not counted: how many there are is the host's affair.
    pub(crate) fn host(&mut self, family: &ProgramFamily) {
        let ProgramFamily { name, help, kind, series } = family;
        self.encoder.family(&Header { name, help, kind: *kind, unit: None });
        for one in series {
            let labels: Vec<(&str, &str)> =
                one.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            match &one.value {
                ProgramValue::Number(number) => self.encoder.number(&labels, *number),
                ProgramValue::Histogram(values) => {
                    self.encoder.histogram(&labels, &Buckets::Classic(values), &[]);
                }
            }
        }
    }

    fn histogram(&mut self, labels: &[&str], values: &HistogramValues, exemplars: &[Exemplar]) {
        let Some(Type::Durations(bounds)) = self.family.map(|family| family.kind) else { return };
        let buckets = Buckets::Durations(values, self.classic.of(bounds));
        self.series_of(labels, buckets.samples(), |encoder, labels| {
            encoder.histogram(labels, &buckets, exemplars);
        });
    }

    fn number(&mut self, labels: &[&str], number: Number) {
        self.series_of(labels, 1, |encoder, labels| encoder.number(labels, number));
    }

    /// Writes one series of so many samples, where the ceiling lets it.
    fn series_of(
        &mut self,
        values: &[&str],
        samples: usize,
        write: impl FnOnce(&mut dyn Encoder, &[(&str, &str)]),
    ) {
        let Some(family) = self.family else { return };
        debug_assert_eq!(values.len(), family.labels.len(), "{}", family.name);
        if self.is_at_rest && matches!(family.kind, Type::Gauge) {
            return;
        }
        if !self.has_room(samples, 0) {
            return;
        }
        self.samples += samples;
        if !std::mem::replace(&mut self.has_header, true) {
            self.names.insert(family.name);
            self.encoder.family(&Header::of(family));
        }
        let mut labels = [("", ""); OWNER_LABELS.len() + LABELS_MAX];
        let of_owner = self.owner.iter().flat_map(|owner| {
            let values = [&*owner.pid, &*owner.name, &*owner.runtime];
            // One family has the runtime itself.
            OWNER_LABELS.into_iter().zip(values).filter(|(name, _)| !family.labels.contains(name))
        });
        let pairs = of_owner.chain(family.labels.iter().copied().zip(values.iter().copied()));
        let count = labels.iter_mut().zip(pairs).map(|(label, pair)| *label = pair).count();
        write(&mut *self.encoder, &labels[..count]);
    }
}

#[cfg(test)]
#[path = "metrics_page_tests.rs"]
mod tests;
