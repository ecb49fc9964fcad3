//! `ls` shows every loop, also the blocked, the dead and the damaged.

use crate::child::{Running, until};
use crate::scratch::Scratch;
use loopscope_probe::Writer;
use loopscope_probe::raw::directory::{DEAD_PAGES, Owner, page_files};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn json(scratch: &Scratch) -> Vec<Value> {
    let done = scratch.run(&["ls", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let value: Value = serde_json::from_str(&done.stdout).unwrap();
    value["processes"].as_array().unwrap().clone()
}

#[test]
fn an_empty_list_says_what_to_do() {
    let scratch = Scratch::new("ls-empty");
    let done = scratch.run(&["ls"]);
    assert_eq!(done.code, Some(0));
    assert!(done.stdout.contains("loopscope demo"), "{}", done.stdout);
    assert!(json(&scratch).is_empty());
}

#[test]
fn pages_of_processes_that_were_killed_are_removed_beyond_a_number_and_those_of_the_living_never() {
    let scratch = Scratch::new("ls-killed");
    scratch.run(&["ls"]);
    let writer = Writer::builder("lives").directory(&scratch.runtime()).build();
    let own = page_files(&scratch.runtime()).unwrap().remove(0);
    let bytes = fs::read(&own.path).unwrap();
    // As if this process had been killed in another life.
    let Owner { pid, start } = own.owner;
    for number in 0..DEAD_PAGES + 8 {
        fs::write(
            scratch.runtime().join(format!("{pid}-{}-{number}.page", start + 1 + number as u64)),
            &bytes,
        )
        .unwrap();
    }
    let done = scratch.run(&["ls"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(page_files(&scratch.runtime()).unwrap().len(), DEAD_PAGES + 1);
    assert!(own.path.exists(), "it lives");
    drop(writer);
}

#[test]
fn a_running_demo_is_listed_with_both_loops_and_its_agent() {
    let scratch = Scratch::new("ls-demo");
    let mut demo = Running::demo(&scratch, &["--rate", "50"]);
    let agent = format!("http://{}", demo.address("metrics"));
    let process = until(|| json(&scratch).into_iter().find(|process| process["agent"] == agent.as_str()));
    assert_eq!(process["pid"].to_string(), demo.pid());
    assert_eq!(process["is_alive"], true);
    let names: Vec<&str> =
        process["loops"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web", "load"]);
    let table = scratch.run(&["ls"]).stdout;
    for part in ["PID", &demo.pid(), "web", "load", "mio", &agent] {
        assert!(table.contains(part), "`{part}` is not in {table}");
    }
}

#[test]
fn a_runtime_of_several_workers_is_one_line_and_each_is_shown_where_it_is_wanted() {
    let scratch = Scratch::new("ls-runtime");
    scratch.run(&["ls"]);
    let directory = scratch.runtime();
    let worker = |number: u32| {
        let builder = Writer::builder(&format!("api/{number}")).worker("api", number).directory(&directory);
        let mut writer = builder.build();
        writer.resume();
        writer.park();
        writer
    };
    let mut workers: Vec<Writer> = (0..3).map(worker).collect();
    let lines = |arguments: &[&str]| -> Vec<String> {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done.stdout.lines().map(str::to_owned).collect()
    };
    let table = lines(&["ls"]);
    assert!(
        table.len() == 2 && table[1].contains("api (3 workers)") && table[1].ends_with("idle"),
        "{table:?}"
    );
    workers[1].unpark(1);
    until(|| lines(&["ls"])[1].contains("STALLED").then_some(()));
    let table = lines(&["ls", "--workers"]).join("\n");
    for part in ["api (3 workers)", "worker 0", "worker 1: in ", "  worker 2"] {
        assert!(table.contains(part), "`{part}` is not in {table}");
    }
    let rows = json(&scratch)[0]["loops"].clone();
    let (rows, row) = (rows.as_array().unwrap().len(), &rows[0]);
    assert_eq!((rows, row["workers"].as_array().unwrap().len()), (1, 3));
    assert_eq!((row["worker"].as_u64(), row["state"]["kind"].as_str()), (Some(1), Some("stalled")));
    let top = lines(&["top", "--once", "--every", "100ms"]);
    assert!(top[1].contains("api x3") && top[1].contains("worker 1: "), "{top:?}");
    let all = scratch.run(&["incidents", "api", "--loop", "api", "--json"]).stdout;
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((all["found"].as_u64(), all["incidents"][0]["worker"].as_u64()), (Some(1), Some(1)), "{all}");
    let none = scratch.run(&["incidents", "api", "--loop", "api/2", "--json"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&none).unwrap()["found"], 0);
}

/// Collects the names of all fields.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| fields(value, names)),
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            fields(value, names);
        }),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let scratch = Scratch::new("ls-fields");
    let _demo = Running::demo(&scratch, &["--rate", "0"]);
    fs::write(scratch.runtime().join("9-1-0.page"), b"").unwrap();
    let view: Value = serde_json::from_str(&scratch.run(&["ls", "--json"]).stdout).unwrap();
    let mut names = BTreeSet::new();
    fields(&view, &mut names);
    // What the figures by phase, site, queue and pool have is told by their names.
    for process in view["processes"].as_array().unwrap() {
        for entry in process["loops"].as_array().unwrap() {
            for part in ["phases", "sites", "drains", "pool"] {
                let mut own = BTreeSet::new();
                fields(&entry[part], &mut own);
                names = &names - &own;
            }
        }
    }
    let document = include_str!("../../../../docs/json.md");
    let unknown: Vec<_> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(unknown.is_empty() && names.len() > 30, "{unknown:?}");
}

#[test]
fn a_blocked_loop_is_shown_as_stalled_with_the_guilty_site() {
    let scratch = Scratch::new("ls-stalled");
    let _demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "0"]);
    let site = until(|| {
        let processes = json(&scratch);
        let entry = processes.first()?["loops"].as_array()?.first()?.clone();
        (entry["state"]["kind"] == "stalled").then(|| entry["state"]["running"]["site"].clone())
    });
    assert_eq!(site["name"], "parse_invoices");
    assert!(site["file"].as_str().unwrap().ends_with("trouble.rs"), "{site}");
}

#[test]
fn a_killed_process_is_listed_as_ended() {
    let scratch = Scratch::new("ls-ended");
    let demo = Running::demo(&scratch, &["--rate", "0"]);
    let pid = demo.pid();
    demo.signal("KILL");
    demo.end();
    let table = scratch.run(&["ls"]).stdout;
    assert_eq!(
        table,
        "No instrumented process is running.\n1 process exited while idle; use --all to list it.\n"
    );
    let table = scratch.run(&["ls", "--all"]).stdout;
    let line = table.lines().find(|line| line.starts_with(&pid)).unwrap();
    assert!(line.contains("ended") && line.contains("last seen 20") && line.contains(" UTC"), "{line}");
    let done = scratch.run(&["flame", &pid]);
    assert_eq!(done.code, Some(3));
    assert!(done.stderr.contains("has exited"), "{}", done.stderr);
}

#[test]
fn pages_of_another_version_and_truncated_pages_are_told_as_such() {
    let scratch = Scratch::new("ls-damaged");
    let demo = Running::demo(&scratch, &["--rate", "0"]);
    let whole = until(|| fs::read(scratch.pages().first()?).ok());
    // The version is the second word of the page.
    let mut other = whole.clone();
    other[8..16].copy_from_slice(&99u64.to_ne_bytes());
    fs::write(scratch.runtime().join("7-1-0.page"), other).unwrap();
    fs::write(scratch.runtime().join("8-1-0.page"), &whole[..5000]).unwrap();
    fs::write(scratch.runtime().join("9-1-0.page"), b"").unwrap();
    fs::write(scratch.runtime().join("notes.txt"), b"not a page").unwrap();
    let table = scratch.run(&["ls"]).stdout;
    for (pid, reason) in [("7 ", "version 99"), ("8 ", "truncated"), ("9 ", "not a loopscope page")] {
        let line = table.lines().find(|line| line.starts_with(pid)).unwrap_or_else(|| panic!("{table}"));
        assert!(line.contains(reason), "{line}");
    }
    let living = table.lines().find(|line| line.starts_with(&demo.pid())).unwrap();
    assert!(living.contains("web"), "{living}");
    assert_eq!(json(&scratch).len(), 4);
}

#[test]
fn a_runtime_directory_that_cannot_be_read_is_named() {
    let scratch = Scratch::new("ls-directory");
    let file = scratch.work().join("a-file");
    fs::write(&file, "").unwrap();
    let output = scratch.command(&["ls"]).env("LOOPSCOPE_RUNTIME_DIR", &file).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(file.to_str().unwrap()), "{stderr}");
}

#[test]
fn the_directory_is_told_and_that_of_another_user_is_passed_over() {
    let scratch = Scratch::new("ls-whose");
    let done = scratch.run(&["ls"]);
    assert!(done.stdout.contains(scratch.runtime().to_str().unwrap()), "{}", done.stdout);
    let json: serde_json::Value = serde_json::from_str(&scratch.run(&["ls", "--json"]).stdout).unwrap();
    assert_eq!(json["directory"], scratch.runtime().to_str().unwrap());
    let done = scratch.run(&["flame"]);
    assert!(done.stderr.contains(scratch.runtime().to_str().unwrap()), "{}", done.stderr);

    // Nobody's: only root can make one of another user. Anybody else has those of root.
    let others = scratch.work().join("others");
    let is_root =
        fs::create_dir(&others).is_ok() && std::os::unix::fs::chown(&others, Some(65_534), None).is_ok();
    let others = if is_root { others } else { "/dev".into() };
    let output = scratch.command(&["ls"]).env("LOOPSCOPE_RUNTIME_DIR", &others).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let is_told =
        stderr.contains("LOOPSCOPE_RUNTIME_DIR is ignored") && stderr.contains(others.to_str().unwrap());
    assert!(output.status.success() && is_told, "{stderr}");
}
