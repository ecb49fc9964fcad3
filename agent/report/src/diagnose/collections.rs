//! The rule about runtimes that collect garbage: how much of a loop's time that takes, and how long the pauses are.
//!
//! A runtime tells it by numbers of its own, named `gc_pause` (a histogram) or `gc_time` and `gc_runs` (counters): see
//! `docs/page.md`.

use crate::diagnose::evidence::{Collections, LoopEvidence};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::duration::show_ns;
use crate::words::{count, percent, share};
use loopscope_probe::Snapshot;
use loopscope_probe::description::Trouble;
use loopscope_probe::gauges::{GaugeUnit, GaugeValue, NamedHistogram};

/// The names that such numbers have.
const PAUSE: &str = "gc_pause";
const TIME: &str = "gc_time";
const RUNS: &str = "gc_runs";

/// Share of a loop's time from which on collecting is told, and from which on it is most of what is wrong.
const SHARE: f64 = 0.1;
const SHARE_CRITICAL: f64 = 0.3;

/// Fewer collections than these are no pressure: a program that starts has some, and one may fall into any watch.
const COUNT_LEAST: u64 = 3;

/// Kinds that are told.
const KINDS_TOLD: usize = 4;

/// Returns what was collected between two copies, the kind of most time first. Where a runtime tells pauses and sums, the
/// pauses count.
pub(super) fn collections(last: &Snapshot, first: &Snapshot) -> Vec<Collections> {
    let pauses = last.gauge_histograms.iter().filter(|histogram| histogram.name == PAUSE);
    let mut told: Vec<Collections> = pauses.map(|histogram| of_pauses(histogram, first)).collect();
    if told.iter().all(|collections| collections.total_ns == 0) {
        let is_time = |gauge: &&GaugeValue| gauge.name == TIME && gauge.unit == GaugeUnit::Nanoseconds;
        let times = last.gauges.iter().filter(is_time);
        told = times.map(|gauge| of_time(gauge, last, first)).collect();
    }
    told.retain(|collections| collections.total_ns > 0);
    told.sort_by_key(|collections| std::cmp::Reverse(collections.total_ns));
    told
}

fn of_pauses(histogram: &NamedHistogram, first: &Snapshot) -> Collections {
    let is_same = |before: &&NamedHistogram| before.name == histogram.name && before.kind == histogram.kind;
    let before = first.gauge_histograms.iter().find(is_same);
    let values =
        before.map_or_else(|| histogram.values.clone(), |before| histogram.values.since(&before.values));
    Collections {
        kind: histogram.kind.clone(),
        count: values.count(),
        total_ns: values.sum_ns,
        longest_ns: values.quantile_ns(1.0).unwrap_or(0),
    }
}

fn of_time(time: &GaugeValue, last: &Snapshot, first: &Snapshot) -> Collections {
    let value = |of: &Snapshot, name: &str| {
        let found = of.gauges.iter().find(|gauge| gauge.name == name && gauge.kind == time.kind);
        found.map_or(0, |gauge| gauge.value)
    };
    let grown = |name| value(last, name).saturating_sub(value(first, name));
    Collections { kind: time.kind.clone(), count: grown(RUNS), total_ns: grown(TIME), longest_ns: 0 }
}

/// The runtime collects garbage for much of the time.
pub(crate) fn collecting(evidence: &LoopEvidence) -> Vec<Finding> {
    let all = &evidence.collections;
    let total_ns = all.iter().fold(0, |sum: u64, kind| sum.saturating_add(kind.total_ns));
    let counted = all.iter().fold(0, |sum: u64, kind| sum.saturating_add(kind.count));
    let part = share(total_ns, evidence.watched_ns);
    // Who tells no number tells the time of some at least.
    let is_often = counted == 0 || counted >= COUNT_LEAST;
    if part < SHARE || !is_often {
        return Vec::new();
    }
    let urgency = if part >= SHARE_CRITICAL { Urgency::Critical } else { Urgency::Warning };
    let headline = format!("{} spends {} of its time in garbage collection", evidence.named(), percent(part));
    let otherwise = "allocate less (reuse buffers, stream large inputs), or raise the heap limit";
    let finding = Finding::new(&evidence.name, urgency, Certainty::Certain, headline)
        .because_of(all.iter().take(KINDS_TOLD).map(words))
        .because_of(evidence.lag_words())
        .because_of(evidence.heaviest(2))
        .remedy(evidence.runtime.remedy_for(Trouble::Collecting).unwrap_or(otherwise));
    vec![finding]
}

/// `minor: 120 collections, 310 ms together, the longest 4.0 ms`.
fn words(collections: &Collections) -> String {
    let kind = if collections.kind.is_empty() { String::new() } else { format!("{}: ", collections.kind) };
    let number = if collections.count == 0 {
        String::new()
    } else {
        format!("{}, ", count(collections.count, "collection"))
    };
    let longest = match collections.longest_ns {
        0 => String::new(),
        ns => format!(", the longest {}", show_ns(ns)),
    };
    format!("{kind}{number}{} together{longest}", show_ns(collections.total_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{EvidenceCollector, Surroundings, diagnose};
    use loopscope_probe::description::Description;
    use loopscope_probe::gauges::{GaugeType, GaugeUnit};
    use loopscope_probe::{Clock, GaugeWriter, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    /// What is found of a second in which `collect` tells of collections.
    fn found(runtime: &Description, collect: impl FnOnce(&mut GaugeWriter)) -> Vec<Finding> {
        let time = VirtualClock::starting_at(1_000 * MS);
        let builder = Writer::builder("main").clock(Clock::simulated(time.clone()));
        let mut writer = builder.describe(runtime).build();
        let (mut gauges, clock) = (writer.take_gauges().unwrap(), writer.clock().clone());
        // What was before the watch is not told.
        let before = gauges.add_histogram("gc_pause", "old").unwrap();
        gauges.record(before, 900 * MS);
        let collector = EvidenceCollector::begin(writer.page(), &clock, clock.now());
        collect(&mut gauges);
        time.advance_ns(1_000 * MS);
        let last = writer.page().snapshot(&clock);
        diagnose(&[collector.end(&last, &clock, Surroundings::default())])
    }

    fn pauses(name: &str, count: u64, ns: u64) -> impl FnOnce(&mut GaugeWriter) + '_ {
        move |gauges| {
            let pauses = gauges.add_histogram(name, "minor").unwrap();
            (0..count).for_each(|_| gauges.record(pauses, ns));
        }
    }

    #[test]
    fn a_runtime_that_collects_garbage_for_long_is_told_with_its_own_remedy() {
        let runtime = Description::new().remedy(Trouble::Collecting, "give it --heap");
        let [finding] = &found(&runtime, pauses("gc_pause", 20, 20 * MS))[..] else { panic!("one finding") };
        assert_eq!((finding.rule, finding.urgency), ("collecting", Urgency::Critical));
        assert_eq!(finding.headline, "loop main spends 40 % of its time in garbage collection");
        assert!(
            finding.evidence[0].starts_with("minor: 20 collections, 400 ms together, the longest 2"),
            "{finding:?}"
        );
        assert_eq!(finding.remedy, "give it --heap");
        let sums = |gauges: &mut GaugeWriter| {
            let time = gauges.add("gc_time", "", GaugeType::Counter, GaugeUnit::Nanoseconds).unwrap();
            gauges.set(time, 200 * MS);
        };
        // Pauses of before are no pauses of the watch, and sums tell as much.
        let [finding] = &found(&Description::new(), sums)[..] else { panic!("one finding") };
        assert_eq!((finding.urgency, finding.evidence[0].as_str()), (Urgency::Warning, "200 ms together"));
        assert!(finding.remedy.starts_with("allocate less"), "{}", finding.remedy);
    }

    #[test]
    fn little_collecting_and_other_pauses_are_not_told() {
        let plain = Description::new();
        for (name, count, ns) in [
            ("gc_pause", 40, 2 * MS),
            // Two long ones: they are stalls, and no pressure.
            ("gc_pause", 2, 90 * MS),
            ("query_pause", 20, 40 * MS),
        ] {
            let found = found(&plain, pauses(name, count, ns));
            assert!(found.is_empty(), "{name} {count} {ns}: {found:?}");
        }
        let gauge = |gauges: &mut GaugeWriter| {
            let time = gauges.add("gc_time", "", GaugeType::Gauge, GaugeUnit::Count).unwrap();
            gauges.set(time, 900 * MS);
        };
        assert!(found(&plain, gauge).is_empty(), "a number of things is no time");
    }
}
