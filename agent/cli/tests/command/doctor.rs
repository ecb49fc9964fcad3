//! The doctor finds what the demo does wrong, and nothing where nothing is.

use crate::child::{Running, until};
use crate::scratch::{Done, Scratch};
use loopscope_probe::raw::directory::{Owner, agent_socket};
use loopscope_probe::{Clock, Kind, TaskTimes, Writer};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::panic::Location;
use std::sync::mpsc::channel;

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

fn findings(value: &Value) -> Vec<(&str, &str)> {
    let findings = value["findings"].as_array().unwrap();
    findings.iter().map(|one| (one["rule"].as_str().unwrap(), one["urgency"].as_str().unwrap())).collect()
}

/// A machine that is short of processor time is told as such by a rule of its own, which is no fault of the demo.
fn is_machines_own(rule: &str) -> bool {
    ["starved_of_cpu", "agent_late"].contains(&rule)
}

#[test]
fn a_block_is_found_with_its_site_and_a_remedy() {
    let scratch = Scratch::new("doctor-block");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "0"]);
    let done = scratch.run(&["doctor", &demo.pid(), "--for", "6s"]);
    assert_eq!(done.code, Some(4), "{}{}", done.stdout, done.stderr);
    for part in ["parse_invoices (", "trouble.rs:", "stall", "    fix: ", "confidence: certain", "LAG p99"] {
        assert!(done.stdout.contains(part), "`{part}` is not in {}", done.stdout);
    }
    assert!(done.stdout.lines().all(|line| line.chars().count() <= 110), "{}", done.stdout);
}

/// In its poll it has neither a stall nor lag, and its agent does not answer.
#[test]
fn a_process_that_is_stopped_is_told_as_that() {
    let scratch = Scratch::new("doctor-stopped");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    demo.address("metrics");
    demo.signal("STOP");
    let done = scratch.run(&["doctor", &demo.pid(), "--for", "1s", "--json"]);
    demo.signal("CONT");
    let value = json(&done);
    assert!(findings(&value).contains(&("stood_still", "critical")), "{value:#}");
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    let remedy = value["findings"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("kill -CONT {}", demo.pid())), "{remedy}");
}

#[test]
fn a_flood_is_told_from_a_block() {
    let scratch = Scratch::new("doctor-flood");
    let demo = Running::demo(&scratch, &["--trouble", "microtasks", "--rate", "0"]);
    let done = scratch.run(&["doctor", &demo.pid(), "--for", "6s", "--json"]);
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    let value = json(&done);
    assert!(findings(&value).iter().any(|(rule, _)| *rule == "microtask_flood"), "{value:#}");
    let flood =
        value["findings"].as_array().unwrap().iter().find(|one| one["rule"] == "microtask_flood").unwrap();
    assert!(flood["headline"].as_str().unwrap().contains("trouble.rs:"), "{flood:#}");
    assert_eq!((value["is_wrong"].as_bool(), value["pid"].to_string()), (Some(true), demo.pid()));
}

#[test]
fn a_loop_that_is_well_is_said_to_be_well() {
    let scratch = Scratch::new("doctor-well");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    let url = format!("http://{}", demo.address("metrics"));
    let value = json(&scratch.run(&["doctor", &url, "--for", "2s", "--json"]));
    let wrong: Vec<_> = findings(&value).into_iter().filter(|(rule, _)| !is_machines_own(rule)).collect();
    assert!(wrong.iter().all(|(_, urgency)| *urgency == "notice"), "{value:#}");
    assert_eq!(value["loops"].as_array().unwrap().len(), 1);
    assert!(value["rules"].as_array().unwrap().len() > 20);
    let done = scratch.run(&["doctor", &url.replace("127.0.0.1", "localhost"), "--for", "1s"]);
    if done.code == Some(0) {
        assert!(done.stdout.contains("nothing wrong"), "{}", done.stdout);
    }
    assert!(done.stdout.contains("web "), "{}", done.stdout);
}

/// More than the threshold that a page has at first.
const STALL_NS: u64 = 150_000_000;

/// Makes a loop of this name, whose agent has no incidents; whenever it is asked for them, the loop stalls.
fn loop_that_stalls_when_asked(scratch: &Scratch, name: &'static str) {
    let directory = scratch.runtime();
    let listener = UnixListener::bind(agent_socket(&directory, Owner::this_process())).unwrap();
    let (is_there, made) = channel();
    std::thread::spawn(move || {
        let mut writer = Writer::builder(name).clock(Clock::monotonic()).directory(&directory).build();
        let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
        writer.resume();
        writer.park();
        is_there.send(()).unwrap();
        for stream in listener.incoming() {
            let (mut stream, mut asked) = (stream.unwrap(), String::new());
            // Who only looks whether somebody listens asks nothing.
            if BufReader::new(&stream).read_line(&mut asked).unwrap_or(0) > 0 {
                writer.unpark(1);
                writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
                let since = writer.last();
                until(|| (writer.clock().ns_between(since, writer.clock().now()) > STALL_NS).then_some(()));
                writer.end();
                writer.park();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                let _ = write!(stream, "{head}Content-Length: 2\r\n\r\n[]");
            }
        }
    });
    made.recv().unwrap();
}

#[test]
fn the_watch_is_over_before_the_agent_is_asked_for_its_incidents() {
    let scratch = Scratch::new("doctor-asks");
    loop_that_stalls_when_asked(&scratch, "asked");
    let value = json(&scratch.run(&["doctor", &std::process::id().to_string(), "--for", "300ms", "--json"]));
    let own = value["loops"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "asked")
        .unwrap_or_else(|| panic!("{value:#}"));
    assert_eq!(own["stalls"], 0, "{value:#}");
    assert!(!findings(&value).iter().any(|(rule, _)| rule.starts_with("stalls")), "{value:#}");
}

#[test]
fn who_is_not_there_cannot_be_examined() {
    let scratch = Scratch::new("doctor-nobody");
    for (target, word) in
        [("4000001", "4000001"), ("http://127.0.0.1:9", "no process of this user on this machine")]
    {
        let done = scratch.run(&["doctor", target]);
        assert_eq!(done.code, Some(3), "{}", done.stderr);
        assert!(done.stderr.contains(word), "{}", done.stderr);
    }
}
