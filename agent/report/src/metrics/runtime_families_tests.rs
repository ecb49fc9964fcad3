//! Numbers of runtimes on the page: their names, what is refused, and what all formats say alike.

use super::*;
use crate::metrics::catalog::ALL;
use crate::metrics::format::MetricsFormat;
use crate::metrics::render::render;
use crate::metrics::render::tests::{full_agent, full_view};
use loopscope_probe::raw::histogram::{HistogramValues, slot};

const MS: u64 = 1_000_000;

fn gauge(name: &str, kind: &str, is_counter: bool, unit: GaugeUnit, value: u64) -> GaugeValue {
    GaugeValue { name: name.to_owned(), kind: kind.to_owned(), is_counter, unit, value }
}

fn pause(kind: &str) -> NamedHistogram {
    let mut values = HistogramValues::default();
    values.buckets[slot(2 * MS)] = 3;
    values.sum_ns = 6 * MS;
    NamedHistogram { name: "gc_pause".to_owned(), kind: kind.to_owned(), values }
}

fn with(label: &str, gauges: Vec<GaugeValue>, histograms: Vec<NamedHistogram>) -> LoopMetrics {
    let mut view = full_view(label);
    (view.snapshot.gauges, view.snapshot.gauge_histograms) = (gauges, histograms);
    view
}

/// The lines of the page about runtimes, and how many series were left out.
fn lines(loops: &[LoopMetrics]) -> (Vec<String>, u64) {
    let page = render(MetricsFormat::Text, loops, &full_agent(), "");
    let text = String::from_utf8(page.body).unwrap();
    let own = text.lines().filter(|line| line.contains(PREFIX)).map(str::to_owned).collect();
    (own, page.left_out)
}

#[test]
fn numbers_of_a_runtime_are_families_of_their_own() {
    let heap = |value| gauge("heap_used", "", false, GaugeUnit::Bytes, value);
    let runs = gauge("gc_runs", "minor", true, GaugeUnit::Count, 3);
    let spent = gauge("gc_time", "major", true, GaugeUnit::Nanoseconds, 2_500 * MS);
    let loops =
        [with("a", vec![heap(4_096), runs, spent], vec![pause("minor")]), with("b", vec![heap(7)], vec![])];
    let (lines, left_out) = lines(&loops);
    for line in [
        "# TYPE loopscope_runtime_heap_used_bytes gauge",
        "loopscope_runtime_heap_used_bytes{loop=\"a\"} 4096",
        "loopscope_runtime_heap_used_bytes{loop=\"b\"} 7",
        "# TYPE loopscope_runtime_gc_runs_total counter",
        "loopscope_runtime_gc_runs_total{loop=\"a\",kind=\"minor\"} 3",
        "loopscope_runtime_gc_time_seconds_total{loop=\"a\",kind=\"major\"} 2.5",
        "# TYPE loopscope_runtime_gc_pause_seconds histogram",
        "loopscope_runtime_gc_pause_seconds_count{loop=\"a\",kind=\"minor\"} 3",
    ] {
        assert!(lines.iter().any(|known| known == line), "`{line}` is not in\n{}", lines.join("\n"));
    }
    let types = lines.iter().filter(|line| line.starts_with("# TYPE loopscope_runtime_heap_used_bytes"));
    assert_eq!((types.count(), left_out), (1, 0), "one family of both loops");
}

#[test]
fn numbers_of_a_runtime_are_samples_as_all_others() {
    let heap = gauge("heap_used", "", false, GaugeUnit::Bytes, 4_096);
    let page = render(MetricsFormat::Text, &[with("a", vec![heap], vec![pause("minor")])], &full_agent(), "");
    let text = String::from_utf8(page.body).unwrap();
    let told = text.lines().find_map(|line| line.strip_prefix("loopscope_agent_series ")).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(told.parse(), Ok(samples));
}

#[test]
fn names_that_would_break_the_page_are_left_out_and_counted() {
    let count = |name: &str, is_counter| gauge(name, "", is_counter, GaugeUnit::Count, 1);
    let hostile = vec![
        count("heap", false),
        // The same series again, and the same family with another type.
        count("heap", false),
        count("heap", true),
        // Samples of a histogram, and of a counter.
        count("gc_pause_seconds_count", false),
        count("heap_total", false),
        // The histogram's name with a unit of its own.
        count("gc_pause_seconds", false),
    ];
    let (lines, left_out) = lines(&[with("a", hostile, vec![pause("")]), full_view("b")]);
    let names: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    // Those of another type than the one that keeps a name are told beside the runtime's.
    let expected = [
        "loopscope_runtime_gc_pause_seconds histogram",
        "loopscope_runtime_heap_total counter",
        "loopscope_runtime_mio_gc_pause_seconds gauge",
        "loopscope_runtime_mio_heap gauge",
    ];
    assert_eq!(names, expected);
    assert_eq!(lines.iter().filter(|line| line.starts_with("loopscope_runtime_mio_heap{")).count(), 1);
    assert_eq!(left_out, 3);
    assert!(ALL.iter().all(|family| !family.name.starts_with(PREFIX)), "the prefix is theirs alone");
}

#[test]
fn two_runtimes_that_disagree_about_a_type_are_both_told_whichever_comes_first() {
    let loops = |first: bool| {
        let mut one = with("a", vec![gauge("work", "", false, GaugeUnit::Count, 7)], vec![]);
        let other = with("b", vec![gauge("work", "", true, GaugeUnit::Count, 9)], vec![]);
        let third = with("c", vec![gauge("gc_pause", "", false, GaugeUnit::Nanoseconds, 1)], vec![pause("")]);
        one.snapshot.facts.runtime = "My-JS 2".to_owned();
        if first { [one, other, third] } else { [third, other, one] }
    };
    let mut told = [true, false].map(|first| {
        let (mut lines, left_out) = lines(&loops(first));
        lines.retain(|line| line.starts_with("# TYPE") || line.contains("work"));
        lines.sort();
        (lines, left_out)
    });
    assert_eq!(told[0], told[1]);
    let (lines, _) = &mut told[0];
    for line in [
        "# TYPE loopscope_runtime_work_total counter",
        "loopscope_runtime_work_total{loop=\"b\"} 9",
        "# TYPE loopscope_runtime_my_js_2_work gauge",
        "loopscope_runtime_my_js_2_work{loop=\"a\"} 7",
        "# TYPE loopscope_runtime_gc_pause_seconds histogram",
    ] {
        assert!(lines.iter().any(|known| known == line), "`{line}` is not in\n{}", lines.join("\n"));
    }
    let names: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "{names:?}");
}

#[test]
fn loops_without_a_label_of_their_own_have_none() {
    let heap = gauge("heap", "", false, GaugeUnit::Count, 1);
    assert!(lines(&[with(OTHER, vec![heap], vec![pause("")])]).0.is_empty());
}

#[test]
fn a_unit_that_is_in_the_name_is_not_said_twice() {
    let (lines, _) = lines(&[with("a", vec![gauge("heap_bytes", "", false, GaugeUnit::Bytes, 1)], vec![])]);
    assert!(lines.iter().any(|line| line == "loopscope_runtime_heap_bytes{loop=\"a\"} 1"), "{lines:?}");
}

#[test]
fn openmetrics_and_protobuf_have_them_too() {
    let loops = [with(
        "a",
        vec![
            gauge("heap_used", "", false, GaugeUnit::Bytes, 1),
            gauge("gc_runs", "x\"y", true, GaugeUnit::Count, 1),
        ],
        vec![pause("minor")],
    )];
    let open = String::from_utf8(render(MetricsFormat::OpenMetrics, &loops, &full_agent(), "").body).unwrap();
    for line in [
        "# TYPE loopscope_runtime_heap_used_bytes gauge",
        "# UNIT loopscope_runtime_heap_used_bytes bytes",
        "# TYPE loopscope_runtime_gc_runs counter",
        "loopscope_runtime_gc_runs_total{loop=\"a\",kind=\"x\\\"y\"} 1",
    ] {
        assert!(open.contains(line), "{line}");
    }
    let protobuf = render(MetricsFormat::Protobuf, &loops, &full_agent(), "").body;
    let has = |name: &str| protobuf.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("loopscope_runtime_heap_used_bytes") && has("loopscope_runtime_gc_pause_seconds"));
}
