//! `LOOPSCOPE=off`: here it is shown that a loop runs as before, and that nothing of ours is there besides. The switch is
//! read once, so that this is a process of its own.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use loopscope_probe::raw::{directory, registry, switch};
use loopscope_probe::{Kind, SiteId, TaskTimes, Writer, spans};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Returns the signals that the process has handlers for, and the number of its threads.
fn handlers_and_threads() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let is_asked = |line: &&str| line.starts_with("SigCgt") || line.starts_with("Threads");
    status.lines().filter(is_asked).map(str::to_owned).collect()
}

fn run_loop() {
    let before = handlers_and_threads();
    let mut writer = Writer::builder("off").build();
    let _installed = writer.install_spans();
    writer.resume();
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    assert_eq!((spans::loop_identity(), spans::site("query", "src/x.rs", 1)), (0, None));
    writer.end();
    writer.suspend();
    assert_eq!(writer.page().snapshot(writer.clock()).run[Kind::Timer.index()].count(), 1);
    assert!(writer.take_pool().is_some());
    assert!(registry::pages().is_empty(), "no agent finds it");
    assert_eq!(handlers_and_threads(), before);
    println!("off: {}", switch::is_off());
}

#[test]
fn a_loop_runs_and_nobody_sees_it() {
    if std::env::var_os(switch::SWITCH_VARIABLE).is_some() {
        return run_loop();
    }
    let directory = PathBuf::from(format!("/dev/shm/loopscope-off-{}", std::process::id()));
    let mut off = Command::new(std::env::current_exe().unwrap());
    off.args(["--exact", "a_loop_runs_and_nobody_sees_it", "--nocapture"]);
    off.env(switch::SWITCH_VARIABLE, "Off").env(directory::DIRECTORY_VARIABLE, &directory);
    let output = off.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("off: true"), "{said}");
    assert!(!directory.exists(), "not even the directory is made");
}
