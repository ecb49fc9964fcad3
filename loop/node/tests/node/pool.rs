//! The thread pool: its depth where Node has symbols, and how long its jobs wait where it has none.

use crate::nodes::{run, versions};
use serde_json::Value;
use std::process::Command;

#[test]
fn a_full_pool_is_an_incident() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "faults.cjs", &["pool"]);
        assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
        let pools: Vec<&Value> =
            ended.incidents.iter().filter(|incident| incident["kind"] == "pool").collect();
        assert_eq!(pools.len(), 1, "Node {version}: {:?}", ended.incidents);
    }
}

/// All that is known of it comes from jobs of ours.
#[test]
fn a_stripped_node_tells_how_long_the_jobs_of_its_pool_wait_and_nothing_else() {
    let Some((version, node)) = versions().into_iter().find(|(version, _)| *version == "24") else { return };
    let stripped = std::path::PathBuf::from(format!("/dev/shm/loopscope-stripped-{}", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(node).status();
    if !status.is_ok_and(|status| status.success()) {
        return println!("skipped: a stripped Node: strip(1) is not here");
    }
    let ended = run(&stripped, &[], "faults.cjs", &["pool"]);
    std::fs::remove_file(&stripped).unwrap();
    let what = format!("Node {version}: {}", ended.complained);
    assert_eq!(ended.code, Some(0), "{what}");
    assert!(!ended.complained.contains("thread pool: off"), "{what}");
    let pools: Vec<&Value> = ended.incidents.iter().filter(|incident| incident["kind"] == "pool").collect();
    assert_eq!(pools.len(), 1, "{what}: {:?}", ended.incidents);
    let pool = &pools[0]["pool"];
    assert!(pool["threads"].is_null() && pool["running"].is_null() && pool["queued"].is_null(), "{pool}");
}
