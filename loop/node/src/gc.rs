//! Pauses for collecting garbage: a histogram by kind, and a frame below the callback in which each fell.

use loopscope_probe::GaugeWriter;
use loopscope_probe::Site;
use loopscope_probe::gauges::GaugeHistogramId;
use loopscope_probe::spans::{self, Entered};
use loopscope_probe::{Clock, Kind, SiteId, Ticks, Writer};

/// A kind of collection, as V8 tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum GcKind {
    /// Of young objects.
    Scavenge,
    /// Of young objects, in place.
    MinorMarkSweep,
    /// Of all objects.
    MarkSweepCompact,
    /// A step of marking, begun before the collection.
    IncrementalMarking,
    /// What is called when weakly held objects are gone.
    WeakCallbacks,
}

impl GcKind {
    const ALL: [(GcKind, &str, &str); 5] = [
        (GcKind::Scavenge, "scavenge", "GC scavenge"),
        (GcKind::MinorMarkSweep, "minor_mark_sweep", "GC minor mark-sweep"),
        (GcKind::MarkSweepCompact, "mark_sweep_compact", "GC mark-sweep-compact"),
        (GcKind::IncrementalMarking, "incremental_marking", "GC incremental marking"),
        (GcKind::WeakCallbacks, "weak_callbacks", "GC weak callbacks"),
    ];

    /// Returns the kind of `v8::GCType`, where each has a bit.
    pub fn of_bits(bits: u32) -> GcKind {
        GcKind::ALL.get(bits.trailing_zeros() as usize).map_or(GcKind::MarkSweepCompact, |(kind, ..)| *kind)
    }
}

/// Pauses that can be open within each other: V8 makes a scavenge inside of another collection.
const NESTED: usize = 8;

/// The collections of one isolate.
#[derive(Debug)]
pub struct Collections {
    kinds: [(SiteId, Option<GaugeHistogramId>); GcKind::ALL.len()],
    open: Vec<(GcKind, Ticks, Option<Entered>)>,
}

impl Collections {
    /// Makes the sites and histograms.
    pub fn new(writer: &mut Writer, gauges: &mut GaugeWriter) -> Collections {
        let kinds = GcKind::ALL.map(|(_, label, name)| {
            let (file, line, column) = (String::new(), 0, 0);
            let site =
                writer.foreign_site(Site { kind: Kind::Span, name: name.to_owned(), file, line, column });
            (site, gauges.add_histogram("gc_pause", label))
        });
        Collections { kinds, open: Vec::with_capacity(NESTED) }
    }

    /// A collection begins.
    pub fn begins(&mut self, kind: GcKind, clock: &Clock) {
        if self.open.len() < NESTED {
            let (site, _) = self.kinds[kind as usize];
            self.open.push((kind, clock.now(), spans::enter(site, "")));
        }
    }

    /// The collection that began last has ended.
    pub fn ends(&mut self, gauges: &mut GaugeWriter) {
        let Some((kind, began, entered)) = self.open.pop() else { return };
        if let Some(entered) = entered {
            spans::leave(entered);
        }
        let (_, histogram) = self.kinds[kind as usize];
        let ns = gauges.clock().ns_between(began, gauges.clock().now());
        // The time of one inside of another is a part of that.
        if let Some(histogram) = histogram {
            gauges.record(histogram, ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{TaskTimes, VirtualClock};

    #[test]
    fn pauses_are_told_by_kind_and_are_not_the_callbacks_own_time() {
        let time = VirtualClock::starting_at(1_000_000);
        let mut writer = Writer::builder("gc").clock(Clock::simulated(time.clone())).build();
        let mut gauges = writer.take_gauges().unwrap();
        let mut collections = Collections::new(&mut writer, &mut gauges);
        let _installed = writer.install_spans();
        writer.resume();
        writer.begin(Kind::IoRead, SiteId::NONE, TaskTimes::UNKNOWN);
        time.advance_ns(1_000_000);
        collections.begins(GcKind::of_bits(4), writer.clock());
        time.advance_ns(2_000_000);
        collections.begins(GcKind::of_bits(1), writer.clock());
        time.advance_ns(500_000);
        collections.ends(&mut gauges);
        collections.ends(&mut gauges);
        collections.ends(&mut gauges);
        writer.end();
        writer.suspend();
        let snapshot = writer.page().snapshot(writer.clock());
        let told: Vec<_> = snapshot
            .gauge_histograms
            .iter()
            .filter(|pauses| pauses.values.count() > 0)
            .map(|pauses| (&*pauses.name, &*pauses.kind, pauses.values.sum_ns))
            .collect();
        assert_eq!(told, [("gc_pause", "scavenge", 500_000), ("gc_pause", "mark_sweep_compact", 2_500_000)]);
    }

    #[test]
    fn the_bits_of_v8_are_kinds() {
        for (bits, kind) in [
            (1, GcKind::Scavenge),
            (2, GcKind::MinorMarkSweep),
            (4, GcKind::MarkSweepCompact),
            (8, GcKind::IncrementalMarking),
            (16, GcKind::WeakCallbacks),
            (1 << 20, GcKind::MarkSweepCompact),
            (0, GcKind::MarkSweepCompact),
        ] {
            assert_eq!(GcKind::of_bits(bits), kind, "{bits}");
        }
    }
}
