//! What is counted is what Node counts itself: its trace spans, libuv's metrics, its utilization, its samples of each iteration.

use crate::nodes::{run, versions};
use serde_json::Value;

/// Spans and sums of times may differ by so much, or by [`APART_NS`] for each. A thread that has no processor between the stamp of
/// one and that of the other is no matter of either.
const APART_RATIO: f64 = 0.03;
const APART_NS: f64 = 2_000.0;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn assert_near(told: &Value, expected_ns: f64, spans: f64, all: &Value, what: &str) {
    let told_ns = number(told);
    let apart = (told_ns - expected_ns).abs() - number(&all["waited_for_cpu_ns"]);
    assert!(
        apart <= (expected_ns * APART_RATIO).max(spans * APART_NS),
        "{what}: told {told_ns} ns where Node has {expected_ns} ns of {spans} spans"
    );
}

#[test]
fn counts_are_those_of_libuv_and_of_nodes_own_api() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "parity.cjs", &[]);
        let what = format!("Node {version}: {}{}", ended.said, ended.complained);
        let all: Value = serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{what}"));
        let told = &all["told"];
        if all["uv"].is_object() {
            assert_eq!(told["iterations"], all["uv"]["iterations"], "{what}");
            assert_eq!(told["poll_events"], all["uv"]["events"], "{what}");
        } else {
            assert_eq!(version, "18", "{what}");
        }
        // Node 24.19 and 26.5 and later sample each iteration.
        if !all["samples"].is_null() {
            assert_eq!(told["iterations"], all["samples"], "{what}");
        }
        // Each was asked a moment after the other.
        let iterations = number(&told["iterations"]);
        assert_near(&told["idle_ns"], number(&all["elu"]["idle_ns"]), iterations, &all, &what);
        assert_near(&told["active_ns"], number(&all["elu"]["active_ns"]), iterations, &all, &what);
        assert_eq!(told["microtask"]["jobs"], all["microtasks"], "{what}");
        for (counted, kind) in [("fs", "work_done"), ("immediate", "immediate")] {
            assert_eq!(told[kind]["count"], all["counted"][counted], "{what}");
        }
        // The sums of callbacks leave out what Node does around each.
        for (counted, kind) in [("timer", "timer"), ("fs", "work_done"), ("immediate", "immediate")] {
            assert!(number(&told[kind]["ns"]) >= number(&all["sums"][counted]), "{kind} of {what}");
        }
    }
}

#[test]
fn times_and_drains_are_those_of_nodes_own_trace() {
    for (version, node) in versions() {
        let categories = "--trace-event-categories=node.environment,v8.execute";
        let ended = run(&node, &[categories], "parity.cjs", &[]);
        let what = format!("Node {version}: {}{}", ended.said, ended.complained);
        let all: Value = serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{what}"));
        let until = number(&all["ended_us"]);
        let of_name = |name: &'static str, phase: &'static str| {
            let is_it = move |event: &&Value| {
                let end = event["ts"].as_f64().unwrap_or(0.0) + event["dur"].as_f64().unwrap_or(0.0);
                event["name"] == name && event["ph"] == phase && end <= until
            };
            ended.trace.iter().filter(is_it)
        };
        for (span, phase) in [("RunTimers", "timers"), ("CheckImmediate", "check")] {
            let spans: Vec<f64> = of_name(span, "X").map(|event| number(&event["dur"]) * 1000.0).collect();
            assert!(!spans.is_empty(), "no {span}: {what}");
            let told = &all["all"]["phases"][phase]["ns"];
            assert_near(told, spans.iter().sum(), spans.len() as f64, &all, &format!("{span} of {what}"));
        }
        let counts = of_name("RunMicrotasks", "E").map(|event| number(&event["args"]["microtask_count"]));
        let counts: Vec<f64> = counts.collect();
        let drains = &all["all"]["drains"]["microtask"];
        assert_eq!(number(&drains["count"]), counts.len() as f64, "{what}");
        assert_eq!(number(&drains["jobs"]), counts.iter().sum::<f64>(), "{what}");
    }
}

#[test]
fn what_is_asked_again_and_again_is_read_in_memory() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "places.cjs", &[]);
        // Node 18 does not count the events of polls.
        let expected = if version == "18" { "2" } else { "3" };
        assert_eq!(ended.said.trim(), expected, "Node {version}: {}", ended.complained);
    }
}
