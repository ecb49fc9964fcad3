//! The encoder of length-delimited `io.prometheus.client.MetricFamily`: classic and native histograms in one message.
//!
//! A scraper with native histograms takes the native buckets, any other the classic ones, and both are exact. It is
//! some thirty fields of seven messages, so there is no schema compiler and no generated code.
//!
//! # Source
//! `io/prometheus/client/metrics.proto` of github.com/prometheus/client_model; field numbers are from there.

use crate::metrics::buckets::{Bound, Buckets, Native, newest_within};
use crate::metrics::encoder::{Encoder, Header, Kind, Labels};
use crate::metrics::value::Number;
use crate::model::exemplar::Exemplar;
use crate::protobuf::{begin_bytes, push_bytes, push_f64, push_u64, push_varint, varint_len, zigzag};

/// A gap of at most so many empty buckets is written as empty buckets, and not as a new span: that is shorter.
const GAP_MAX: i32 = 2;

/// More than this in one bucket is damage: sums of such counts would overflow, and Prometheus refuses a page for one
/// histogram that does not add up.
const COUNT_MAX: u64 = 1 << 53;

/// A page being written. The buffers are those of the messages under way, from the outside to the inside.
#[derive(Debug, Default)]
pub(crate) struct Protobuf {
    out: Vec<u8>,
    family: Vec<u8>,
    metric: Vec<u8>,
    histogram: Vec<u8>,
    inner: Vec<u8>,
    deltas: Vec<u8>,
    /// The field of a metric that its value is in.
    value_field: u8,
}

impl Protobuf {
    fn end_family(&mut self) {
        if !self.family.is_empty() {
            push_varint(&mut self.out, self.family.len() as u64);
            self.out.append(&mut self.family);
        }
    }

    fn begin_metric(&mut self, labels: Labels<'_>) {
        self.metric.clear();
        for (name, value) in labels {
            push_label(&mut self.metric, &mut self.inner, name, value);
        }
    }

    fn end_metric(&mut self) {
        push_bytes(&mut self.family, 4, &self.metric);
    }

    fn push_bucket(&mut self, at: Bound, count: u64, exemplar: Option<&Exemplar>) {
        let Some(exemplar) = exemplar.map(exemplar_bytes) else { return self.push_plain_bucket(at, count) };
        let more = 1 + varint_len(exemplar.len() as u64) + exemplar.len();
        begin_bytes(&mut self.histogram, 3, 1 + varint_len(count) + 9 + more);
        push_u64(&mut self.histogram, 1, count);
        push_f64(&mut self.histogram, 2, at.value());
        push_bytes(&mut self.histogram, 3, &exemplar);
    }

    /// The same without an exemplar, gathered first: most of a page is these.
    fn push_plain_bucket(&mut self, at: Bound, mut count: u64) {
        // Tag and length, tag and count of at most ten bytes, tag and bound.
        let mut bytes = [0; 2 + 1 + 10 + 1 + 8];
        (bytes[0], bytes[2]) = (3 << 3 | 2, 1 << 3);
        let mut end = 3;
        while count >= 0x80 {
            bytes[end] = count as u8 | 0x80;
            count >>= 7;
            end += 1;
        }
        (bytes[end], bytes[end + 1]) = (count as u8, 2 << 3 | 1);
        bytes[end + 2..end + 10].copy_from_slice(&at.value().to_le_bytes());
        bytes[1] = (end + 8) as u8;
        self.histogram.extend_from_slice(&bytes[..end + 10]);
    }

    fn push_native(&mut self, native: &Native<'_>) {
        let out = &mut self.histogram;
        push_u64(out, 5, zigzag(i64::from(native.schema)));
        push_f64(out, 6, native.zero_threshold);
        push_u64(out, 7, native.zero_count.min(COUNT_MAX));
        self.deltas.clear();
        let (mut span, mut next_index, mut last) = (None::<(i32, u32)>, 0, 0i64);
        for (index, count) in (native.first_index..).zip(native.counts).filter(|(_, count)| **count > 0) {
            let gap = index - next_index;
            span = Some(match span {
                Some((offset, length)) if gap <= GAP_MAX => {
                    for _ in 0..gap {
                        push_varint(&mut self.deltas, zigzag(-last));
                        last = 0;
                    }
                    (offset, length + gap as u32 + 1)
                }
                ended => {
                    push_span(out, ended);
                    (gap, 1)
                }
            });
            let count = (*count).min(COUNT_MAX) as i64;
            push_varint(&mut self.deltas, zigzag(count - last));
            (last, next_index) = (count, index + 1);
        }
        push_span(out, span);
        if !self.deltas.is_empty() {
            push_bytes(out, 13, &self.deltas);
        }
    }
}

impl Encoder for Protobuf {
    fn family(&mut self, header: &Header<'_>) {
        self.end_family();
        let (kind, value_field) = match header.kind {
            Kind::Counter => (0, 3),
            Kind::Gauge | Kind::Info => (1, 2),
            Kind::Histogram => (4, 7),
        };
        self.value_field = value_field;
        push_bytes(&mut self.family, 1, header.name.as_bytes());
        push_bytes(&mut self.family, 2, header.help.as_bytes());
        push_u64(&mut self.family, 3, kind);
    }

    fn number(&mut self, labels: Labels<'_>, number: Number) {
        self.begin_metric(labels);
        begin_bytes(&mut self.metric, self.value_field, 9);
        push_f64(&mut self.metric, 1, number.value());
        self.end_metric();
    }

    fn histogram(&mut self, labels: Labels<'_>, buckets: &Buckets<'_>, exemplars: &[Exemplar]) {
        self.begin_metric(labels);
        self.histogram.clear();
        let mut above = f64::NEG_INFINITY;
        let mut count = buckets.walk(|at, below| {
            let exemplar = if exemplars.is_empty() { None } else { newest_within(exemplars, above, at) };
            above = at.value();
            self.push_bucket(at, below, exemplar);
        });
        if let Some(native) = buckets.native() {
            self.push_native(&native);
            count = native
                .counts
                .iter()
                .fold(native.zero_count.min(COUNT_MAX), |sum, count| sum + (*count).min(COUNT_MAX));
            // Native histograms have theirs in a list of their own.
            for exemplar in exemplars {
                push_bytes(&mut self.histogram, 16, &exemplar_bytes(exemplar));
            }
        }
        push_u64(&mut self.histogram, 1, count);
        push_f64(&mut self.histogram, 2, buckets.sum().value());
        push_bytes(&mut self.metric, self.value_field, &self.histogram);
        self.end_metric();
    }

    fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    fn finish(mut self: Box<Self>) -> Vec<u8> {
        self.end_family();
        self.out
    }
}

fn push_label(out: &mut Vec<u8>, inner: &mut Vec<u8>, name: &str, value: &str) {
    inner.clear();
    push_bytes(inner, 1, name.as_bytes());
    push_bytes(inner, 2, value.as_bytes());
    push_bytes(out, 1, inner);
}

/// Appends a run of buckets: how far it is from the end of the one before (from 0 for the first), and how long.
fn push_span(out: &mut Vec<u8>, span: Option<(i32, u32)>) {
    if let Some((offset, length)) = span {
        let (offset, length) = (zigzag(i64::from(offset)), u64::from(length));
        begin_bytes(out, 12, 2 + varint_len(offset) + varint_len(length));
        push_u64(out, 1, offset);
        push_u64(out, 2, length);
    }
}

/// Returns the message of an exemplar. They are few, so its buffers need not be kept.
fn exemplar_bytes(exemplar: &Exemplar) -> Vec<u8> {
    let (mut bytes, mut inner) = (Vec::new(), Vec::new());
    push_label(&mut bytes, &mut inner, "incident_id", &exemplar.incident_id);
    push_f64(&mut bytes, 2, Number::Seconds(exemplar.value_ns).value());
    inner.clear();
    push_u64(&mut inner, 1, exemplar.unix_ns / 1_000_000_000);
    push_u64(&mut inner, 2, exemplar.unix_ns % 1_000_000_000);
    push_bytes(&mut bytes, 3, &inner);
    bytes
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
