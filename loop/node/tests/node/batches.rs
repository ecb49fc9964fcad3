//! Timers and ticks, which V8 enters as one: told apart, and counted; and callbacks, which are not parted.

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

#[test]
fn what_throws_hides_neither_callbacks_nor_ticks_after_it() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "throws.cjs", &[]);
        let all: Value =
            serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
        let number = |value: &Value| value.as_u64().unwrap();
        // Beside them: a timer of the program's own; an immediate of Node's own for each exception; a round of ticks that reports
        // a rejection, which counts as one of the timers, or as a drain.
        for (case, other_callbacks, ticks) in [
            ("timers", 1, 1),
            ("immediates", 2, 1),
            ("timers with a rejection", 2, 1),
            ("immediates with a rejection", 1, 2),
        ] {
            let told = &all[case];
            let what = format!("Node {version}, {case}: {told}");
            let (callbacks, drains) = (&told["callbacks"], &told["ticks"]);
            assert_eq!(number(&callbacks["count"]), number(&told["made"]) + other_callbacks, "{what}");
            assert!(number(&callbacks["ns"]) >= number(&told["worked"]["callbacks"]), "{what}");
            assert_eq!(number(&drains["count"]), ticks, "{what}");
            let is_between = case == "immediates with a rejection";
            assert!(is_between || number(&drains["ns"]) >= number(&told["worked"]["ticks"]), "{what}");
        }
        let rounds = &all["rounds"];
        assert!(number(&rounds["ns"]) >= number(&rounds["worked"]["ticks"]), "Node {version}: {rounds}");
    }
}

#[test]
fn a_queue_of_the_programs_own_parts_nothing() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "own-queues.cjs", &[]);
        let all: Value =
            serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
        // Ten timers, and the one that ends the wait; the drain of microtasks, and that after the wait.
        for (what, count) in [("callback", 1), ("timers", 11), ("ticks", 1), ("microtasks", 2)] {
            let told = &all[what];
            assert_eq!(told["count"].as_u64(), Some(count), "Node {version}, {what}: {all}");
            assert!(told["ns"].as_u64() >= told["worked"].as_u64(), "Node {version}, {what}: {all}");
        }
    }
}

#[test]
fn ticks_after_what_node_calls_outside_of_any_scope_are_ticks_and_its_own_callbacks_are_none() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "outside.cjs", &[]);
        let all: Value =
            serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
        for (source, told) in all.as_object().unwrap() {
            let what = format!("Node {version}, {source}: {told}");
            let number = |value: &Value| value.as_u64().unwrap();
            let worked = number(&told["worked"]);
            assert!(worked >= 5_000_000, "{what}");
            match &**source {
                "a finalizer" => {
                    assert!(number(&told["other"]["ns"]) >= worked, "{what}");
                    assert_eq!(number(&told["ticks"]["count"]), 0, "{what}");
                }
                // It may come in the check phase, as one of Node's own immediates.
                "the end of a worker" => {
                    assert!(
                        number(&told["ticks"]["ns"]) + number(&told["immediates"]["ns"]) >= worked,
                        "{what}"
                    );
                }
                _ => assert!(number(&told["ticks"]["ns"]) >= worked, "{what}"),
            }
        }
    }
}

#[test]
fn a_flood_of_ticks_outside_of_any_scope_is_told_as_one_and_a_finalizer_is_not() {
    for (version, node) in versions() {
        for (fault, cause, culprit) in
            [("flood", "nexttick", "nextTick queue"), ("finalizer", "callback", "Node itself")]
        {
            let ended = run(&node, &[], "outside.cjs", &[fault]);
            let told: Vec<_> = ended
                .incidents
                .iter()
                .map(|incident| (incident["cause"].as_str(), incident["culprit"]["label"].as_str()))
                .collect();
            let what = format!("Node {version}, {fault}: {}", ended.complained);
            assert!(told.contains(&(Some(cause), Some(culprit))), "{told:?} {what}");
            let other = if fault == "flood" { "Node itself" } else { "nextTick queue" };
            assert!(told.iter().all(|(_, culprit)| *culprit != Some(other)), "{told:?} {what}");
        }
    }
}

#[test]
fn immediates_beside_those_of_nodes_own_are_no_ticks_and_those_are_none() {
    for (version, node) in versions() {
        for thread in ["main", "worker"] {
            let ended = run(&node, &[], "destroy-hook.cjs", &[thread]);
            let all: Value =
                serde_json::from_str(ended.said.trim()).unwrap_or_else(|_| panic!("{}", ended.complained));
            let what = format!("Node {version}, {thread}: {all}");
            assert_eq!((&all["ticks"], &all["others"]), (&0.into(), &0.into()), "{what}");
            assert!(all["immediates"].as_u64() >= all["worked"].as_u64(), "{what}");
        }
    }
}
