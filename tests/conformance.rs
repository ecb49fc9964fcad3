//! Every conformance program runs in Node's exact order: labels, phases, queues and iterations, in virtual time.

use loopscope_tests::schedule::compare::compare;
use loopscope_tests::schedule::interpret::{Time, run};
use loopscope_tests::schedule::program::read;
use std::path::Path;

#[test]
fn every_program_runs_in_the_order_of_node() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/programs.jsonl");
    let programs = read(&path).unwrap();
    assert_eq!(programs.len(), 441, "the set is complete");
    let differences: Vec<String> = programs
        .iter()
        .filter_map(|program| match run(program, Time::Virtual) {
            Ok(lines) => compare(program, &lines).map(|difference| difference.to_string()),
            Err(error) => Some(format!("{}: {error}", program.id)),
        })
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
