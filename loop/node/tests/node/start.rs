//! What belongs to the start of a program or a worker: the evaluation of a main module, and nothing after a CommonJS script.

use crate::nodes::{Ended, run_loaded, versions};

/// What was guilty in the incidents of this loop. The other one may wait for a processor on a busy machine.
fn labels<'a>(ended: &'a Ended, of: &str) -> Vec<&'a str> {
    let of_loop = ended.incidents.iter().filter(|incident| incident["loop"] == of);
    of_loop.filter_map(|incident| incident["culprit"]["label"].as_str()).collect()
}

#[test]
fn what_blocks_after_files_were_read_is_a_stall_where_the_main_script_is_no_module() {
    for (version, node) in versions() {
        for load in ["--require", "--import"] {
            for how in ["files", "worker", "evaluated-worker"] {
                // Node imports nothing in a worker that is evaluated from a text.
                if (load, how) == ("--import", "evaluated-worker") {
                    continue;
                }
                let ended = run_loaded(load, &node, &[], "starts.cjs", &[how], &[]);
                let what = format!("Node {version}, {load}, {how}: {}", ended.complained);
                assert_eq!((ended.code, &*ended.said), (Some(0), "blocked\n"), "{what}");
                let labels = labels(&ended, if how == "files" { "starts.cjs" } else { "worker-1" });
                assert!(
                    !labels.is_empty() && labels.iter().all(|label| *label == "fs"),
                    "{labels:?}: {what}"
                );
            }
        }
    }
}

/// A worker's main module is evaluated after polls as the program's is.
#[test]
fn a_module_of_a_worker_that_is_evaluated_late_is_no_stall() {
    for (version, node) in versions() {
        for load in ["--require", "--import"] {
            for how in ["at once", "after await"] {
                let arguments = ["module-worker", how];
                let ended = run_loaded(load, &node, &[], "starts.cjs", &arguments, &[]);
                let what = format!("Node {version}, {load}, {how}: {}", ended.complained);
                assert_eq!((ended.code, &*ended.said), (Some(0), "evaluated\n"), "{what}");
                let labels = labels(&ended, "worker-1");
                let is_timers = !labels.is_empty() && labels.iter().all(|label| *label == "timers");
                assert!(is_timers, "what blocks later is a stall, and nothing else: {labels:?}: {what}");
            }
        }
    }
}
