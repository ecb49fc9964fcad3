//! `flame` in every kind and format, of a real child process with trouble in it.

use crate::child::Running;
use crate::scratch::Scratch;
use serde_json::Value;
use std::fs;

#[test]
fn the_guilty_function_is_on_the_processor() {
    let scratch = Scratch::new("flame-cpu");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "50"]);
    let done =
        scratch.run(&["flame", &demo.pid(), "--of", "cpu", "--hz", "499", "--for", "3s", "-o", "cpu.folded"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let folded = scratch.read("cpu.folded");
    let line = folded.lines().find(|line| line.contains("sum_amounts")).expect(&folded);
    // The layout first, and below it nothing of the loop's own plumbing.
    assert!(line.starts_with("web;timers;parse_invoices ("), "{line}");
    assert!(!line.contains("loopscope_loop::") && !line.contains("std::rt"), "{line}");
    assert!(done.stdout.contains("on CPU"), "{}", done.stdout);
}

#[test]
fn stalls_have_stacks_and_every_format_is_what_it_says() {
    let scratch = Scratch::new("flame-formats");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "50"]);
    let flame = |arguments: &[&str]| {
        let pid = demo.pid();
        let done = scratch.run(&[&["flame", &pid, "--for", "3s"], arguments].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
        done.stdout
    };
    let stalls = flame(&["--of", "stalls", "-o", "stalls.svg", "--loop", "web"]);
    assert!(stalls.contains("open it in a browser"), "{stalls}");
    let svg = scratch.read("stalls.svg");
    assert!(
        svg.contains("id=\"legend\"") && svg.contains(">timers</text>") && svg.contains("parse_invoices")
    );
    flame(&["-o", "x.pb.gz"]);
    assert_eq!(fs::read(scratch.work().join("x.pb.gz")).unwrap()[..2], [0x1f, 0x8b]);
    flame(&["-o", "x.firefox.json"]);
    flame(&["--of", "cpu", "-o", "x.speedscope.json"]);
    let json = |name: &str| serde_json::from_str::<Value>(&scratch.read(name)).unwrap();
    assert_eq!(json("x.firefox.json")["threads"][0]["name"], "loop load");
    assert_eq!(json("x.speedscope.json")["profiles"][0]["type"], "sampled");
}

#[test]
fn a_timeline_has_the_block_in_it_and_needs_no_agent() {
    let scratch = Scratch::new("flame-trace");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "50"]);
    let done = scratch.run(&["flame", &demo.pid(), "--for", "3s", "-o", "x.trace.json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let trace: Value = serde_json::from_str(&scratch.read("x.trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let is_block = |event: &&Value| {
        event["cat"] == "callback"
            && event["name"].as_str().is_some_and(|name| name.starts_with("parse_invoices"))
    };
    let at =
        events.iter().position(|event| is_block(&event)).expect("a block of 300 ms every 2 s is in any 3 s");
    let is_end = |event: &&Value| event["ph"] == "E" && event["name"] == events[at]["name"];
    let end = events[at..].iter().find(is_end).expect("what begins ends");
    let us = |event: &Value| event["ts"].as_f64().unwrap();
    assert!(us(end) - us(&events[at]) >= 290_000.0, "{end} {}", events[at]);
    let named = events.iter().any(|event| event["args"]["name"] == "loop web");
    assert!(named, "the loop's track has its name");
}

#[test]
fn a_difference_is_drawn_against_an_earlier_capture() {
    let scratch = Scratch::new("flame-diff");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "50"]);
    let pid = demo.pid();
    let before = scratch.run(&["flame", &pid, "--for", "500ms", "-o", "before.folded"]);
    assert_eq!(before.code, Some(0), "{}", before.stderr);
    let arguments =
        ["flame", &pid, "--for", "3s", "--diff", "before.folded", "--normalize", "-o", "diff.svg"];
    let done = scratch.run(&arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let svg = scratch.read("diff.svg");
    assert!(svg.contains("10% more of all time") && svg.contains("normalized"));
    assert!(done.stdout.contains("Changes"), "what changed is said, too: {}", done.stdout);
    // As a check: what is new takes nearly all of the time.
    fs::write(scratch.work().join("idle.folded"), "web;poll;nothing (x.rs:1) 1000\n").unwrap();
    let arguments =
        ["flame", &pid, "--for", "3s", "--diff", "idle.folded", "--fail-above", "10%", "-o", "worse.svg"];
    let worse = scratch.run(&arguments);
    assert_eq!(worse.code, Some(4), "{}{}", worse.stdout, worse.stderr);
    assert!(
        worse.stderr.contains("parse_invoices") && worse.stderr.contains("--fail-above 10%"),
        "{}",
        worse.stderr
    );
    let line = worse.stdout.lines().find(|line| line.contains("timers;parse_invoices (")).unwrap();
    assert!(line.contains('+') && line.contains(" -> "), "{line}");
    assert!(scratch.read("worse.svg").contains("parse_invoices ("), "the picture is there all the same");
    fs::write(scratch.work().join("bad.folded"), "a;b 5\na;b -1\n").unwrap();
    let bad = scratch.run(&["flame", &pid, "--diff", "bad.folded"]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("bad.folded") && bad.stderr.contains("line 2"), "{}", bad.stderr);
    let picture = scratch.run(&["flame", &pid, "--diff", "diff.svg"]);
    assert!(picture.stderr.contains("--format folded"), "{}", picture.stderr);
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let scratch = Scratch::new("flame-refused");
    let demo = Running::demo(&scratch, &["--rate", "0"]);
    let pid = demo.pid();
    for (arguments, code, part) in [
        (&["--loop", "nowhere"][..], 3, "it has: "),
        (&["--of", "cpu", "--for", "1500ms"], 2, "whole seconds"),
        (&["--of", "stalls", "--for", "1s"], 3, "stalled within 1.0 s"),
        (&["--of", "cpu", "--loop", "nowhere"], 3, "no loop"),
    ] {
        let done = scratch.run(&[&["flame", &pid], arguments].concat());
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
    }
    assert!(scratch.written().is_empty(), "{:?}", scratch.written());
}
