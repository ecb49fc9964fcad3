//! The exporter's text as it is, and the families that come of it.

use super::*;

fn number(labels: &[(&str, &str)], value: Number) -> ProgramSeries {
    ProgramSeries { labels: owned(labels), value: ProgramValue::Number(value) }
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn families_are_sorted_described_and_never_taken() {
    let text = "# TYPE b_total counter\nb_total 3\n\n# HELP a Th\\\\ings.\n# TYPE a gauge\na{x=\"1\",y=\"\\\\\\\"\\n,}\"} 2.5\n\n\
                # TYPE process_open_fds gauge\nprocess_open_fds 9\n\n# TYPE loopscope_x gauge\nloopscope_x 1\n\n";
    let read =
        ProgramFamilies::read(text, |name| name.starts_with("loopscope_") || name == "process_open_fds");
    assert_eq!(read.left_out, ["process_open_fds", "loopscope_x"]);
    let [a, b] = &read.families[..] else { panic!("{read:?}") };
    assert_eq!((a.name.as_str(), a.help.as_str(), a.kind), ("a", "Th\\ings.", Kind::Gauge));
    assert_eq!(a.series, [number(&[("x", "1"), ("y", "\\\"\n,}")], Number::Real(2.5))]);
    assert_eq!((b.name.as_str(), b.help.as_str(), b.kind), ("b_total", HELP, Kind::Counter));
    assert_eq!(b.series, [number(&[], Number::Whole(3))]);
}

#[test]
fn a_histogram_called_like_one_of_its_parts_keeps_all_parts() {
    for (name, lines) in [
        ("wait", ["wait_bucket", "wait_bucket", "wait_sum", "wait_count"]),
        ("drain_count", ["drain_count_bucket", "drain_count_bucket", "drain_count_sum", "drain_count"]),
        ("account", ["account_bucket", "account_bucket", "account_sum", "account"]),
        ("checksum", ["checksum_bucket", "checksum_bucket", "checksum", "checksum_count"]),
        ("a_bucket", ["a_bucket", "a_bucket", "a_bucket_sum", "a_bucket_count"]),
    ] {
        let [bound, infinite, sum, count] = lines;
        let text = format!(
            "# TYPE {name} histogram\n{bound}{{k=\"v\",le=\"0.5\"}} 1\n{infinite}{{k=\"v\",le=\"+Inf\"}} 2\n\
             {sum}{{k=\"v\"}} 1.75\n{count}{{k=\"v\"}} 2\n{bound}{{k=\"w\",le=\"0.5\"}} 0\n{infinite}{{k=\"w\",le=\"+Inf\"}} 0\n\
             {sum}{{k=\"w\"}} 0\n{count}{{k=\"w\"}} 0\n"
        );
        let read = ProgramFamilies::read(&text, |_| false);
        let histogram = |value: &str, below, count, sum| ProgramSeries {
            labels: owned(&[("k", value)]),
            value: ProgramValue::Histogram(Classic { bounds: vec![(0.5, below)], sum, count }),
        };
        assert_eq!(
            read.families[0].series,
            [histogram("v", 1, 2, 1.75), histogram("w", 0, 0, 0.0)],
            "{name}"
        );
    }
}

#[test]
fn names_that_would_be_there_twice_are_left_out_and_counted() {
    let text = "# TYPE x counter\nx 1\n\n# TYPE x gauge\nx 2\n\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n\n\
                # TYPE h_count gauge\nh_count 7\n\n# TYPE s summary\ns{quantile=\"0.5\"} 1\n\n# TYPE  gauge\n 1\n";
    let read = ProgramFamilies::read(text, |_| false);
    let names: Vec<_> = read.families.iter().map(|family| (family.name.as_str(), family.kind)).collect();
    assert_eq!(names, [("h", Kind::Histogram), ("x", Kind::Counter)]);
    assert_eq!(read.left_out, ["x", "h_count"]);
}

#[test]
fn labels_that_no_format_could_bear_are_put_right() {
    let text = "# TYPE h histogram\nh_bucket{le=\"mine\",a=\"1\",a=\"2\",__name__=\"x\",le=\"+Inf\"} 3\n\
                h_sum{le=\"mine\",a=\"1\",a=\"2\",__name__=\"x\"} 6\nh_count{le=\"mine\",a=\"1\",a=\"2\",__name__=\"x\"} 3\n";
    let read = ProgramFamilies::read(text, |_| false);
    let [series] = &read.families[0].series[..] else { panic!("{read:?}") };
    assert_eq!(series.labels, owned(&[("exported_le", "mine"), ("a", "1")]));
    assert_eq!(series.value, ProgramValue::Histogram(Classic { bounds: Vec::new(), sum: 6.0, count: 3 }));
}

#[test]
fn broken_lines_are_passed_over() {
    let text = "# TYPE g gauge\ng{a=\"open\ng{a=\"b\" 1\ng{a=\"b\"}\ng nothing\nother 5\ng inf\n";
    let read = ProgramFamilies::read(text, |_| false);
    assert_eq!(read.families[0].series, [number(&[], Number::Real(f64::INFINITY))]);
}
