//! Timers and ticks, which V8 enters as one: told apart, and counted.

use crate::guilty;
use crate::nodes::{run, versions};
use serde_json::Value;

#[test]
fn one_timer_that_blocks_is_one_callback_alone_and_among_others() {
    for (version, node) in versions() {
        for (fault, function) in [("timer", "lone"), ("behind", "last")] {
            let ended = run(&node, &[], "faults.cjs", &[fault]);
            assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
            let is_timers = |incident: &&Value| incident["culprit"]["label"] == "timers";
            let [incident] = &ended.incidents.iter().filter(is_timers).collect::<Vec<_>>()[..] else {
                panic!("Node {version}, {fault}: {:?}", ended.complained)
            };
            let summary = incident["summary"].as_str().unwrap();
            assert!(summary.starts_with("1 entry of "), "Node {version}, {fault}: {summary}");
            // On a busy machine more timers may be due by then than the four others of this program.
            let others =
                summary.split_once(" and ").and_then(|(_, others)| others.split(' ').next()?.parse().ok());
            assert!(
                (&incident["kind"], &incident["cause"]) == (&"stall".into(), &"callback".into())
                    || others > Some(4),
                "{summary}"
            );
            assert!(
                guilty(incident).iter().any(|name| name == function),
                "Node {version}: {:?}",
                guilty(incident)
            );
            // One that is alone is told so from its first line on.
            let is_unknown = ended.complained.contains("unknown number");
            assert!(fault != "timer" || !is_unknown, "Node {version}: {}", ended.complained);
        }
    }
}

#[test]
fn rounds_of_ticks_are_counted_one_for_one() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "rounds.cjs", &[]);
        let all: Value =
            serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
        assert_eq!(all["told"], all["rounds"], "Node {version}");
        assert!(all["rounds"].as_u64() > Some(300), "Node {version}");
    }
}
