//! On real Node.js, all five versions: planted faults are found and named, and no program ends in another way than without us.

#[path = "node/batches.rs"]
mod batches;
#[path = "node/frameworks.rs"]
mod frameworks;
#[path = "node/jobs.rs"]
mod jobs;
#[path = "node/metrics.rs"]
mod metrics;
mod nodes;
#[path = "node/parity.rs"]
mod parity;
#[path = "node/pool.rs"]
mod pool;
#[path = "node/siblings.rs"]
mod siblings;
#[path = "node/start.rs"]
mod start;
#[path = "node/unusual.rs"]
mod unusual;
#[path = "node/workers.rs"]
mod workers;

use nodes::{Ended, addon, index, run, run_with, versions};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Each fault, what is told as what keeps the loop busy, and the function of the program that is guilty, or either of two.
const FAULTS: [(&str, &str, &str); 12] = [
    ("spin", "fault spin", "spin"),
    ("json", "fault json", "parseBig"),
    ("pbkdf2", "fault pbkdf2", "hash"),
    ("regex", "fault regex", "backtrack"),
    ("microtasks", "microtask queue", "recur"),
    ("ticks", "nextTick queue", "again"),
    ("immediates", "immediates", "small"),
    ("sort", "fault sort", "sortHuge|bySize"),
    ("gc", "fault gc", "thrash"),
    ("timers", "timers", "slow"),
    ("exec", "fault exec", "execute"),
    ("fifo", "fault fifo", "readFifo"),
];

/// How many of the guilty functions may be missed on a machine that others use, too: V8 has no frames while it collects, and a
/// flood may be captured between two of its jobs.
const MISSED_MAX: usize = 4;

fn guilty(incident: &Value) -> Vec<String> {
    let stacks = incident["stacks"].as_array().cloned().unwrap_or_default();
    let name = |stack: &Value| {
        let frame = &stack["frames"][stack["guilty"].as_u64()? as usize];
        Some(frame["function"].as_str()?.to_owned())
    };
    stacks.iter().filter_map(name).collect()
}

/// Checks the incidents of some faults; returns those whose guilty function was in no stack.
fn check(version: &str, faults: &[(&str, &str, &str)], ended: &Ended) -> Vec<String> {
    assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
    assert!(!ended.complained.contains("off, because"), "Node {version}: {}", ended.complained);
    assert_eq!(ended.pages, Vec::<String>::new(), "Node {version}");
    let label = |incident: &Value| incident["culprit"]["label"].as_str().unwrap_or_default().to_owned();
    let labels: Vec<String> = ended.incidents.iter().map(label).collect();
    assert!(!labels.iter().any(|label| label == "main script"), "Node {version}: {labels:?}");
    let mut missed = Vec::new();
    for (fault, culprit, function) in faults {
        let of_it: Vec<&Value> =
            ended.incidents.iter().filter(|incident| label(incident) == *culprit).collect();
        assert!(!of_it.is_empty(), "Node {version}: no incident of {fault}: {labels:?}");
        let names: Vec<String> = of_it.iter().flat_map(|incident| guilty(incident)).collect();
        if !names.iter().any(|name| function.split('|').any(|function| function == name)) {
            missed.push(format!("{fault}: {names:?}"));
        }
    }
    missed
}

#[test]
fn planted_faults_are_incidents_and_name_the_guilty_function() {
    for (version, node) in versions() {
        let mut missed = Vec::new();
        // Of ten incidents a minute stacks are captured.
        for faults in FAULTS.chunks(6) {
            let names: Vec<&str> = faults.iter().map(|(name, ..)| *name).collect();
            let ended = run(&node, &[], "faults.cjs", &names);
            missed.extend(check(version, faults, &ended));
            let counts: Value = serde_json::from_str(ended.said.trim()).unwrap();
            assert_eq!(counts["unnamed"], 0, "Node {version}");
        }
        println!("Node {version}: missed {missed:?}");
        assert!(missed.len() <= MISSED_MAX, "Node {version}: {missed:?}");
    }
}

#[test]
fn programs_end_as_they_do_without_us_and_leave_no_page() {
    let cases = [
        ("workers", Some(0), "gone\n"),
        ("exit", Some(7), "exit hook\n"),
        ("exit-in-hook", Some(5), "hook\n"),
        ("caught", Some(0), "on purpose\ngoes on\n"),
        ("rejected", Some(3), "nobody cares\n"),
        ("terminated", Some(0), "terminated\n"),
        ("short", Some(0), "short\n"),
        ("frozen-process", Some(0), "frozen\n"),
        ("throw", Some(1), ""),
        ("twice", Some(0), "twice\n"),
        ("stop", Some(0), "stopped and started\n"),
        ("same-turn", Some(0), "same turn\n"),
        ("older-addon", Some(0), "undefined 0\n"),
    ];
    for (version, node) in versions() {
        for (how, code, said) in cases {
            let ended = run(&node, &[], "lives.cjs", &[how]);
            let what = format!("Node {version}, {how}: {}", ended.complained);
            assert_eq!((ended.code, ended.said.as_str()), (code, said), "{what}");
            assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        }
        let profiled =
            run(&node, &["--cpu-prof", "--cpu-prof-name=own.cpuprofile"], "lives.cjs", &["profiled"]);
        assert_eq!(
            (profiled.code, &*profiled.said),
            (Some(0), "profiled\n"),
            "Node {version}: {}",
            profiled.complained
        );
        let frozen = run(&node, &["--frozen-intrinsics"], "lives.cjs", &["exit"]);
        assert_eq!(frozen.code, Some(7), "Node {version}: {}", frozen.complained);
    }
}

#[test]
fn signals_while_a_loop_waits_are_no_stall() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "lives.cjs", &["signals"]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "signals\n"), "{what}");
        assert_eq!(ended.incidents, Vec::<Value>::new(), "{what}");
    }
}

#[test]
fn processes_that_end_at_once_leave_no_socket_file() {
    for (version, node) in versions() {
        for _ in 0..5 {
            let ended = run_with(&node, &[], "lives.cjs", &["short"], &[("LOOPSCOPE_LISTEN", "127.0.0.1:0")]);
            assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
            assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "Node {version}");
        }
    }
}

/// A module is evaluated after polls: in Node 18 and 20 always, in later ones where it waits at its top level.
#[test]
fn a_main_module_that_is_evaluated_late_is_no_stall() {
    for (version, node) in versions() {
        for how in ["at once", "after await"] {
            let ended = run(&node, &[], "module.mjs", &[how]);
            let what = format!("Node {version}, {how}: {}", ended.complained);
            assert_eq!((ended.code, &*ended.said), (Some(0), "evaluated\n"), "{what}");
            let labels: Vec<&str> =
                ended.incidents.iter().filter_map(|incident| incident["culprit"]["label"].as_str()).collect();
            let is_timers = !labels.is_empty() && labels.iter().all(|label| *label == "timers");
            assert!(is_timers, "what blocks later is a stall, and nothing else: {labels:?}: {what}");
        }
    }
}

/// A drain is named only where V8 was interrupted at once, which a busy machine may not allow: so not each, but none wrongly.
#[test]
fn a_programs_own_context_names_what_blocks() {
    let mut named = 0;
    for (version, node) in versions() {
        let ended = run(&node, &[], "context.cjs", &[]);
        assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
        let labels =
            ended.incidents.iter().map(|incident| incident["culprit"]["label"].as_str().unwrap_or_default());
        let labels: Vec<&str> = labels.collect();
        assert_eq!(labels.len(), 2, "Node {version}: {}", ended.complained);
        for (label, context) in labels.into_iter().zip(["checkout", "search"]) {
            assert!([context, "microtask queue"].contains(&label), "Node {version}: {label} in {context}");
            named += u32::from(label == context);
        }
    }
    assert!(named > 0 || versions().is_empty());
}

/// What is asked while a loop is blocked is asked at any place of the program's code.
#[test]
fn no_code_of_the_programs_runs_because_loopscope_asks_what_blocks() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "hostile.cjs", &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "[]\n"), "{what}");
        assert!(ended.incidents.len() >= 4, "{what}");
        let labels = ended.incidents.iter().filter_map(|incident| incident["culprit"]["label"].as_str());
        assert!(!labels.clone().any(|label| label == "wrong"), "{what}");
    }
}

/// Checks that all places in this folder are those of what the script was compiled from.
fn check_lines(ended: &Ended, folder: &str, what: &str) {
    assert_eq!(ended.code, Some(0), "{what}: {}", ended.complained);
    let stacks = ended.incidents.iter().filter_map(|incident| incident["stacks"].as_array());
    let frames = stacks.flatten().filter_map(|stack| stack["frames"].as_array()).flatten();
    let places: Vec<(&str, u64)> = frames
        .filter_map(|frame| Some((frame["file"].as_str()?, frame["line"].as_u64()?)))
        .filter(|(file, _)| file.contains(folder))
        .collect();
    assert!(!places.is_empty(), "{what}: {}", ended.complained);
    for (file, line) in places {
        assert!(file.ends_with(&format!("{folder}/src/app.ts")), "{what}: {file}");
        // The functions are at lines 7 and 11 of it, and the one that calls them at 18.
        assert!((7..=18).contains(&line), "{what}: line {line}");
    }
}

#[test]
fn lines_of_compiled_scripts_are_those_of_what_was_written() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "compiled/app.js", &[]);
        check_lines(&ended, "programs/compiled", &format!("Node {version}"));
    }
}

/// A module's name is a URL, which has other characters than the path.
#[test]
fn lines_of_compiled_modules_are_those_of_what_was_written_under_any_path() {
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/compiled");
    let parent = std::env::temp_dir().join(format!("loopscope-compiled-{}", std::process::id()));
    let folder = parent.join("sp ace é");
    std::fs::create_dir_all(&folder).unwrap();
    let module = folder.join("app.mjs");
    std::fs::copy(compiled.join("app.js"), &module).unwrap();
    std::fs::copy(compiled.join("app.js.map"), folder.join("app.js.map")).unwrap();
    for (version, node) in versions() {
        let ended = run(&node, &[], module.to_str().unwrap(), &[]);
        check_lines(&ended, "sp ace é", &format!("Node {version}"));
    }
    std::fs::remove_dir_all(parent).unwrap();
}

/// Of what waits for native code V8 tells the function, and no line that runs.
#[test]
fn a_line_at_which_a_function_begins_is_told_as_such() {
    let (mut begins, mut runs) = (0, 0);
    for (version, node) in versions() {
        let ended = run(&node, &[], "begins.cjs", &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!(ended.code, Some(0), "{what}");
        let stacks = ended.incidents.iter().filter_map(|incident| incident["stacks"].as_array());
        let frames = stacks.flatten().filter_map(|stack| stack["frames"].as_array()).flatten();
        for frame in frames {
            let first = match frame["function"].as_str() {
                Some("parseBig") => 5,
                Some("spin") => 12,
                _ => continue,
            };
            let is_first = frame["line"] == first;
            assert_eq!(frame["is_function_start"].as_bool().unwrap_or(false), is_first, "{frame} {what}");
            *(if is_first { &mut begins } else { &mut runs }) += 1;
        }
        for line in ended.complained.lines().filter(|line| line.contains("begins.cjs:")) {
            // Node 18 tells no column of it.
            let is_first =
                ["5:", "5)", "12:", "12)"].iter().any(|first| line.contains(&format!("begins.cjs:{first}")));
            assert_eq!(line.contains("(begins at "), is_first, "{line}");
        }
    }
    assert!(begins > 0 && runs > 0 || versions().is_empty(), "{begins} {runs}");
}

#[test]
fn names_come_again_after_a_trace_of_the_programs_own() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "lives.cjs", &["trace"]);
        assert_eq!(ended.code, Some(0), "Node {version}: {}", ended.complained);
        let labels: Vec<&str> =
            ended.incidents.iter().filter_map(|incident| incident["culprit"]["label"].as_str()).collect();
        assert!(labels.contains(&"HTTP request"), "Node {version}: {labels:?}");
    }
}

#[test]
fn other_runtimes_and_old_versions_are_refused_before_anything_is_loaded() {
    let Some((_, node)) = versions().pop() else { return };
    let pretend = |name: &str, value: &str| {
        let program = format!(
            "Object.defineProperty(process, 'versions', {{ value: {{ ...process.versions, {name}: '{value}' }} }}); \
             const loopscope = require({:?}); loopscope.start(); console.log(JSON.stringify(loopscope.url()))",
            index().display().to_string()
        );
        let output =
            Command::new(&node).args(["-e", &program]).env("LOOPSCOPE_NODE_ADDON", addon()).output().unwrap();
        assert_eq!(output.stdout, b"\"\"\n");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(pretend("bun", "1.2.3").starts_with("loopscope: off, because this is Bun 1.2.3"));
    assert!(pretend("deno", "2.0.0").contains("this is Deno"));
    assert!(pretend("node", "16.20.0").contains("needs 18 or later"));
}

#[test]
fn the_package_for_this_c_library_is_named() {
    let Some((_, node)) = versions().pop() else { return };
    for (mapped, library) in [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "glibc"),
        ("/lib/ld-musl-aarch64.so.1", "musl"),
        ("/usr/lib/x86_64-linux-musl/libc.so", "musl"),
    ] {
        let program = format!(
            "const fs = require('fs'); const read = fs.readFileSync; \
             fs.readFileSync = (file, ...rest) => file === '/proc/self/maps' ? '7f0-7f1 r-xp 0 {mapped}\\n' : read(file, ...rest); \
             require({:?}).start();",
            index().display().to_string()
        );
        let output =
            Command::new(&node).args(["-e", &program]).env_remove("LOOPSCOPE_NODE_ADDON").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("-{library} is not installed: npm install loopscope-")),
            "{mapped}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn stalls_are_told_on_standard_error_unless_that_is_turned_off() {
    let Some((_, node)) = versions().pop() else { return };
    let program = format!(
        "require({:?}).start(); \
         setTimeout(() => {{ const end = Date.now() + 500; while (Date.now() < end); setTimeout(() => {{}}, 300); }}, 300);",
        index().display().to_string()
    );
    for (value, is_told) in [("", true), ("on", true), ("off", false), ("0", false)] {
        let mut command = Command::new(&node);
        command.args(["-e", &program]).env("LOOPSCOPE_NODE_ADDON", addon()).env("LOOPSCOPE_LISTEN", "off");
        let output = command.env("LOOPSCOPE_STDERR", value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("blocked for"), is_told, "LOOPSCOPE_STDERR={value}: {said}");
    }
}

#[test]
fn a_process_that_may_load_no_addons_goes_on_without_us() {
    for (version, node) in versions() {
        if version < "24" {
            continue;
        }
        let ended = run(&node, &["--permission", "--allow-fs-read=*"], "lives.cjs", &["exit"]);
        assert_eq!(ended.code, Some(7), "Node {version}: {}", ended.complained);
        assert!(ended.complained.contains("may not load addons"), "Node {version}: {}", ended.complained);
    }
}
