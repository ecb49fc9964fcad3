//! The encoder against the text format's rules.

use super::*;
use crate::export::catalog;

fn seconds(ns: u64) -> String {
    let mut out = String::new();
    push_seconds(&mut out, ns);
    out
}

#[test]
fn durations_are_written_exactly() {
    for (ns, text) in [
        (0, "0"),
        (1, "0.000000001"),
        (1_500_000_000, "1.5"),
        (60_000_000_000, "60"),
        (203_000_400, "0.2030004"),
        (u64::MAX, "18446744073.709551615"),
    ] {
        assert_eq!(seconds(ns), text);
    }
}

#[test]
fn bounds_are_written_as_go_writes_them() {
    for (exponent, text) in [
        (-20, "9.5367431640625e-07"),
        (-14, "6.103515625e-05"),
        (-13, "0.0001220703125"),
        (-4, "0.0625"),
        (0, "1"),
        (5, "32"),
        (16, "65536"),
    ] {
        assert_eq!(bound(exponent), text);
    }
}

#[test]
fn label_values_are_escaped() {
    let mut out = String::new();
    push_escaped(&mut out, "C:\\x\"y\\\"z\nä");
    assert_eq!(out, "C:\\\\x\\\"y\\\\\\\"z\\nä");
}

#[test]
fn a_histogram_s_bounds_are_exact_sums() {
    let mut values = HistogramValues::default();
    for ns in [10, 1_000_000_000, 1_000_000_001, 999_000_000_000] {
        values.buckets[loopscope_probe::histogram::slot(ns)] += 1;
        values.sum_ns += ns;
    }
    let mut text = Text::new(10);
    text.family(&catalog::CALLBACK_DURATION);
    text.durations(&["main", "timer"], &values);
    let page = text.into_string();
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
    for exponent in catalog::FAST {
        let line = format!("le=\"{}\"}} {}", bound(*exponent), values.count_within_power(*exponent));
        assert!(page.contains(&line), "{line}");
    }
}

#[test]
fn a_histogram_without_labels_has_only_the_bound() {
    let mut text = Text::new(10);
    text.family(&catalog::AGENT_TICK_LATENESS);
    text.durations(&[], &HistogramValues::default());
    assert!(text.into_string().contains("loopscope_agent_tick_lateness_seconds_bucket{le=\"+Inf\"} 0\n"));
}

#[test]
fn past_the_ceiling_series_are_counted_and_left_out() {
    let mut text = Text::new(2);
    text.family(&catalog::ITERATIONS);
    for name in ["a", "b", "c", "d"] {
        text.whole(&[name], 1);
    }
    assert_eq!((text.series(), text.left_out()), (2, 2));
    assert_eq!(text.into_string().matches("\nloopscope_").count(), 2);
}
