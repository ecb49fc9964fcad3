//! What went wrong is told by agents, by files, and by the pages of the dead.

use crate::child::{Running, until};
use crate::scratch::{Done, Scratch};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

fn value(done: &Done) -> Value {
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

/// Stops a demo in the middle of a block and kills it there; `None` where its agent had not looked meanwhile.
fn kill_in_the_middle(scratch: &Scratch) -> Option<String> {
    let demo = Running::demo(scratch, &["--trouble", "block", "--rate", "20"]);
    let pid = demo.pid();
    let stalled_for = || {
        let processes = value(&scratch.run(&["ls", "--json"]));
        let processes = processes["processes"].as_array().unwrap().clone();
        let own = processes.iter().find(|process| process["pid"].as_u64() == pid.parse().ok())?;
        let web = own["loops"].as_array()?.iter().find(|entry| entry["name"] == "web")?;
        let state = &web["state"];
        state["busy_ns"].as_f64().map(|ns| ns / 1e9).filter(|_| state["kind"] == "stalled")
    };
    until(|| {
        stalled_for().filter(|seconds| *seconds > 0.15)?;
        demo.signal("STOP");
        // It may have ended before the signal came; a stopped process does not move on.
        let is_caught = stalled_for().is_some();
        demo.signal(if is_caught { "KILL" } else { "CONT" });
        is_caught.then_some(())
    });
    demo.end();
    let found = value(&scratch.run(&["incidents", &pid, "--json"]));
    (!found["incidents"].as_array().unwrap().is_empty()).then_some(pid)
}

#[test]
fn a_process_killed_in_the_middle_of_a_block_still_tells() {
    let scratch = Scratch::new("incidents-killed");
    let pid = until(|| kill_in_the_middle(&scratch));
    let table = scratch.run(&["ls"]).stdout;
    let line = table.lines().find(|line| line.starts_with(&pid) && line.contains(" web ")).unwrap();
    assert!(line.contains("was running timer parse_invoices (") && line.contains(", inside "), "{line}");
    assert!(table.contains(&format!("see: loopscope incidents {pid}\n")), "{table}");
    let list = scratch.run(&["incidents", &pid]);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    let listed = value(&scratch.run(&["incidents", &pid, "--json"]));
    let id = listed["incidents"][0]["id"].as_str().unwrap();
    assert!(id.strip_prefix(&format!("{pid}-")).is_some_and(|number| number.parse::<u64>().is_ok()), "{id}");
    for part in [id.to_owned(), "killed".into(), "timer parse_invoices (trouble.rs:".into()] {
        assert!(list.stdout.contains(&part), "`{part}` is not in {}", list.stdout);
    }
    let full = scratch.run(&["incidents", &pid, "last"]);
    for part in [
        "had not polled for ",
        "1 callback of ",
        "phase     timers",
        "inside    parse_invoices (",
        "Last callbacks",
        "timer parse_invoices (",
        "reconstructed from the page of the killed process",
    ] {
        assert!(full.stdout.contains(part), "`{part}` is not in {}", full.stdout);
    }
    let told = value(&scratch.run(&["incidents", id, "--json"]));
    assert_eq!(
        (&told["source"], &told["is_over"], &told["culprit"]["name"]),
        (&json!("page"), &json!(false), &json!("parse_invoices"))
    );
    assert!(told["duration_ns"].as_u64().unwrap() >= 100_000_000, "{told:#}");
    // What is examined must live.
    let doctor = scratch.run(&["doctor", &pid]);
    assert_eq!(doctor.code, Some(3));
    assert!(doctor.stderr.contains(&format!("loopscope incidents {pid}")), "{}", doctor.stderr);
}

fn incident(number: u64, begin_s: u64) -> Value {
    json!({
        "id": format!("4711-{number}"),
        "pid": 4711,
        "process": "demo",
        "loop": "web",
        "begin_unix_ns": begin_s * 1_000_000_000,
        "duration_ns": 302_000_000,
        "is_over": true,
        "threshold_ns": 100_000_000,
        "class": "computing",
        "summary": "1 callback of 302 ms",
        "culprit": { "kind": "timer", "label": "flush (src/x.rs:40)", "name": "flush", "file": "src/x.rs", "line": 40 },
        "records": [{ "start_ns": 0, "run_ns": 302_000_000, "kind": "timer", "phase": "timers", "site": "flush (src/x.rs:40)" }],
    })
}

#[test]
fn a_directory_of_files_is_read_and_what_is_no_incident_is_said() {
    let scratch = Scratch::new("incidents-files");
    let directory = scratch.work().join("kept");
    fs::create_dir(&directory).unwrap();
    for (name, text) in [
        ("4711-1.json", incident(1, 1_000).to_string()),
        ("4711-2.json", incident(2, 2_000).to_string()),
        ("4711-3.json", incident(3, 3_000).to_string()[..100].to_owned()),
        ("notes.txt", "not one".to_owned()),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    let kept = directory.to_str().unwrap();
    let list = scratch.run(&["incidents", "--dir", kept]);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert!(lines[1].starts_with("4711-2 ") && lines[2].starts_with("4711-1 "), "{}", list.stdout);
    assert!(lines[3].contains("4711-3.json skipped"), "{}", list.stdout);
    let full = scratch.run(&["incidents", "4711-1", "--dir", kept, "--trace", "one.json"]);
    assert_eq!(full.code, Some(0), "{}", full.stderr);
    assert!(full.stdout.contains("1970-01-01 00:16:40.000 UTC"), "{}", full.stdout);
    let trace: Value = serde_json::from_str(&scratch.read("one.json")).unwrap();
    assert!(trace["traceEvents"].as_array().is_some_and(|events| !events.is_empty()), "{trace}");
    for (arguments, code, part) in [
        (&["incidents", "--dir", kept, "4711", "9"][..], 3, "no incident `9`; there are:\n  4711-2"),
        (&["incidents", "--dir", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        (&["incidents", "--dir", kept, "--trace", "all.json"], 2, "--trace takes one incident"),
    ] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
    assert_eq!(value(&scratch.run(&["incidents", "--dir", kept, "--json", "--last", "1"]))["found"], 2);
    let all = value(&scratch.run(&["incidents", "--dir", kept, "--json"]));
    let group = &all["summary"][0];
    assert_eq!(
        (&group["loop"], &group["site"], &group["count"]),
        (&json!("web"), &json!("flush (src/x.rs:40)"), &json!(2))
    );
    let headline = all["incidents"][0]["headline"].as_str().unwrap();
    assert_eq!(headline, "web (demo 4711), 302 ms: timer flush (x.rs:40): 1 callback of 302 ms");
    for (filter, found) in [
        (&["--class", "computing"][..], 2),
        (&["--class", "waiting"], 0),
        (&["--loop", "web"], 2),
        (&["--loop", "load"], 0),
        // Those of 1970 are older.
        (&["--since", "1h"], 0),
    ] {
        let done = scratch.run(&[&["incidents", "--dir", kept, "--json"], filter].concat());
        assert_eq!(value(&done)["found"], found, "{filter:?}");
    }
    assert!(scratch.run(&["incidents", "--dir", kept, "nobody"]).stdout.starts_with("No incidents."));
}

/// Answers as an agent with two incidents would, until the test ends; returns its URL.
fn agent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 2048]);
            let length = stream.read(&mut request).unwrap();
            let line =
                String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            let (status, body) = match line.split(' ').nth(1).unwrap_or_default() {
                "/debug/loopscope/incidents" => {
                    ("200 OK", json!([incident(2, 2_000), incident(1, 1_000)]).to_string())
                }
                "/debug/loopscope/incidents/4711-2" => {
                    let mut full = incident(2, 2_000);
                    full["stacks"] = json!([{ "count": 3, "guilty": 0, "frames": [{ "function": "app::sum", "file": "src/app.rs", "line": 61 }] }]);
                    ("200 OK", full.to_string())
                }
                _ => ("404 Not Found", "there is no such incident".to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn an_agent_is_asked_for_the_list_and_for_the_stacks_of_one() {
    let (scratch, url) = (Scratch::new("incidents-agent"), agent());
    let list = scratch.run(&["incidents", &url]);
    assert!(
        list.stdout.lines().nth(1).unwrap().ends_with("timer flush (x.rs:40): 1 callback of 302 ms"),
        "{}",
        list.stdout
    );
    let full = scratch.run(&["incidents", &url, "2"]);
    assert!(full.stdout.contains("  > app::sum  src/app.rs:61"), "{}{}", full.stdout, full.stderr);
    let gone = scratch.run(&["incidents", &url, "1"]);
    assert_eq!(gone.code, Some(3), "{}", gone.stderr);
    let nobody = scratch.run(&["incidents", "http://127.0.0.1:9"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("connection refused"), "{}", nobody.stderr);
}

#[test]
fn where_nothing_runs_there_is_nothing() {
    let scratch = Scratch::new("incidents-none");
    let done = scratch.run(&["incidents"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "No incidents.\n"));
    assert_eq!(scratch.run(&["incidents", "4000001"]).code, Some(3));
}
