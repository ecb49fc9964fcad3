//! The encoder against the rules of both texts.

use super::*;
use crate::metrics::buckets::Classic;
use crate::metrics::catalog;
use crate::metrics::format::MetricsFormat;
use crate::metrics::metrics_page::MetricsPage;
use crate::model::exemplar::Exemplars;
use loopscope_probe::raw::histogram::{HistogramValues, slot, slot_of};

fn page(format: MetricsFormat, write: impl FnOnce(&mut MetricsPage)) -> String {
    let mut sheet = MetricsPage::new(format, 1_000);
    write(&mut sheet);
    String::from_utf8(sheet.finish()).unwrap()
}

fn observed(all_ns: &[u64]) -> HistogramValues {
    let mut values = HistogramValues::default();
    for ns in all_ns {
        values.buckets[slot(*ns)] += 1;
        values.sum_ns += ns;
    }
    values
}

#[test]
fn label_values_are_escaped() {
    let mut out = String::new();
    push_labels(&mut out, &[("path", "C:\\x\"y\\\"z\nä")]);
    assert_eq!(out, "path=\"C:\\\\x\\\"y\\\\\\\"z\\nä\"");
}

#[test]
fn a_histogram_s_bounds_are_exact_sums() {
    let values = observed(&[10, 1_000_000_000, 1_000_000_001, 999_000_000_000]);
    let page = page(MetricsFormat::Text, |sheet| {
        sheet.family(&catalog::CALLBACK_DURATION);
        sheet.durations(&["main", "timer"], &values);
    });
    let sample = |line: &str| page.lines().any(|other| other == line);
    let name = "loopscope_callback_duration_seconds";
    assert!(sample(&format!("# TYPE {name} histogram")));
    for (le, count) in [("9.5367431640625e-07", 1), ("0.5", 1), ("1", 2), ("2", 3), ("8", 3), ("+Inf", 4)] {
        assert!(
            sample(&format!("{name}_bucket{{loop=\"main\",kind=\"timer\",le=\"{le}\"}} {count}")),
            "{page}"
        );
    }
    assert!(sample(&format!("{name}_sum{{loop=\"main\",kind=\"timer\"}} 1001.000000011")), "{page}");
    assert!(sample(&format!("{name}_count{{loop=\"main\",kind=\"timer\"}} 4")));
    for eighths in catalog::FAST {
        let le = bound(Bound::Slot(slot_of(*eighths)));
        let line = format!("le=\"{le}\"}} {}", values.count_within(*eighths));
        assert!(page.contains(&line), "{line}");
    }
}

#[test]
fn a_histogram_without_labels_has_only_the_bound() {
    let page = page(MetricsFormat::Text, |sheet| {
        sheet.family(&catalog::AGENT_TICK_LATENESS);
        sheet.durations(&[], &HistogramValues::default());
    });
    assert!(page.contains("loopscope_agent_tick_lateness_seconds_bucket{le=\"+Inf\"} 0\n"), "{page}");
}

#[test]
fn openmetrics_names_types_and_units_are_those_of_the_families() {
    let page = page(MetricsFormat::OpenMetrics, |sheet| {
        sheet.family(&catalog::LOOP_INFO);
        sheet.whole(&["main", "hand", "epoll", "main"], 1);
        sheet.family(&catalog::ITERATIONS);
        sheet.whole(&["main"], 7);
        sheet.family(&catalog::LOOP_TIME);
        sheet.seconds(&["main", "active"], 1_500_000_000);
        sheet.family(&catalog::UTILIZATION);
        sheet.fraction(&["main"], 0.25);
    });
    let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with("# HELP")).collect();
    let expected = [
        "# TYPE loopscope_loop info",
        "loopscope_loop_info{loop=\"main\",runtime=\"hand\",backend=\"epoll\",thread=\"main\"} 1",
        "# TYPE loopscope_loop_iterations counter",
        "loopscope_loop_iterations_total{loop=\"main\"} 7",
        "# TYPE loopscope_loop_time_seconds counter",
        "# UNIT loopscope_loop_time_seconds seconds",
        "loopscope_loop_time_seconds_total{loop=\"main\",state=\"active\"} 1.5",
        "# TYPE loopscope_loop_utilization_ratio gauge",
        "# UNIT loopscope_loop_utilization_ratio ratio",
        "loopscope_loop_utilization_ratio{loop=\"main\"} 0.25",
        "# EOF",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn exemplars_are_in_openmetrics_only_and_keep_their_time() {
    let values = observed(&[203_000_400, 1_000_000_000]);
    let mut exemplars = Exemplars::default();
    for (number, value_ns) in [(1, 203_000_400), (2, 1_000_000_000)] {
        exemplars.note(Exemplar {
            incident_id: format!("4711-{number}"),
            value_ns,
            unix_ns: 1_700_000_000_250_000_000 + number,
        });
    }
    let write = |sheet: &mut MetricsPage| {
        sheet.family(&catalog::BLOCKED_DURATION);
        sheet.exemplified(&["main"], &values, &exemplars);
    };
    let open = page(MetricsFormat::OpenMetrics, write);
    let name = "loopscope_blocked_duration_seconds_bucket";
    for line in [
        "{loop=\"main\",le=\"0.25\"} 1",
        "{loop=\"main\",le=\"0.210224103\"} 1 # {incident_id=\"4711-1\"} 0.2030004 1700000000.250000001",
        "{loop=\"main\",le=\"0.5\"} 1",
        "{loop=\"main\",le=\"1.0\"} 2 # {incident_id=\"4711-2\"} 1 1700000000.250000002",
        "{loop=\"main\",le=\"2.0\"} 2",
        "{loop=\"main\",le=\"+Inf\"} 2",
    ] {
        assert!(open.contains(&format!("\n{name}{line}\n")), "{line}\n{open}");
    }
    assert!(!page(MetricsFormat::Text, write).contains("incident_id"));
}

#[test]
fn a_counter_that_openmetrics_would_not_take_keeps_its_name() {
    let header = |name, kind| Header { name, help: "A \"b\"\\\n.", kind, unit: None };
    let write = |dialect| {
        let mut text = Box::new(Text::new(dialect));
        for (name, kind) in [("jobs", Kind::Gauge), ("jobs_total", Kind::Counter), ("orders", Kind::Counter)]
        {
            text.family(&header(name, kind));
            text.number(&[], Number::Whole(1));
        }
        String::from_utf8(text.finish()).unwrap()
    };
    let expected = "# HELP jobs A \\\"b\\\"\\\\\\n.\n# TYPE jobs gauge\njobs 1\n\
                    # HELP jobs_total A \\\"b\\\"\\\\\\n.\n# TYPE jobs_total unknown\njobs_total 1\n\
                    # HELP orders A \\\"b\\\"\\\\\\n.\n# TYPE orders unknown\norders 1\n# EOF\n";
    assert_eq!(write(Dialect::OpenMetrics), expected);
    assert!(
        write(Dialect::Prometheus)
            .contains("# HELP orders A \"b\"\\\\\\n.\n# TYPE orders counter\norders 1\n")
    );
}

#[test]
fn bounds_of_others_are_written_in_both_texts() {
    let values = Classic { bounds: vec![(0.5, 1), (2.0, 3)], sum: 4.5, count: 4 };
    let write = |dialect| {
        let mut text = Box::new(Text::new(dialect));
        text.family(&Header { name: "h", help: "H.", kind: Kind::Histogram, unit: None });
        text.histogram(&[("a", "b")], &Buckets::Classic(&values), &[]);
        String::from_utf8(text.finish()).unwrap()
    };
    let rest = "h_bucket{a=\"b\",le=\"+Inf\"} 4\nh_sum{a=\"b\"} 4.5\nh_count{a=\"b\"} 4\n";
    let bounds =
        |two: &str| format!("h_bucket{{a=\"b\",le=\"0.5\"}} 1\nh_bucket{{a=\"b\",le=\"{two}\"}} 3\n{rest}");
    assert!(write(Dialect::Prometheus).ends_with(&bounds("2")));
    assert!(write(Dialect::OpenMetrics).ends_with(&format!("{}# EOF\n", bounds("2.0"))));
}
