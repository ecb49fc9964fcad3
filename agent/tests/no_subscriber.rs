//! Who sees a stall in a program that installed nothing: one line on standard error, a logger's, or nobody, as the
//! operator says. A process has one subscriber and one logger for ever, so each case is a process of its own.

mod support;

use loopscope_probe::Kind;
use std::process::Command;
use std::time::Duration;
use support::{HandLoop, builder, until, value};

/// Names the case.
const CASE: &str = "LOOPSCOPE_TEST_UNHEARD";

/// Prints what it is given, as `env_logger` would.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("logged {} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Blocks a loop twice, for longer than its threshold.
fn block(case: &str) {
    if case == "logger" {
        log::set_logger(&Printer).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    }
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(50)).start().unwrap();
    let hand = HandLoop::start("main");
    for incidents in [1.0, 2.0] {
        hand.block(Kind::Timer, "flush");
        until("the incident", || {
            let page = support::get(&agent, "/metrics").body;
            let series = "loopscope_incidents_total{loop=\"main\",kind=\"stall\"}";
            value(&page, series).is_some_and(|count| count >= incidents)
        });
        hand.park();
    }
    drop(hand);
    agent.stop();
}

/// Returns what the case printed to standard output and to standard error.
fn run(case: &str, variables: &[(&str, &str)]) -> (String, String) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "a_stall_is_seen_where_nobody_subscribed", "--nocapture"]).env(CASE, case);
    let output = program.envs(variables.iter().copied()).output().unwrap();
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{texts:?}");
    texts.into()
}

#[test]
fn a_stall_is_seen_where_nobody_subscribed() {
    if let Ok(case) = std::env::var(CASE) {
        return block(&case);
    }
    let (_, stderr) = run("nobody", &[]);
    let ours: Vec<&str> = stderr.lines().filter(|line| line.starts_with("loopscope: ")).collect();
    let [line] = ours[..] else { panic!("the first stall, and no more: {stderr}") };
    for part in ["loop main blocked for", "by timer flush (", "tracing subscriber", "LOOPSCOPE_STDERR=off"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let (_, stderr) = run("nobody", &[("LOOPSCOPE_STDERR", "off")]);
    assert!(!stderr.contains("loopscope: "), "{stderr}");
    let (stdout, stderr) = run("logger", &[("LOOPSCOPE_THRESHOLDS", "30ms")]);
    assert!(!stderr.contains("loopscope: "), "a logger has it already: {stderr}");
    let warnings = stdout.lines().filter(|line| line.contains("logged WARN loopscope: loop main blocked"));
    assert!(warnings.count() >= 1, "{stdout}");
    // What is in force, of code and environment.
    let begin = stdout.lines().find(|line| line.contains("loopscope is watching the loops of this process"));
    let begin = begin.unwrap_or_else(|| panic!("what is in force is said: {stdout}"));
    for part in
        ["listening on http://127.0.0.1:", "stall threshold 30ms", "the environment: LOOPSCOPE_THRESHOLDS"]
    {
        assert!(begin.contains(part), "{part} in {begin}");
    }
}
