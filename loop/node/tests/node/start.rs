//! What belongs to the start of a program or a worker: the evaluation of a main module, and nothing after a CommonJS script.

use crate::nodes::{Ended, run_loaded, versions};

fn labels(ended: &Ended) -> Vec<&str> {
    ended.incidents.iter().filter_map(|incident| incident["culprit"]["label"].as_str()).collect()
}

#[test]
fn what_blocks_after_files_were_read_is_a_stall_where_the_main_script_is_no_module() {
    for (version, node) in versions() {
        for load in ["--require", "--import"] {
            for how in ["files"] {
                let ended = run_loaded(load, &node, &[], "starts.cjs", &[how], &[]);
                let what = format!("Node {version}, {load}, {how}: {}", ended.complained);
                assert_eq!((ended.code, &*ended.said), (Some(0), "blocked\n"), "{what}");
                let labels = labels(&ended);
                assert!(
                    !labels.is_empty() && labels.iter().all(|label| *label == "fs"),
                    "{labels:?}: {what}"
                );
            }
        }
    }
}
