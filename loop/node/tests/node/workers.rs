//! Many worker threads: the one that blocks is named, and its function.

use crate::guilty;
use crate::nodes::{run_with, versions};
use std::collections::BTreeMap;

#[test]
fn of_two_hundred_workers_the_one_that_blocks_is_named_with_its_function() {
    for (version, node) in versions() {
        let ended = run_with(&node, &[], "many-workers.cjs", &[], &[("LOOPSCOPE_THRESHOLDS", "200ms/60s")]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "ended\n"), "{what}");
        assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        // Of each loop, the functions that were found guilty.
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for incident in &ended.incidents {
            let name = incident["loop"].as_str().unwrap_or_default().to_owned();
            found.entry(name).or_default().extend(guilty(incident));
        }
        let mut missed = Vec::new();
        for round in 0..3 {
            let chosen = [(round * 7, "guiltyOne"), (100 + round, "guiltyTwo"), (199 - round, "guiltyThree")];
            for (worker, function) in chosen {
                // Older versions do not tell a worker its name.
                let called = [format!("w{worker}"), format!("worker-{}", worker + 1)];
                let names: Vec<String> =
                    called.iter().filter_map(|name| found.get(name)).flatten().cloned().collect();
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
