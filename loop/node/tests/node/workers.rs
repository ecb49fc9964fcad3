//! Many worker threads: those that block are named, each with its function.

use crate::guilty;
use crate::nodes::{run_with, versions};
use serde_json::Value;
use std::collections::BTreeMap;

/// Of each loop, the functions that were found guilty.
fn found(incidents: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for incident in incidents {
        let name = incident["loop"].as_str().unwrap_or_default().to_owned();
        found.entry(name).or_default().extend(guilty(incident));
    }
    found
}

/// Returns those of the worker of this number.
fn of_worker(found: &BTreeMap<String, Vec<String>>, worker: usize) -> Vec<String> {
    // Older versions do not tell a worker its name.
    let called = [format!("w{worker}"), format!("worker-{}", worker + 1)];
    called.iter().filter_map(|name| found.get(name)).flatten().cloned().collect()
}

#[test]
fn nine_workers_that_block_at_the_same_time_are_each_named_with_their_own_function_or_with_none() {
    for (version, node) in versions() {
        // They block until the agent has named them.
        let environment = [("LOOPSCOPE_THRESHOLDS", "500ms/60s"), ("LOOPSCOPE_LISTEN", "127.0.0.1:0")];
        let ended = run_with(&node, &[], "many-workers.cjs", &["together"], &environment);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "ended\n"), "{what}");
        assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        let found = found(&ended.incidents);
        let mut missed = Vec::new();
        for number in 0..9 {
            let (worker, function) = (22 * number + 5, format!("guilty{number}"));
            let names = of_worker(&found, worker);
            // On a busy machine it may not have come further than to who calls it, which V8 compiles it for.
            let is_own = |name: &String| *name == function || name == "onMessage";
            assert!(names.iter().all(is_own), "w{worker}: {names:?}: {what}");
            if !names.contains(&function) {
                missed.push(function);
            }
        }
        println!("Node {version}: missed {missed:?} of 9 at the same time");
        // A machine that others use, too, may be late with a capture.
        assert!(missed.len() <= 4, "{missed:?}: {what}");
    }
}

#[test]
fn of_two_hundred_workers_the_one_that_blocks_is_named_with_its_function() {
    for (version, node) in versions() {
        let ended = run_with(&node, &[], "many-workers.cjs", &[], &[("LOOPSCOPE_THRESHOLDS", "200ms/60s")]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "ended\n"), "{what}");
        assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        let found = found(&ended.incidents);
        let mut missed = Vec::new();
        for round in 0..3 {
            let chosen = [(round * 7, "guiltyOne"), (100 + round, "guiltyTwo"), (199 - round, "guiltyThree")];
            for (worker, function) in chosen {
                let names = of_worker(&found, worker);
                let is_other = |name: &String| name.starts_with("guilty") && name != function;
                assert!(!names.iter().any(is_other), "w{worker}: {names:?}: {what}");
                if !names.iter().any(|name| name == function) {
                    missed.push(format!("w{worker}: {names:?}"));
                }
            }
        }
        println!("Node {version}: missed {missed:?} of 9");
        // A machine that others use, too, may be late with a capture.
        assert!(missed.len() <= 4, "{missed:?}: {what}");
    }
}

#[test]
fn a_worker_that_waits_for_another_thread_is_told_so_once_and_the_main_threads_loop_is_blocked() {
    for (version, node) in versions() {
        let ended = run_with(&node, &[], "waits.cjs", &["worker"], &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "waited\n"), "{what}");
        let of_worker: Vec<&Value> = ended.incidents.iter().filter(|one| one["loop"] == "worker-1").collect();
        assert_eq!(of_worker.len(), 1, "{what}");
        let words = ["kind", "severity", "waiting_in"].map(|word| of_worker[0][word].as_str().unwrap_or(""));
        assert_eq!(words, ["stall", "warning", "Atomics.wait"], "{what}");
        assert!(!ended.complained.contains("ERROR"), "{what}");

        let ended = run_with(&node, &[], "waits.cjs", &["main"], &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "waited\n"), "{what}");
        let is_critical = |one: &Value| one["severity"] == "critical" && one["waiting_in"] != "Atomics.wait";
        assert!(ended.incidents.iter().any(is_critical), "{what}");
    }
}
