//! What the exporter of the `metrics` facade makes of a program's metrics, its faults included, in every format.

use crate::metrics::encoder::Kind;
use crate::metrics::format::MetricsFormat;
use crate::metrics::metrics_page::MetricsPage;
use crate::metrics::program_families::{ProgramFamilies, ProgramFamily};
use crate::metrics::render::OWN_PREFIX;

/// What the exporter writes of everything that it gets wrong or could; a test beside the recorder makes it.
pub(crate) const RENDERED: &str = include_str!("recorder_sample.prom");

fn families() -> ProgramFamilies {
    ProgramFamilies::read(RENDERED, |name| name.starts_with(OWN_PREFIX) || name == "process_open_fds")
}

fn find<'a>(families: &'a [ProgramFamily], name: &str) -> &'a ProgramFamily {
    families
        .iter()
        .find(|family| family.name == name)
        .unwrap_or_else(|| panic!("{name} is missing: {families:?}"))
}

#[test]
fn names_are_what_the_program_wrote_without_units_and_never_ours() {
    let read = families();
    let names: Vec<&str> = read.families.iter().map(|family| family.name.as_str()).collect();
    let expected = [
        "drain_count",
        "files_total",
        "limit",
        "orders",
        "payload_bytes",
        "same_name",
        "temperature",
        "wait_seconds",
    ];
    assert_eq!(names, expected);
    // One that became ours when its points were replaced, one that the page has, one of two types.
    assert_eq!(read.left_out.len(), 3);
    assert_eq!(find(&read.families, "same_name").kind, Kind::Counter);
    assert_eq!(find(&read.families, "files_total").help, "Files of C:\\new\n\"all\".");
    assert_eq!(find(&read.families, "wait_seconds").help, "Waiting.");
}

fn page(format: MetricsFormat) -> Vec<u8> {
    let mut sheet = MetricsPage::new(format, 0);
    families().families.iter().for_each(|family| sheet.host(family));
    sheet.finish()
}

#[test]
fn text_and_openmetrics_say_it_in_their_own_way() {
    let text = String::from_utf8(page(MetricsFormat::Text)).unwrap();
    for line in [
        "# HELP files_total Files of C:\\\\new\\n\"all\".",
        "files_total{path=\"C:\\\\x\\\"y\\\\\\\"z\\nw\"} 3",
        "files_total{path=\"\"} 18446744073709551615",
        "# TYPE orders counter",
        "wait_seconds_bucket{exported_le=\"mine\",le=\"0.5\"} 1",
        "drain_count_bucket{le=\"2\"} 1",
        "drain_count_sum 1.5",
        "drain_count_count 1",
        "payload_bytes_bucket{le=\"16384\"} 1",
        "limit +Inf",
        "temperature{a_b=\"1\"} -1e-12",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    assert!(!text.contains("\n\n") && !text.contains("quantile=") && !text.contains("loopscope"), "{text}");
    let open = String::from_utf8(page(MetricsFormat::OpenMetrics)).unwrap();
    for line in [
        "# HELP files Files of C:\\\\new\\n\\\"all\\\".",
        "# TYPE files counter",
        "files_total{path=\"C:\\\\x\\\"y\\\\\\\"z\\nw\"} 3",
        "# TYPE orders unknown",
        "drain_count_bucket{le=\"2.0\"} 1",
        "# EOF",
    ] {
        assert!(open.lines().any(|other| other == line), "{line}\n{open}");
    }
}

#[test]
fn protobuf_has_the_labels_as_the_program_gave_them() {
    let page = page(MetricsFormat::Protobuf);
    let has = |part: &[u8]| page.windows(part.len()).any(|window| window == part);
    assert!(has(b"C:\\x\"y\\\"z\nw") && has(b"drain_count") && !has(b"drain_count_count"));
}
