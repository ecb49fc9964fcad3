//! Completions: the scripts are as checked in, and real shells complete with them.
//!
//! `UPDATE_EXPECT=1 cargo test -p loopscope --test command` rewrites the files in `agent/cli/tests/expected`.

use crate::scratch::{Scratch, assert_expected};
use std::fs;
use std::process::Command;

/// A command line as typed so far, a completion that must be offered, and one that must not.
const TYPED: &[(&[&str], &str, &str)] = &[
    (&["fl"], "flame", "ls"),
    (&["flame", "--of", ""], "waits", "svg"),
    (&["flame", "--format", "f"], "folded", "svg"),
    (&["doctor", "--fail"], "--fail-on", "--for"),
    (&["top", "--"], "--every", "--fail-on"),
];

/// The same for the value of an argument without an option, which the script for fish does not complete.
const TYPED_VALUE: (&[&str], &str, &str) = (&["completions", ""], "fish", "--of");

#[test]
fn the_scripts_are_as_checked_in() {
    let scratch = Scratch::new("scripts");
    for (shell, file) in [("bash", "loopscope.bash"), ("zsh", "_loopscope"), ("fish", "loopscope.fish")] {
        let done = scratch.run(&["completions", shell]);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{shell}");
        assert_expected(file, &done.stdout);
    }
}

#[test]
fn bash_completes_what_is_typed() {
    let scratch = Scratch::new("bash");
    let script = scratch.work().join("loopscope.bash");
    fs::write(&script, scratch.run(&["completions", "bash"]).stdout).unwrap();
    let complete = "source \"$1\"; shift; COMP_WORDS=(loopscope \"$@\"); COMP_CWORD=$#; \
        _loopscope loopscope \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    for (typed, offered, other) in TYPED.iter().chain([&TYPED_VALUE]) {
        let output =
            Command::new("bash").args(["-c", complete, "bash"]).arg(&script).args(*typed).output().unwrap();
        assert_offers(typed, &output, offered, other);
    }
}

#[test]
fn fish_completes_what_is_typed() {
    let scratch = Scratch::new("fish");
    let script = scratch.work().join("loopscope.fish");
    fs::write(&script, scratch.run(&["completions", "fish"]).stdout).unwrap();
    for (typed, offered, other) in TYPED {
        let line = format!("loopscope {}", typed.join(" "));
        let complete = "source $argv[1]; complete --do-complete $argv[2]";
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", complete]).arg(&script).arg(line).env("HOME", scratch.work());
        let Ok(output) = fish.output() else {
            return println!("skipped: completions in fish: install the package fish");
        };
        assert_offers(typed, &output, offered, other);
    }
}

#[test]
fn zsh_can_read_its_script() {
    let scratch = Scratch::new("zsh");
    let script = scratch.work().join("_loopscope");
    fs::write(&script, scratch.run(&["completions", "zsh"]).stdout).unwrap();
    let Ok(output) = Command::new("zsh").args(["-f", "-n"]).arg(&script).output() else {
        return println!("skipped: completions in zsh: install the package zsh");
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Checks what a shell offers: the first word of each line that it printed.
fn assert_offers(typed: &[&str], output: &std::process::Output, offered: &str, other: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let offers: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(offers.contains(&offered) && !offers.contains(&other), "{typed:?}: {offers:?}, {output:?}");
}
