//! The test that Seastar's stall detector has, with a real loop and a real agent: ten stalls are ten reports, of which
//! the budget lets five be printed; two thousand short callbacks with polls between them are none.

use serde_json::Value;
use std::process::Command;

/// Returns the incidents that were recorded, and the lines that were logged.
fn run(case: &str) -> (Vec<Value>, Vec<String>) {
    let told = Command::new(env!("CARGO_BIN_EXE_stalls")).arg(case).output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let lines = told["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
    let lines: Vec<String> = lines.collect();
    println!("{case}: {lines:#?}");
    (told["recorded"].as_array().unwrap().clone(), lines)
}

/// So long is a callback of the case `ten`, in nanoseconds: twice the threshold.
const BLOCK_NS: u64 = 20_000_000;

/// Besides the ten, a machine with other work can hold up the loop where no callback runs: such stalls are true, too.
#[test]
fn ten_stalls_are_counted_five_printed_and_the_rest_said_to_be_suppressed() {
    let (recorded, lines) = run("ten");
    let of_ours = |incident: &&Value| incident["culprit"]["file"].as_str().unwrap().ends_with("stalls.rs");
    assert_eq!(recorded.iter().filter(of_ours).count(), 10, "{recorded:#?}");
    let mut printed: Vec<&str> = lines.iter().filter_map(|line| Some(line.rsplit_once(" [")?.1)).collect();
    printed.sort_unstable();
    printed.dedup();
    assert_eq!(printed.len(), 5, "{lines:#?}");
    let suppressed = recorded.len() - 5;
    let said = format!("{suppressed} more incidents of loop main in the last minute not logged");
    assert!(lines.iter().any(|line| line.starts_with(&said)), "no `{said}` in {lines:#?}");
}

/// Where the machine holds up the loop, one callback alone takes as long as a stall, or none does, because it was between
/// two. What must not be is a stall of many that are short.
#[test]
fn two_thousand_short_callbacks_with_polls_between_are_none() {
    let (recorded, _) = run("yields");
    let is_of_short_ones = |incident: &&Value| {
        let groups = incident["groups"].as_array().unwrap();
        let (longest_ns, total_ns) = groups.iter().fold((0, 0), |(longest_ns, total_ns), group| {
            let of = |name: &str| group[name].as_u64().unwrap();
            (of("longest_ns").max(longest_ns), of("total_ns") + total_ns)
        });
        longest_ns < BLOCK_NS / 4 && total_ns >= BLOCK_NS / 4
    };
    let own: Vec<&Value> = recorded.iter().filter(is_of_short_ones).collect();
    assert!(own.is_empty(), "{own:#?}");
}
