//! Families under the names of others: all there when wanted, none otherwise, and what promtool says of them.

use super::*;
use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::AgentMetrics;
use crate::metrics::render::render;
use crate::metrics::render::tests::{full_agent, full_view};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

fn page(prom_client: bool, otel: bool) -> String {
    let agent = AgentMetrics { compat: CompatSet { prom_client, otel }, ..full_agent() };
    String::from_utf8(render(MetricsFormat::Text, &[full_view("main")], &agent, "").body).unwrap()
}

#[test]
fn they_are_there_when_wanted_and_not_otherwise() {
    assert!(!page(false, false).contains("nodejs_"));
    for (prom_client, otel) in [(true, false), (false, true), (true, true)] {
        let page = page(prom_client, otel);
        let is_on_page = |family: &&&Family| page.contains(&format!("# TYPE {} ", family.name));
        assert_eq!(
            c::PROM_CLIENT.iter().filter(is_on_page).count(),
            if prom_client { c::PROM_CLIENT.len() } else { 0 }
        );
        assert_eq!(c::OTEL.iter().filter(is_on_page).count(), if otel { c::OTEL.len() } else { 0 });
    }
}

#[test]
fn figures_are_those_of_the_lag_histogram() {
    let page = page(true, true);
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name}{{loop=\"main\"}} ")));
        line.unwrap_or_else(|| panic!("{name} is missing")).parse().unwrap()
    };
    // A busy period of 2.3 s and one idle one of 50 ms: nearly all arrivals waited, evenly up to 2.3 s.
    assert!((2.2..2.6).contains(&value("nodejs_eventloop_lag_max_seconds")));
    assert!((1.0..1.25).contains(&value("nodejs_eventloop_lag_p50_seconds")));
    assert_eq!(value("nodejs_eventloop_lag_seconds"), value("nodejs_eventloop_lag_mean_seconds"));
    assert_eq!(value("nodejs_eventloop_delay_p99_seconds"), value("nodejs_eventloop_lag_p99_seconds"));
    assert_eq!(value("nodejs_eventloop_utilization_ratio"), 0.25);
    assert_eq!(value("nodejs_active_handles_total"), 1.0);
    assert!(page.contains("nodejs_active_handles{loop=\"main\",type=\"timeout\"} 1\n"));
}

#[test]
fn promtool_complains_of_exactly_the_three_gauges_called_total() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return println!("skipped: promtool on other exporters' names: install the package prometheus");
        }
        Err(error) => panic!("{error}"),
    };
    promtool.stdin.take().unwrap().write_all(page(true, true).as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let complaints: BTreeSet<&str> = words.lines().collect();
    let exceptions = [&c::PROM_HANDLES_TOTAL, &c::PROM_REQUESTS_TOTAL, &c::PROM_RESOURCES_TOTAL];
    let expected = exceptions
        .map(|family| format!("{} non-counter metrics should not have \"_total\" suffix", family.name));
    assert_eq!(complaints, expected.iter().map(String::as_str).collect::<BTreeSet<_>>());
}
