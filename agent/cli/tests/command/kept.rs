//! Incidents on disk and in memory after the worst: a process killed in the middle of a block, and a disk that is full.

use crate::child::{Running, get, until};
use crate::scratch::Scratch;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Names of the incidents' files.
fn files(scratch: &Scratch) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(scratch.work().join("kept")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".json")).collect()
}

#[test]
fn a_process_killed_in_a_block_leaves_the_incident_in_its_directory() {
    let scratch = Scratch::new("kept-killed");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--incidents-dir", "kept"]);
    // Written at its detection, a third of the way into the block.
    let list = || scratch.run(&["incidents", "--dir", "kept"]).stdout;
    let line_of = |list: &str| {
        let line = list.lines().find(|line| line.contains("timer parse_invoices (trouble.rs:"))?;
        Some(line.split(' ').next().unwrap().to_owned())
    };
    let id = until(|| line_of(&list()));
    demo.signal("KILL");
    assert_eq!(demo.end().0, None, "killed");
    assert!(line_of(&list()).is_some() && !list().contains("skipped"), "a half-written file: {}", list());
    let told = scratch.run(&["incidents", "--dir", "kept", "--json", &id]);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["culprit"]["name"], &told["source"]), (&"parse_invoices".into(), &"file".into()));
    assert!(told["duration_ns"].as_u64().unwrap() >= 100_000_000, "{told:#}");
}

#[test]
fn incidents_outlive_a_process_that_was_killed() {
    let scratch = Scratch::new("kept-default");
    let demo = Running::demo(&scratch, &["--trouble", "block"]);
    let pid = demo.pid();
    let list = |arguments: &[&str]| {
        let done = scratch.run(&[&["incidents", "--json"][..], arguments].concat());
        serde_json::from_str::<Value>(&done.stdout).unwrap_or_default()
    };
    let is_over =
        |incident: &&Value| incident["culprit"]["name"] == "parse_invoices" && incident["is_over"] == true;
    let id_in = |told: &Value| {
        let found = told["incidents"].as_array()?.iter().find(is_over)?;
        Some(found["id"].as_str()?.to_owned())
    };
    let id = until(|| id_in(&list(&[&pid])));
    let kept = scratch.runtime().join("incidents");
    let is_written = |name: String| name.contains(&format!("-{id}.")) && name.ends_with(".json");
    until(|| {
        let mut names = std::fs::read_dir(&kept).ok()?.flatten();
        names.any(|entry| is_written(entry.file_name().into_string().unwrap())).then_some(())
    });
    demo.signal("KILL");
    assert_eq!(demo.end().0, None, "killed");
    for arguments in [&[][..], &[pid.as_str()]] {
        let told = list(arguments);
        let found = told["incidents"].as_array().unwrap().iter().filter(|incident| incident["id"] == *id);
        assert_eq!(found.count(), 1, "{told:#}");
    }
    let told = list(&[&id]);
    assert_eq!((&told["culprit"]["name"], &told["source"]), (&"parse_invoices".into(), &"kept".into()));
    for arguments in [&["flame", "--incident", &id, "-o", "-"][..], &["flame", &pid, "--incident", &id]] {
        let done = scratch.run(&[arguments, &["--format", "folded"]].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
    }
    let other = format!("{pid}-999999");
    let done = scratch.run(&["flame", "--incident", &other]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(3), ""), "{}", done.stderr);
}

#[test]
fn an_incident_is_drawn_from_the_agent_and_from_its_file() {
    let scratch = Scratch::new("kept-drawn");
    let mut demo = Running::demo(&scratch, &["--trouble", "block", "--incidents-dir", "kept"]);
    // Not one that the machine made.
    let over = demo.error_with("it was blocked by timer parse_invoices (");
    let id = over.rsplit_once('[').unwrap().1.trim_end_matches(']').to_owned();
    let first = |arguments: &[&str]| {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
    };
    first(&["flame", "--incident", &id, "-o", "agent.svg"]);
    first(&["flame", &demo.pid(), "--incident", &id, "-o", "agent.folded"]);
    first(&["incidents", &id, "--flame", "list.svg", "--trace", "list.json"]);
    first(&["incidents", "--dir", "kept", "--flame", "all.folded"]);
    for name in ["agent.svg", "list.svg"] {
        let svg = scratch.read(name);
        assert!(svg.contains(">timers</text>") && svg.contains("parse_invoices"), "{name}");
    }
    for name in ["agent.folded", "all.folded"] {
        let folded = scratch.read(name);
        let is_named =
            |line: &str| line.starts_with("web;timers;parse_invoices (") && line.contains("compute");
        assert!(folded.lines().any(is_named), "{name}: {folded}");
    }
    let trace: Value = serde_json::from_str(&scratch.read("list.json")).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 10);
}

/// A limit of the size of files fails in the middle of a write, as a full disk does.
#[test]
fn a_full_disk_is_said_once_and_incidents_stay_in_memory() {
    let scratch = Scratch::new("kept-full");
    let program = scratch.command(&[]).get_program().to_str().unwrap().to_owned();
    let arguments = "demo --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --for 6s --trouble block --quiet";
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {program} {arguments} --incidents-dir kept");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime()).current_dir(scratch.work());
    let mut demo = Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let address = demo.address("metrics");
    demo.error_with("cannot write incidents to kept: ");
    let all = until(|| {
        let answer = get(&address, "/debug/loopscope/incidents");
        let all: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        (all.as_array()?.len() >= 2).then_some(all)
    });
    let mut summaries = all.as_array().unwrap().iter().map(|one| one["summary"].as_str().unwrap());
    assert!(summaries.any(|summary| summary.starts_with("1 callback of ")), "{all:#}");
    let (code, _, printed) = demo.end();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(printed.matches("cannot write incidents to kept").count(), 1, "{printed}");
    assert_eq!(files(&scratch), [""; 0], "no half of a file");
}
