//! The messages, read back by a decoder that knows nothing of the encoder.

use super::*;
use crate::metrics::catalog;
use crate::metrics::format::MetricsFormat;
use crate::metrics::metrics_page::MetricsPage;
use crate::model::exemplar::Exemplars;
use loopscope_probe::raw::count_histogram::CountValues;
use loopscope_probe::raw::histogram::{HistogramValues, UPPER_NS, slot};
use proptest::prelude::*;

/// A field of a message, as the wire has it.
#[derive(Clone, Debug)]
enum Field {
    Varint(u64),
    Fixed(f64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than ten bytes")
}

fn signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    taken
}

/// A message: its fields in the order of the wire.
#[derive(Clone, Debug)]
struct Message(Vec<(u64, Field)>);

impl Message {
    fn parse(mut bytes: &[u8]) -> Message {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let field = match tag & 7 {
                0 => Field::Varint(varint(&mut bytes)),
                1 => Field::Fixed(f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let len = varint(&mut bytes) as usize;
                    Field::Bytes(take(&mut bytes, len).to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, field));
        }
        Message(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &Field> {
        self.0.iter().filter(move |(field, _)| *field == number).map(|(_, field)| field)
    }

    fn messages(&self, number: u64) -> Vec<Message> {
        let parse = |field: &Field| match field {
            Field::Bytes(bytes) => Message::parse(bytes),
            other => panic!("{other:?} is no message"),
        };
        self.all(number).map(parse).collect()
    }

    fn whole(&self, number: u64) -> u64 {
        match self.all(number).next() {
            Some(Field::Varint(value)) => *value,
            other => panic!("field {number} is {other:?}"),
        }
    }

    fn real(&self, number: u64) -> f64 {
        match self.all(number).next() {
            Some(Field::Fixed(value)) => *value,
            other => panic!("field {number} is {other:?}"),
        }
    }

    fn text(&self, number: u64) -> String {
        match self.all(number).next() {
            Some(Field::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("field {number} is {other:?}"),
        }
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.messages(1).iter().map(|pair| (pair.text(1), pair.text(2))).collect()
    }

    /// Rebuilds a native histogram's buckets: index and count.
    fn native(&self) -> Vec<(i64, i64)> {
        let mut deltas: &[u8] = match self.all(13).next() {
            Some(Field::Bytes(bytes)) => bytes,
            _ => &[],
        };
        let (mut index, mut count, mut buckets) = (0, 0, Vec::new());
        for span in self.messages(12) {
            index += signed(span.whole(1));
            for _ in 0..span.whole(2) {
                count += signed(varint(&mut deltas));
                buckets.push((index, count));
                index += 1;
            }
        }
        assert!(deltas.is_empty(), "more deltas than the spans have buckets");
        buckets
    }
}

fn families(mut page: &[u8]) -> Vec<Message> {
    let mut families = Vec::new();
    while !page.is_empty() {
        let len = varint(&mut page) as usize;
        families.push(Message::parse(take(&mut page, len)));
    }
    families
}

fn page(write: impl FnOnce(&mut MetricsPage)) -> Vec<Message> {
    let mut sheet = MetricsPage::new(MetricsFormat::Protobuf, 10_000);
    write(&mut sheet);
    families(&sheet.finish())
}

#[test]
fn numbers_have_their_type_and_labels_are_as_they_are() {
    let families = page(|sheet| {
        sheet.family(&catalog::LOOP_INFO);
        sheet.whole(&["C:\\x\"y\nä", "hand", "", "main"], 1);
        sheet.family(&catalog::LOOP_TIME);
        sheet.seconds(&["main", "active"], 1_500_000_000);
        sheet.seconds(&["main", "idle"], 2);
    });
    let [info, time] = &families[..] else { panic!("{families:?}") };
    assert_eq!((info.text(1).as_str(), info.whole(3)), ("loopscope_loop_info", 1));
    let series = &info.messages(4)[0];
    let labels = [("loop", "C:\\x\"y\nä"), ("runtime", "hand"), ("backend", ""), ("thread", "main")];
    assert_eq!(series.labels(), labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(series.messages(2)[0].real(1), 1.0);
    assert_eq!((time.text(1).as_str(), time.whole(3)), ("loopscope_loop_time_seconds_total", 0));
    let values: Vec<f64> = time.messages(4).iter().map(|series| series.messages(3)[0].real(1)).collect();
    assert_eq!(values, [1.5, 2e-9]);
}

fn histogram(values: &HistogramValues) -> Message {
    let families = page(|sheet| {
        sheet.family(&catalog::LAG_SECONDS);
        sheet.durations(&["main"], values);
    });
    assert_eq!(families[0].whole(3), 4);
    families[0].messages(4)[0].messages(7)[0].clone()
}

proptest! {
    #[test]
    fn native_and_classic_buckets_tell_the_same(
        observed in prop::collection::vec(0u64..200_000_000_000, 0..60),
        few in prop::collection::vec(0u64..2_000_000, 0..60),
    ) {
        let mut values = HistogramValues::default();
        for ns in observed.iter().chain(&few) {
            values.buckets[slot(*ns)] += 1;
            values.sum_ns += ns;
        }
        let histogram = histogram(&values);
        prop_assert_eq!(signed(histogram.whole(5)), 3);
        prop_assert_eq!(histogram.real(6), 2f64.powi(-24));
        prop_assert_eq!(histogram.whole(7), values.buckets[0]);
        prop_assert_eq!(histogram.whole(1), values.count());
        prop_assert_eq!(histogram.real(2), values.sum_ns as f64 / 1e9);
        let native = histogram.native();
        let total: i64 = native.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(total as u64 + values.buckets[0], values.count());
        for (index, count) in native {
            let slot = usize::try_from(index + 192).unwrap();
            prop_assert_eq!(values.buckets[slot], count as u64);
            if slot < UPPER_NS.len() - 1 {
                let upper_ns = 2f64.powf(index as f64 / 8.0) * 1e9;
                prop_assert!((upper_ns - UPPER_NS[slot] as f64).abs() <= 1.0);
            }
        }
        for bucket in histogram.messages(3) {
            let exponent = bucket.real(2).log2();
            let expected = if exponent.is_finite() { values.count_within((exponent * 8.0).round() as i32) } else { values.count() };
            prop_assert_eq!(bucket.whole(1), expected);
        }
    }
}

#[test]
fn an_unused_histogram_is_still_seen_as_native() {
    let histogram = histogram(&HistogramValues::default());
    assert!(histogram.native().is_empty());
    assert_eq!((histogram.whole(1), histogram.whole(7)), (0, 0));
    assert!(histogram.real(6) > 0.0, "a threshold above 0 tells Prometheus that it is native");
    assert_eq!(histogram.messages(3).len(), catalog::LAG.len() + 1);
}

#[test]
fn counts_are_native_with_one_bucket_an_octave() {
    let mut values = CountValues::default();
    values.buckets[0] = 3;
    values.buckets[1] = 2;
    values.buckets[17] = 1;
    values.sum = 1_000;
    let families = page(|sheet| {
        sheet.family(&catalog::POLL_EVENTS);
        sheet.counts(&["main"], &values);
    });
    let histogram = &families[0].messages(4)[0].messages(7)[0];
    assert_eq!((signed(histogram.whole(5)), histogram.real(6), histogram.whole(7)), (0, 1.0, 3));
    assert_eq!(histogram.native(), [(1, 2), (17, 1)]);
    assert_eq!((histogram.whole(1), histogram.real(2)), (6, 1_000.0));
}

#[test]
fn a_damaged_histogram_still_adds_up() {
    let values = HistogramValues { buckets: vec![u64::MAX; 250], sum_ns: u64::MAX };
    let histogram = histogram(&values);
    let total: i64 = histogram.native().iter().map(|(_, count)| count).sum();
    assert_eq!(total as u64 + histogram.whole(7), histogram.whole(1));
}

#[test]
fn exemplars_are_on_the_bucket_and_in_the_native_list() {
    let mut values = HistogramValues::default();
    values.buckets[slot(203_000_000)] = 1;
    let mut exemplars = Exemplars::default();
    exemplars.note(Exemplar {
        incident_id: "4711-3".to_owned(),
        value_ns: 203_000_000,
        unix_ns: 1_700_000_000_000_000_250,
    });
    let families = page(|sheet| {
        sheet.family(&catalog::BLOCKED_DURATION);
        sheet.exemplified(&["main"], &values, &exemplars);
    });
    let histogram = &families[0].messages(4)[0].messages(7)[0];
    let buckets = histogram.messages(3);
    let with: Vec<&Message> = buckets.iter().filter(|bucket| bucket.all(3).next().is_some()).collect();
    assert_eq!(with.iter().map(|bucket| bucket.real(2)).collect::<Vec<_>>(), [0.210224103]);
    for exemplar in [with[0].messages(3)[0].clone(), histogram.messages(16)[0].clone()] {
        assert_eq!(exemplar.labels(), [("incident_id".to_owned(), "4711-3".to_owned())]);
        assert_eq!(exemplar.real(2), 0.203);
        let time = &exemplar.messages(3)[0];
        assert_eq!((time.whole(1), time.whole(2)), (1_700_000_000, 250));
    }
}
