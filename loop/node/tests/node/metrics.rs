//! What only Node has, as its metrics: collections, the heap, errors, versions, the pool.

use crate::nodes::{run, run_with, versions};
use serde_json::Value;

/// Returns the value of a series; `None` where there is none.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

#[test]
fn exceptions_are_counted_by_the_kind_of_entry_that_they_come_after() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "errors.cjs", &[]);
        let all: Value =
            serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
        for (source, told) in all.as_object().unwrap() {
            let kind = source.split([',', ':']).next().unwrap();
            assert_eq!(*told, serde_json::json!({ kind: 1 }), "Node {version}, {source}: {all}");
        }
    }
}

#[test]
fn collections_the_heap_errors_and_versions_are_metrics() {
    for (version, node) in versions() {
        let ended = run_with(&node, &[], "metrics.cjs", &[], &[("LOOPSCOPE_LISTEN", "127.0.0.1:0")]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!(ended.code, Some(0), "{what}");
        let all: Value = serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{what}"));
        let metrics = all["metrics"].as_str().unwrap();
        let of = |series: &str, labels: &str| {
            value(metrics, &format!("loopscope_{series}{{loop=\"metrics.cjs\"{labels}}}"))
        };
        let collections = of("runtime_gc_pause_seconds_count", ",kind=\"mark_sweep_compact\"");
        assert!(collections >= all["collected"].as_f64(), "{collections:?}: {what}");
        assert!(of("runtime_gc_pause_seconds_sum", ",kind=\"mark_sweep_compact\"") > Some(0.0), "{what}");
        assert_eq!(of("runtime_heap_limit_bytes", ""), all["limit"].as_f64(), "{what}");
        let (used, total) = (of("runtime_heap_used_bytes", ""), of("runtime_heap_total_bytes", ""));
        assert!(used > Some(0.0) && used <= total, "{used:?} of {total:?}: {what}");
        // One was thrown in a timer, and caught by nobody but the program's last listener.
        assert_eq!(of("callback_errors_total", ",kind=\"timer\""), Some(1.0), "{what}");
        for part in ["node", "v8", "uv"] {
            let series = format!("loopscope_runtime_version{{loop=\"metrics.cjs\",kind=\"{part} ");
            assert_eq!(metrics.lines().filter(|line| line.starts_with(&series)).count(), 1, "{part}: {what}");
        }
        assert!(of("handles_referenced", "") > Some(0.0), "{what}");
        assert!(value(metrics, "loopscope_pool_threads{pool=\"metrics.cjs\"}") > Some(0.0), "{what}");
        // Node tells how many hooks are active up to version 22.
        let hooks = of("runtime_operation_hooks", "");
        assert_eq!(hooks.is_some(), ["18", "20", "22"].contains(&version), "{what}");
    }
}

/// They are read before the loop waits, and not when it has waited: what a program opens is seen at once.
#[test]
fn what_keeps_an_idle_loop_alive_and_its_heap_are_told_while_it_waits() {
    for (version, node) in versions() {
        for (how, handles, requests) in [("main", 2, 0), ("timer", 5, 1)] {
            let ended = run(&node, &[], "idle.cjs", &[how]);
            let what = format!("Node {version}, {how}: {}", ended.complained);
            assert_eq!((ended.code, ended.snapshots.len()), (None, 1), "{what}");
            let snapshot = &ended.snapshots[0];
            assert_eq!(
                (snapshot.handles_referenced, snapshot.requests_active),
                (handles, requests),
                "{what}"
            );
            let used = snapshot.gauges.iter().find(|gauge| &*gauge.name == "heap_used");
            assert!(used.is_some_and(|used| used.value > 1 << 20), "{used:?}: {what}");
        }
    }
}
