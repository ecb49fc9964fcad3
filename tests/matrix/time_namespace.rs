//! A process in a time namespace of its own, seen from outside.

use super::command::Command;
use super::fixture::{line_with, scratch};
use std::fs;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

/// An earlier boot and an earlier start of the monotonic clock, in seconds.
const OFFSETS: [&str; 5] = ["--time", "--boottime", "100000", "--monotonic", "50000"];

/// Tells whether one can be made here: that takes root, and Linux 5.6.
pub fn is_possible() -> bool {
    let tried = Process::new("unshare").args(OFFSETS).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Starts the process, looks at it while it lives, and when it has been killed.
pub fn check() {
    let root = scratch("elsewhere");
    let _removed = Removed(root.clone());
    let run = |arguments: &[&str]| Command::new(arguments, &root.join("run"), &root.join("ca.crt")).run();
    let mut child = Process::new("unshare")
        .args(OFFSETS)
        .args(["--fork", "--kill-child", env!("CARGO_BIN_EXE_identities"), "tcp", "elsewhere"])
        .env("LOOPSCOPE_RUNTIME_DIR", root.join("run"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    line_with(&mut child, "ready");
    let is_alive = || {
        let view = run(&["ls", "--json"]).json().unwrap();
        let [process] = view["processes"].as_array().unwrap().as_slice() else {
            panic!("one process: {view}")
        };
        (process["is_alive"].as_bool().unwrap(), process["agent"].is_string())
    };
    assert_eq!(is_alive(), (true, true));
    let doctor = run(&["doctor", "elsewhere", "--for", "150ms", "--json"]).json().unwrap();
    assert_eq!(doctor["has_ended"], false);
    // Its input ends, and so does it.
    drop(child.stdin.take());
    child.wait().unwrap();
    let ended = run(&["ls"]).expect(&[0]).unwrap().stdout;
    assert!(ended.contains("no pages") || ended.contains(" ended"), "{ended}");
}

/// A directory that goes when dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
