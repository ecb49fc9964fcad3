//! Whatever a loop, a callback, a field of a span, a program or an incident of somebody's file is called: the command
//! prints nothing that a terminal acts on, and letters of every script as they are.
//!
//! The agent's exits are in `agent/tests/printable.rs`.

use crate::child::{Running, until};
use crate::scratch::{Done, Scratch};
use loopscope_probe::raw::directory::{Owner, agent_socket};
use loopscope_probe::raw::printable::is_hidden;
use loopscope_probe::{Clock, Kind, Phase, TaskTimes, Writer, spans};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::process::Stdio;

/// Letters that must pass, and what must not: an escape sequence, C1, a made-up line, bidirectional controls.
const LETTERS: &str = "é中文😀";
const NAME: &str = "é中文😀\u{1b}[2J\u{9b}1m\nERR\u{202e}\u{2066}\u{200f}";

/// A loop of this process with such names, blocked for as long as what is returned lives.
fn named_loop(scratch: &Scratch) -> (Writer, loopscope_probe::spans::SpanGuard) {
    let clock = Clock::monotonic();
    let mut writer = Writer::builder(NAME).clock(clock).directory(&scratch.runtime()).build();
    writer.resume();
    let site = writer.named_site(Location::caller(), Kind::Timer, NAME);
    let installed = writer.install_spans();
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    spans::enter(spans::site(NAME, "db.rs", 3).unwrap(), NAME).unwrap();
    let since = writer.last();
    until(|| (writer.clock().ns_between(since, writer.clock().now()) > 150_000_000).then_some(()));
    (writer, installed)
}

fn check(what: &[&str], done: &Done) {
    let said = format!("{what:?} {:?}\n{:?}\n{:?}", done.code, done.stdout, done.stderr);
    assert!(done.code.is_some_and(|code| code <= 4), "{said}");
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{said}");
        assert!(!text.lines().any(|line| line.starts_with("ERR")), "a line that a name made up: {said}");
    }
    assert!(done.stdout.contains(LETTERS), "{said}");
}

#[test]
fn names_of_a_page_and_of_a_program_reach_a_terminal_as_text_only() {
    let scratch = Scratch::new("printable");
    let _loop = named_loop(&scratch);
    let pid = std::process::id().to_string();
    let mut demo = scratch.command(&["demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let named = demo.arg0(NAME.replace('[', "").as_str()).args(["--rate", "0"]);
    let mut demo = Running::of(named.stdout(Stdio::piped()).stderr(Stdio::piped()));
    demo.line_with("Ctrl-C stops it");
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["top", "--once"],
        &["top", "--once", "--json"],
        &["incidents", &pid],
        &["incidents", &pid, "--json"],
        &["incidents", &pid, "last"],
        &["incidents", &pid, "last", "--json"],
        &["doctor", &pid, "--for", "200ms"],
        &["doctor", &pid, "--for", "200ms", "--json"],
        &["doctor", &demo.pid(), "--for", "200ms"],
        &["flame", &pid, "--for", "200ms"],
        &["flame", &pid, "--for", "200ms", "-o", "-"],
    ] {
        check(arguments, &scratch.run(arguments));
    }
    let done = scratch.run(&["flame", &pid, "--for", "200ms", "-o", "a.trace.json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let written = scratch.read("a.trace.json");
    assert!(written.contains(LETTERS) && !written.contains(is_hidden), "{written:?}");
}

#[test]
fn an_incident_of_a_file_is_shown_with_escapes_and_given_on_as_it_is() {
    let scratch = Scratch::new("printable-file");
    let place = json!({ "kind": NAME, "label": NAME, "name": NAME, "file": NAME, "line": 7 });
    let frame = json!({ "function": NAME.repeat(2_000), "file": NAME, "line": 7, "module": NAME });
    let incident = json!({
        "id": "4711-1", "pid": 4711, "process": NAME, "loop": NAME, "runtime": NAME, "cause": NAME, "phase": NAME,
        "begin_unix_ns": u64::MAX, "duration_ns": u64::MAX, "threshold_ns": 1, "is_over": true, "summary": NAME,
        "waiting_in": NAME, "culprit": place, "notes": [NAME], "captures_failed": [NAME],
        "spans": [{ "name": NAME, "fields": NAME, "file": NAME, "line": 3 }],
        "groups": [{ "kind": NAME, "label": NAME, "parent": NAME, "count": u64::MAX, "total_ns": u64::MAX }],
        "stacks": [
            { "count": u64::MAX, "ages_ns": [u64::MAX], "frames": [frame], "guilty": 9 },
            { "count": u64::MAX, "frames": [frame], "guilty": 0 },
        ],
        "records": [{ "start_ns": i64::MIN, "run_ns": u64::MAX, "kind": NAME, "phase": NAME, "site": NAME }],
        "jobs": [{ "start_ns": i64::MAX, "run_ns": u64::MAX, "kind": NAME, "site": NAME, "worker": u32::MAX }],
    });
    fs::write(scratch.work().join("4711-1.json"), incident.to_string()).unwrap();
    for arguments in [&["incidents", "--dir", "."][..], &["incidents", "--dir", ".", "last"]] {
        check(arguments, &scratch.run(arguments));
    }
    let arguments = ["incidents", "--dir", ".", "last", "--json"];
    let done = scratch.run(&arguments);
    check(&arguments, &done);
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&told["loop"], &told["culprit"]["label"]), (&json!(NAME), &json!(NAME)));
}

/// Answers every question at the socket file of this process's agent with the incident: in a list, or by its id alone.
fn agent_with(scratch: &Scratch, incident: &Value) -> UnixListener {
    let id = incident["id"].as_str().unwrap().to_owned();
    let (list, one) = (json!([incident]).to_string(), incident.to_string());
    let listener = UnixListener::bind(agent_socket(&scratch.runtime(), Owner::this_process())).unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in accepting.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = String::new();
            // Who only looks whether somebody listens asks nothing.
            if BufReader::new(&stream).read_line(&mut asked).unwrap_or(0) == 0 {
                continue;
            }
            let body = if asked.contains(&id) { &one } else { &list };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    listener
}

#[test]
fn the_doctor_gives_names_of_incidents_on_as_they_are_in_json_and_escaped_in_text() {
    let scratch = Scratch::new("printable-doctor");
    let _loop = named_loop(&scratch);
    let pid = std::process::id().to_string();
    let of_page = scratch.run(&["incidents", &pid, "--json"]);
    let mut incident: Value = serde_json::from_str::<Value>(&of_page.stdout).unwrap()["incidents"][0].take();
    let frame = json!({ "function": NAME, "module": "web" });
    incident["id"] = format!("{pid}-1").into();
    incident["is_over"] = false.into();
    // So that it is of the watch that begins now.
    incident["duration_ns"] = 600_000_000_000_u64.into();
    incident["stacks"] = json!([{ "count": 3, "frames": [frame], "guilty": 0 }]);
    let _agent = agent_with(&scratch, &incident);
    let arguments = ["doctor", &pid, "--for", "200ms", "--json"];
    let done = scratch.run(&arguments);
    check(&arguments, &done);
    let told: Value = serde_json::from_str(&done.stdout).unwrap();
    let evidence =
        |line: &Value| line.as_str().unwrap().starts_with(&format!("guilty: {NAME}, in 3 of 3 stacks"));
    let findings = told["findings"].as_array().unwrap();
    let is_told = findings.iter().any(|finding| finding["evidence"].as_array().unwrap().iter().any(evidence));
    assert!(is_told, "{told:#}");
    let arguments = ["doctor", &pid, "--for", "200ms"];
    let done = scratch.run(&arguments);
    check(&arguments, &done);
    assert!(done.stdout.contains(r"\u{1b}[2J") && done.stdout.contains("guilty"), "{}", done.stdout);
}
