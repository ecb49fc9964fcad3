//! `serve` tells of every process of the host: those that live, those that were killed, and what it cannot read.

use crate::child::{Running, get, until};
use crate::scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

/// Starts a server; returns it and its `host:port`.
fn serve(scratch: &Scratch, arguments: &[&str]) -> (Running, String) {
    let mut serve = Running::start(scratch, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
    let address = serve.address("metrics");
    (serve, address)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn json(address: &str, path: &str) -> Value {
    let answer = get(address, path);
    serde_json::from_str(body(&answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Returns the value of the series whose labels are those of this process and loop, and begin so.
fn of_loop(page: &str, family: &str, pid: &str, name: &str) -> Option<f64> {
    let (pid, name) = (format!("{{pid=\"{pid}\","), format!(",loop=\"{name}\""));
    let line = page.lines().find(|line| {
        line.strip_prefix(family).is_some_and(|rest| rest.starts_with(&pid) && rest.contains(&name))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Returns the value of a series that is written so.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

const ITERATIONS: &str = "loopscope_loop_iterations_total";

#[test]
fn two_processes_are_one_page_that_promtool_accepts() {
    let scratch = Scratch::new("serve-two");
    let (mut one, mut two) =
        (Running::demo(&scratch, &["--rate", "50"]), Running::demo(&scratch, &["--trouble", "block"]));
    let (_serve, address) = serve(&scratch, &[]);
    let page = until(|| {
        let page = get(&address, "/metrics");
        let is_told = |pid: &str| of_loop(&page, ITERATIONS, pid, "web") > Some(20.0);
        let causes = format!(
            "loopscope_starvation_total{{pid=\"{}\",name=\"loopscope\",runtime=\"mio\",loop=\"web\",cause=\"callback\"}}",
            two.pid()
        );
        (is_told(&one.pid()) && is_told(&two.pid()) && value(&page, &causes) > Some(0.0)).then_some(page)
    });
    assert_eq!(value(&page, "loopscope_host_processes{state=\"alive\"}"), Some(2.0));
    let without: Vec<&str> = body(&page)
        .lines()
        .filter(|line| !line.starts_with('#') && (line.contains("loop=\"") || line.contains("pool=\"")))
        .filter(|line| !["pid=\"", "name=\"", "runtime=\""].iter().all(|label| line.contains(label)))
        .collect();
    assert!(without.is_empty(), "{without:#?}");
    assert!(!page.contains("loopscope_incidents_total"), "pages do not tell how many incidents there were");
    lint(body(&page));
    let targets = json(&address, "/sd");
    let mut expected = vec![
        (format!("\"{}\"", one.pid()), one.address("metrics")),
        (format!("\"{}\"", two.pid()), two.address("metrics")),
    ];
    expected.sort();
    let mut found: Vec<(String, String)> = targets
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            assert_eq!(group["labels"]["name"], "loopscope", "{group}");
            assert_eq!(group["labels"]["__meta_loopscope_loops"], ",web,load,", "{group}");
            (group["labels"]["pid"].to_string(), group["targets"][0].as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

fn lint(page: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped in part: promtool on the host's page: install the package prometheus");
            return;
        }
        spawned => spawned.unwrap(),
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}

/// Kills a demo in the middle of a block. Returns its pid, `None` where its page tells of no incident.
fn kill_blocked(scratch: &Scratch, address: &str) -> Option<String> {
    let demo = Running::demo(scratch, &["--trouble", "block", "--rate", "20"]);
    let pid = demo.pid();
    let stalled = || of_loop(&get(address, "/metrics"), "loopscope_loop_stall_seconds", &pid, "web");
    until(|| {
        stalled().filter(|seconds| *seconds > 0.15)?;
        demo.signal("STOP");
        // It may have ended before the signal came; a stopped process does not move on.
        let is_caught = stalled() > Some(0.15);
        demo.signal(if is_caught { "KILL" } else { "CONT" });
        is_caught.then_some(())
    });
    demo.end();
    // Where its agent had not looked in between, its page does not tell for how long it was blocked: that is a quiet end.
    let told: Value = serde_json::from_str(&scratch.run(&["incidents", &pid, "--json"]).stdout).unwrap();
    let incidents = told["incidents"].as_array().unwrap();
    incidents.iter().any(|incident| incident["pid"] == pid.parse::<u32>().unwrap()).then_some(pid)
}

#[test]
fn what_was_killed_leaves_its_counters_for_a_while_and_its_incident() {
    let scratch = Scratch::new("serve-killed");
    let mut alive = Running::demo(&scratch, &["--rate", "50"]);
    let (_serve, address) = serve(&scratch, &["--keep", "2s"]);
    let pid = until(|| kill_blocked(&scratch, &address));
    // It is no loop now: that it ended is seen at the next look at the directory.
    let page = until(|| {
        let page = get(&address, "/metrics");
        of_loop(&page, "loopscope_loop_stall_seconds", &pid, "web").is_none().then_some(page)
    });
    assert!(value(&page, "loopscope_host_processes{state=\"ended\"}") >= Some(1.0), "{page}");
    assert!(of_loop(&page, ITERATIONS, &pid, "web") > Some(0.0), "its last counters are there");
    until(|| of_loop(&get(&address, "/metrics"), ITERATIONS, &pid, "web").is_none().then_some(()));
    assert!(of_loop(&get(&address, "/metrics"), ITERATIONS, &alive.pid(), "web").is_some());
    let list = json(&address, "/debug/loopscope/incidents");
    let own = list
        .as_array()
        .unwrap()
        .iter()
        .find(|incident| incident["pid"] == pid.parse::<u32>().unwrap() && incident["loop"] == "web");
    let own = own.unwrap_or_else(|| panic!("no incident of {pid} in {list:#}"));
    let id = own["id"].as_str().unwrap();
    assert_eq!(
        (&own["is_over"], &own["culprit"]["name"]),
        (&Value::Bool(false), &Value::from("parse_invoices"))
    );
    let full = json(&address, &format!("/debug/loopscope/incidents/{id}"));
    assert!(!full["records"].as_array().unwrap().is_empty(), "{full:#}");
    let svg = get(&address, &format!("/process/{pid}/debug/loopscope/incidents/{id}?format=svg"));
    assert!(svg.starts_with("HTTP/1.1 200") && svg.contains("parse_invoices"), "{svg}");
    // Who comes later is told the same.
    let (_late, address) = serve(&scratch, &[]);
    let list = json(&address, &format!("/process/{pid}/debug/loopscope/incidents"));
    assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &Value::from(id)));
    assert!(of_loop(&get(&address, "/metrics"), ITERATIONS, &pid, "web").is_none());
    alive.address("metrics");
}

#[test]
fn captures_are_handed_to_the_agent_of_the_process() {
    let scratch = Scratch::new("serve-forward");
    let (one, two) = (Running::demo(&scratch, &[]), Running::demo(&scratch, &["--rate", "0"]));
    let (_serve, address) = serve(&scratch, &[]);
    let flame = |query: &str| get(&address, &format!("/debug/loopscope/flamegraph?{query}"));
    let drawn = flame(&format!("seconds=1&format=folded&pid={}", one.pid()));
    assert!(drawn.starts_with("HTTP/1.1 200") && drawn.contains("web;poll;"), "{drawn}");
    assert!(drawn.contains(&format!("filename=\"loopscope-{}-callbacks.folded\"", one.pid())), "{drawn}");
    let several = flame("seconds=1");
    assert!(several.starts_with("HTTP/1.1 400") && several.contains(&two.pid()), "{several}");
    assert!(flame("pid=1&seconds=1").starts_with("HTTP/1.1 404"));
    let refused = flame(&format!("pid={}&seconds=0", one.pid()));
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("parameter seconds"), "{refused}");
    let view = json(&address, "/debug/loopscope/live");
    let processes = view["processes"].as_array().unwrap();
    let base = format!("process/{}/debug/loopscope", two.pid());
    assert!(processes.iter().any(|process| process["base"] == base.as_str()), "{view:#}");
    assert_eq!(processes.len(), 2);
    let listed = get(&address, &format!("/process/{}/debug/loopscope/thresholds", two.pid()));
    assert!(listed.starts_with("HTTP/1.1 200") && listed.contains("warning_ns"), "{listed}");
    let pprof = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code} %{content_type}"])
        .arg(format!("http://{address}/debug/pprof/profile?seconds=1&pid={}", one.pid()))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&pprof.stdout), "200 application/octet-stream");
}

#[test]
fn what_cannot_be_read_is_said_once_counted_and_taken_again_when_it_can() {
    let scratch = Scratch::new("serve-damaged");
    let demo = Running::demo(&scratch, &["--rate", "20"]);
    let (mut serve, address) = serve(&scratch, &[]);
    let pid = demo.pid();
    let is_told = || of_loop(&get(&address, "/metrics"), ITERATIONS, &pid, "web").is_some();
    let skipped = |reason: &str| {
        let page = get(&address, "/metrics");
        value(&page, &format!("loopscope_host_pages_skipped_total{{reason=\"{reason}\"}}")).unwrap()
    };
    until(|| is_told().then_some(()));
    let mut paths = scratch.pages();
    paths.sort();
    let web = fs::OpenOptions::new().write(true).open(&paths[0]).unwrap();
    // The version is the second word of the page.
    web.write_all_at(&99u64.to_ne_bytes(), 8).unwrap();
    until(|| (!is_told()).then_some(()));
    let said = serve.error_with("page version 99");
    assert!(said.contains(paths[0].to_str().unwrap()) && said.contains("skipped"), "{said}");
    assert_eq!(skipped("version"), 1.0);
    // Files in the name of a living process that are no pages, and what is no file at all.
    let name = paths[0].file_stem().unwrap().to_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
    let named = |number: u32| scratch.runtime().join(format!("{name}-{number}.page"));
    fs::write(named(700), vec![0xa5; 600_000]).unwrap();
    fs::write(named(701), &fs::read(&paths[1]).unwrap()[..5_000]).unwrap();
    assert!(Command::new("mkfifo").arg(named(702)).status().unwrap().success());
    until(|| (skipped("damaged") == 3.0).then_some(()));
    assert_eq!(skipped("version"), 1.0, "once");
    web.write_all_at(&loopscope_probe::raw::page::VERSION.to_ne_bytes(), 8).unwrap();
    until(|| is_told().then_some(()));
    drop(demo);
    serve.signal("TERM");
    let (code, _, stderr) = serve.end();
    assert_eq!((code, stderr.matches("page version 99").count()), (Some(0), 1), "{stderr}");
    assert_eq!(stderr.matches("skipped").count(), 4, "{stderr}");
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let scratch = Scratch::new("serve-port");
    let (_serve, address) = serve(&scratch, &[]);
    let done = scratch.run(&["serve", "--listen", &address]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains(&address) && done.stderr.contains("--listen"), "{}", done.stderr);
    let empty = get(&address, "/");
    assert!(empty.contains("No instrumented process") && empty.contains("/sd"), "{empty}");
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404"));
    let page = get(&address, "/live");
    assert!(page.contains("content-type: text/html") && page.contains("page/main.js"), "{page}");
    assert!(get(&address, "/page/main.js").starts_with("HTTP/1.1 200"));
    assert_eq!(json(&address, "/sd"), serde_json::json!([]));
}
