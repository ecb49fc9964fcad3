//! Queues of which Node does not say how many jobs they have: whether one long job blocks, or many short ones, is told by captures.

use crate::nodes::{run, versions};
use serde_json::Value;

#[test]
fn one_long_job_of_a_queue_is_told_from_many_short_ones() {
    for (version, node) in versions() {
        for (fault, kind, cause, words) in [
            ("one microtask", "stall", "callback", "blocked by microtask queue"),
            ("many microtasks", "starvation", "microtask", "starved by microtasks"),
            ("one tick", "stall", "callback", "blocked by nextTick queue"),
            ("many ticks", "starvation", "nexttick", "starved by nextTick jobs"),
        ] {
            let ended = run(&node, &[], "jobs.cjs", &[fault]);
            let what = format!("Node {version}, {fault}: {}", ended.complained);
            let is_long = |incident: &&Value| incident["duration_ns"].as_u64() > Some(800_000_000);
            let told: Vec<&Value> = ended.incidents.iter().filter(is_long).collect();
            let [incident] = &told[..] else { panic!("{} long incidents: {what}", told.len()) };
            assert_eq!((&incident["kind"], &incident["cause"]), (&kind.into(), &cause.into()), "{what}");
            // The page tells of microtasks at their end, and of ticks never: captures do while it lasts.
            let is_one = incident["jobs_captured"].as_u64() == Some(1);
            assert_eq!(is_one, fault.starts_with("one"), "{}: {what}", incident["jobs_captured"]);
            let end = ended.complained.lines().find(|line| line.contains("polls again after"));
            assert!(end.is_some_and(|line| line.contains(words) && !line.contains("one or many")), "{what}");
        }
    }
}
