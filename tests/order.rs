//! The loop runs random programs in the order of the model, and the model runs Node's own programs in Node's order.

#[path = "order/programs.rs"]
mod programs;

use loopscope_tests::model::{self, NoOrder};
use loopscope_tests::schedule::compare::compare;
use loopscope_tests::schedule::interpret::{Time, run};
use loopscope_tests::schedule::program::{Program, read};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::path::Path;

/// More than any program here needs, and few enough that one without an end is found out soon.
const PATIENCE: u64 = 50_000;

#[test]
fn the_model_runs_every_program_in_the_order_of_node() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/programs.jsonl");
    let differences: Vec<String> = read(&path)
        .unwrap()
        .iter()
        .filter_map(|program| compare(program, &model::run(program, PATIENCE).unwrap()))
        .map(|difference| difference.to_string())
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

fn check(program: &Program) -> Result<(), TestCaseError> {
    let lines = match model::run(program, PATIENCE) {
        Ok(lines) => lines,
        Err(NoOrder::TooLong | NoOrder::WaitsForever) => return Err(TestCaseError::reject("no end")),
    };
    let ours = run(program, Time::Virtual).map_err(TestCaseError::fail)?;
    prop_assert!(
        ours == lines,
        "{}\nmodel {}\nloop  {}",
        programs::text(program),
        programs::trace(&lines),
        programs::trace(&ours)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        max_global_rejects: 4_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_programs_run_in_the_order_of_the_model(program in programs::any()) {
        check(&program)?;
    }

    #[test]
    fn random_timers_run_in_the_order_of_the_model(program in programs::of_timers()) {
        check(&program)?;
    }
}
