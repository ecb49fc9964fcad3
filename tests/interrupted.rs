//! Captures and samples change no answer of the host's system calls: none is interrupted in a loop's poll, and none inside a
//! callback that was asleep when it was looked at. The stacks are told all the same, and the stalls have their true length.

use serde_json::Value;
use std::process::Command;

fn run(case: &str, number: u64) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
    told_by(command.args([case, &number.to_string()]))
}

fn told_by(command: &mut Command) -> Value {
    let told = command.output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

fn polls_are_whole(case: &str, blocks: u64) {
    let seen = run(case, blocks);
    assert_eq!(seen["ended_loops"], 0, "{seen}");
    assert_eq!(seen["polls"], 3 * blocks);
    // It was not for want of signals: all that runs in these loops computes.
    let incidents = seen["incidents"].as_array().unwrap();
    let has_stack = |incident: &&Value| !incident["stacks"].as_array().unwrap().is_empty();
    let captured = incidents.iter().filter(has_stack).count();
    assert!(
        captured >= 10,
        "{captured} incidents of {} with a stack, of {} blocks",
        incidents.len(),
        seen["blocks"]
    );
    assert!(seen["profile_bytes"].as_u64().unwrap() > 1_000);
}

/// By hand with 10,000 blocks: `interrupted polls 3334`.
#[test]
fn no_signal_reaches_a_poll() {
    polls_are_whole("polls", 120);
}

#[test]
fn no_signal_reaches_a_poll_where_the_kernel_refuses_membarrier() {
    polls_are_whole("fenced", 60);
}

const SIGURG: u32 = 1 << (23 - 1);

fn handles_captures(seen: &Value) -> bool {
    let caught = u64::from_str_radix(seen["caught_signals"].as_str().unwrap(), 16).unwrap();
    caught as u32 & SIGURG != 0
}

#[test]
fn where_captures_are_off_no_signal_is_handled_and_that_is_told() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interrupted"));
    let seen = told_by(command.args(["calls", "30"]).env("LOOPSCOPE_CAPTURES", "off"));
    assert!(!handles_captures(&seen), "{}", seen["caught_signals"]);
    let incidents = seen["incidents"].as_array().unwrap();
    let of_call = incidents.iter().find(|incident| incident["culprit"]["name"] == "poll").unwrap();
    assert!(of_call["captures_failed"].to_string().contains("LOOPSCOPE_CAPTURES=off"), "{of_call:#}");
    assert_eq!(of_call["stacks"].as_array().unwrap().len(), 0);
    assert!(handles_captures(&run("calls", 30)), "the signal is another: this test proves nothing");
}

#[test]
fn calls_in_callbacks_keep_their_length_and_answer_and_their_stacks_are_told() {
    let seen = run("calls", 400);
    let incidents = seen["incidents"].as_array().unwrap();
    for answer in seen["answers"].as_array().unwrap() {
        let call = answer["call"].as_str().unwrap();
        assert_eq!(answer["is_whole"], true, "{answer}");
        let of_call = incidents.iter().find(|incident| incident["culprit"]["name"] == call);
        let incident = of_call.unwrap_or_else(|| panic!("no incident of {call} in {incidents:#?}"));
        let lasted_ns = incident["duration_ns"].as_u64().unwrap();
        assert!(lasted_ns >= answer["asked_ns"].as_u64().unwrap(), "{call}: {incident:#}");
        let stacks = incident["stacks"].to_string();
        assert!(stacks.contains(&format!("blocked_in_{call}")), "{call}: {incident:#}");
        assert_eq!(incident["class"], "waiting", "{call}: {incident:#}");
    }
}
