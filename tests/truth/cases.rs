//! The cases: what each program does, and what must and must not be told of it.

use super::checks::{Faults, Watched, loop_of, own_findings};
use super::displays::Displays;
use super::program::{Program, Truth};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

type Case = fn(&Displays, &mut Faults);

/// All of them.
pub const ALL: [(&str, Case); 9] = [
    ("idle", idle),
    ("work", work),
    ("stall", stall),
    ("flood", flood),
    ("pool", pool),
    ("stopped", stopped),
    ("ended while idle", ended),
    ("killed in a callback", killed),
    ("twins", twins),
];

fn watched<'a>(displays: &'a Displays, program: &'a Program, label: &'a str) -> Watched<'a> {
    Watched { displays, program, number: 0, label }
}

/// A loop without trouble: no incident, and no finding.
fn is_well(loops: Watched<'_>, faults: &mut Faults) {
    loops.metrics(faults);
    loops.lists(&["idle", "running"], faults);
    let (incidents, findings) = (loops.incidents(0), loops.findings());
    faults.check(incidents.is_empty(), || format!("incidents {incidents:#?}"));
    faults.check(findings.is_empty(), || format!("findings {findings:#?}"));
}

fn idle(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("idle");
    is_well(watched(displays, &program, "idle"), faults);
}

fn work(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("work");
    let loops = watched(displays, &program, "work");
    is_well(loops, faults);
    let (before, stacks, after) = flame(loops, "callbacks", false);
    let calm_ns = time_below(&stacks, "calm");
    let most_ns = after.of("thread_ns") - before.of("thread_ns");
    faults.within("flame: time of calm", Some(calm_ns), 1.0, most_ns);
    faults.within("flame: time of guilty", Some(time_below(&stacks, "guilty")), 0.0, 0.0);
}

fn stall(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("stall");
    let loops = watched(displays, &program, "stall");
    program.act_once();
    loops.metrics(faults);
    loops.lists(&["idle", "running"], faults);
    only_guilty(&loops.incidents(1), 1, "stall", faults);
    let text = displays.text(&["top", "--once", "--every", "100ms"]);
    let row = text.lines().find(|line| line.starts_with(&program.pid.to_string()));
    faults.check(row.is_some_and(|row| !row.contains("STALLED")), || format!("top of what is over: {text}"));
    let (before, stacks, after) = flame(loops, "callbacks", true);
    let longest_ns = after.of("guilty.longest_ns");
    let outside_ns = (after.of("most_ns") - before.of("most_ns")) - stacks.lasted_ns;
    let least_ns = after.of("guilty.ns") - before.of("guilty.ns") - outside_ns - 2.0 * longest_ns;
    let most_ns = after.of("thread_ns") - before.of("thread_ns") + longest_ns;
    faults.within("flame: time of guilty", Some(time_below(&stacks, "guilty")), least_ns, most_ns);
    // The doctor watches while it happens.
    let told =
        during(&program, || displays.json(&["doctor", &program.pid.to_string(), "--json", "--for", "3s"]));
    accuses("blocked", "guilty", &told, faults);
    loops.metrics(faults);
}

fn flood(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("flood");
    let loops = watched(displays, &program, "flood");
    program.act_once();
    loops.metrics(faults);
    loops.lists(&["idle", "running"], faults);
    let incidents = loops.incidents(1);
    let wrong = |one: &&Value| (&one["kind"], &one["cause"]) != (&"starvation".into(), &"microtask".into());
    let all = incidents.iter().filter(|one| !wrong(one)).count();
    faults.check(all == 1 && incidents.len() == 1, || format!("incidents {incidents:#?}"));
    if let Some(group) = incidents.first().map(|one| &one["groups"][0]) {
        let (told, truth) = (group["count"].as_f64(), loops.tell());
        // Those that the recorder forgot are shared out, with the callbacks between them.
        let (drained, others) = (truth.of("microtasks"), truth.of("calm.begun") + 1.0);
        faults.within("incident: microtasks", told, drained - others, drained + others);
        let parent = group["parent"].as_str().unwrap_or_default();
        faults.check(parent.starts_with("guilty ("), || format!("incident: parent {parent}"));
    }
    let (before, stacks, after) = flame(loops, "cpu", true);
    let calm_ns = time_below(&stacks, "calm");
    // Of each of its few samples, and of the time before it that had none.
    let most_ns = after.of("calm.ns") - before.of("calm.ns") + time_below(&stacks, "") / 10.0;
    faults.within("flame: time below calm", Some(calm_ns), 0.0, most_ns);
    let told =
        during(&program, || displays.json(&["doctor", &program.pid.to_string(), "--json", "--for", "3s"]));
    accuses("microtask_flood", "one_of_many", &told, faults);
    loops.metrics(faults);
}

fn pool(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("pool");
    let loops = watched(displays, &program, "pool");
    program.act();
    program.until(|now| now[0].of("jobs.begun") >= 4.0 && now[0].of("guilty.ended") > 0.0);
    loops.metrics(faults);
    let held = |name: &str, faults: &mut Faults, expected: [u64; 3]| {
        for (display, _, process) in displays.processes(program.pid) {
            let pool = loop_of(&process, "pool").unwrap_or_default()["pool"].clone();
            let told = ["threads", "busy", "queued"].map(|field| pool[field].as_u64());
            let is_right = told == expected.map(Some) && (pool["saturated_ns"] != 0) == (expected[1] == 4);
            faults.check(is_right, || format!("{name} pool in {display}: {pool}"));
        }
    };
    held("full", faults, [4, 4, 8]);
    let findings = loops.findings();
    let is_of_pool = |one: &Value| one["rule"].as_str().unwrap().starts_with("pool_");
    faults
        .check(!findings.is_empty() && findings.iter().all(is_of_pool), || format!("findings {findings:#?}"));
    program.release();
    program.until(|now| now[0].of("delivered") >= 12.0);
    loops.metrics(faults);
    held("empty", faults, [4, 0, 0]);
    let incidents = loops.incidents(1);
    let is_one = incidents.len() == 1 && incidents[0]["kind"] == "pool";
    faults.check(is_one, || format!("incidents {incidents:#?}"));
    let findings = loops.findings();
    faults.check(findings.is_empty(), || format!("findings when it is over {findings:#?}"));
}

/// Nobody's code is blamed for a signal.
fn stopped(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("work");
    program.until(|now| now[0].of("calm.ended") > 20.0);
    program.stop();
    for (display, _, process) in displays.processes(program.pid) {
        let state = loop_of(&process, "work").unwrap_or_default()["state"].clone();
        faults.check(state["kind"] == "stopped", || format!("state in {display}: {state}"));
    }
    let text = displays.text(&["ls"]);
    let row = text.lines().find(|line| line.starts_with(&program.pid.to_string())).unwrap_or_default();
    faults.check(row.contains("stopped") && !row.contains("STALLED"), || format!("ls: {text}"));
    program.signal("-CONT");
    program.until(|now| now[0].of("calm.ended") > 21.0);
    let incidents = watched(displays, &program, "work").incidents(0);
    faults.check(incidents.is_empty(), || format!("incidents of a stop {incidents:#?}"));
}

fn ended(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("stall");
    let loops = watched(displays, &program, "stall");
    program.act_once();
    only_guilty(&loops.incidents(1), 1, "stall", faults);
    let calm = program.tell()[0].of("calm.ended");
    program.until(|now| now[0].of("calm.ended") > calm);
    // Its callback comes every 20 ms and has just been counted: the loop polls soon.
    std::thread::sleep(std::time::Duration::from_millis(5));
    program.kill();
    let pid = program.pid.to_string();
    are_ended(displays, &program, "stall", faults);
    let (some, all) = (displays.text(&["ls"]), displays.text(&["ls", "--all"]));
    let is_listed = |text: &str| text.lines().any(|line| line.starts_with(&pid));
    faults.check(!is_listed(&some) && some.contains("exited while idle"), || format!("ls: {some}"));
    faults.check(is_listed(&all) && all.contains("ended: was idle"), || format!("ls --all: {all}"));
    only_guilty(&loops.incidents(1), 1, "stall", faults);
}

fn killed(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("hold");
    program.act();
    while program.tell()[0].of("guilty.begun") < 1.0 {
        thread::yield_now();
    }
    program.kill();
    let pid = program.pid.to_string();
    are_ended(displays, &program, "hold", faults);
    let text = displays.text(&["ls"]);
    let row = text.lines().find(|line| line.starts_with(&pid)).unwrap_or_default();
    faults.check(row.contains("was running timer guilty ("), || format!("ls: {text}"));
}

/// Only the second is guilty.
fn twins(displays: &Displays, faults: &mut Faults) {
    let program = displays.start("twins");
    program.act_once();
    let first = watched(displays, &program, "twin");
    let second = Watched { number: 1, label: "twin#2", ..first };
    for loops in [first, second] {
        loops.metrics(faults);
        loops.lists(&["idle", "running"], faults);
    }
    only_guilty(&second.incidents(1), 1, "twin#2", faults);
    let told =
        during(&program, || displays.json(&["doctor", &program.pid.to_string(), "--json", "--for", "3s"]));
    let findings = own_findings(&told);
    accuses("blocked", "guilty", &told, faults);
    let is_second = findings.iter().all(|one| one["loop"] == "twin#2");
    faults.check(is_second, || format!("the first twin is accused: {findings:#?}"));
    let (_, stacks, _) = flame(second, "callbacks", true);
    let of_first = stacks.lines.iter().filter(|(stack, _)| stack.starts_with("twin;"));
    let of_first: Vec<_> = of_first.filter(|(stack, _)| stack.contains("guilty")).collect();
    faults.check(of_first.is_empty(), || format!("flame: {of_first:?}"));
    let names = tracks(second);
    let expected = ["loop twin", "loop twin#2"];
    faults.check(names == expected, || format!("timeline: {expected:?} expected: {names:?}"));
}

/// Returns the names of the loops in a timeline of the process, the pools' threads left out.
fn tracks(loops: Watched<'_>) -> Vec<String> {
    let pid = loops.program.pid.to_string();
    let path = loops.displays.runtime.join(format!("{pid}.trace.json"));
    let path = path.to_str().unwrap();
    let draw = ["flame", &pid, "--format", "trace", "--for", "1s", "-o", path];
    during(loops.program, || loops.displays.text(&draw));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let events = file["traceEvents"].as_array().unwrap().iter();
    let names = events.filter(|event| event["name"] == "thread_name");
    let names = names.filter_map(|event| event["args"]["name"].as_str().map(str::to_owned));
    names.filter(|name| !name.contains("pool")).collect()
}

/// Each list says that the loop has ended.
fn are_ended(displays: &Displays, program: &Program, label: &str, faults: &mut Faults) {
    // The server looks at processes once a second.
    let deadline = std::time::Instant::now() + super::program::DEADLINE;
    let mut wrong = vec!["never looked at".to_owned()];
    while !wrong.is_empty() && std::time::Instant::now() < deadline {
        wrong.clear();
        for (display, _, process) in displays.processes(program.pid) {
            let state = loop_of(&process, label).unwrap_or_default()["state"].clone();
            if process["is_alive"] != false || state["kind"] != "ended" {
                wrong.push(format!("{display}: alive {}, {state}", process["is_alive"]));
            }
        }
    }
    faults.0.extend(wrong);
}

/// There are so many incidents, and all are of the callback `guilty` of this loop.
fn only_guilty(incidents: &[Value], count: usize, label: &str, faults: &mut Faults) {
    let is_right = |one: &Value| {
        let (kind, class) = (one["kind"].as_str(), one["class"].as_str());
        one["culprit"]["name"] == "guilty"
            && one["loop"] == label
            && (kind, class) == (Some("stall"), Some("computing"))
    };
    let are_right = incidents.len() == count && incidents.iter().all(is_right);
    faults.check(are_right, || format!("{count} incidents of guilty expected: {incidents:#?}"));
}

/// A rule names the guilty function, and nothing else is accused of anything.
fn accuses(rule: &str, guilty: &str, told: &Value, faults: &mut Faults) {
    let findings = own_findings(told);
    let is_right = |one: &Value| one["rule"] == rule && one["headline"].as_str().unwrap().contains(guilty);
    let may_be = |one: &Value| is_right(one) && !one.to_string().contains("calm");
    // On a machine with other work it may be that which is told.
    let is_starved = told["findings"].as_array().unwrap().iter().any(|one| one["rule"] == "starved_of_cpu");
    let are_right = (is_starved || findings.iter().any(is_right)) && findings.iter().all(may_be);
    faults.check(are_right, || format!("{rule} of {guilty} expected: {findings:#?}"));
}

/// Runs something while the program does what its case is about, again and again.
fn during<T>(program: &Program, run: impl FnOnce() -> T) -> T {
    struct SetAtEnd<'a>(&'a AtomicBool);
    impl Drop for SetAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                program.act_once();
            }
        });
        let _end = SetAtEnd(&is_over);
        run()
    })
}

/// Stacks of a flamegraph, with their time in nanoseconds.
struct Stacks {
    lines: Vec<(String, f64)>,
    lasted_ns: f64,
}

/// Draws a flamegraph; with what the loop measured before and after. Where it `acts`, it does meanwhile what its case is
/// about.
fn flame(loops: Watched<'_>, of: &str, acts: bool) -> (Truth, Stacks, Truth) {
    let pid = loops.program.pid.to_string();
    let file = loops.displays.runtime.join(format!("{pid}.folded"));
    let path = file.to_str().unwrap();
    let before = loops.tell();
    let draw = || {
        let what = ["--of", of, "--for", "2s", "--format", "folded", "-o", path, "--json"];
        loops.displays.json(&[&["flame", &pid], &what[..]].concat())
    };
    let told = if acts { during(loops.program, draw) } else { draw() };
    let after = loops.tell();
    let text = std::fs::read_to_string(&file).unwrap();
    let line = |line: &str| {
        let (stack, us) = line.rsplit_once(' ').unwrap();
        (stack.to_owned(), us.parse::<f64>().unwrap() * 1e3)
    };
    let lasted_ns = told["seconds"].as_f64().unwrap() * 1e9;
    (before, Stacks { lines: text.lines().map(line).collect(), lasted_ns }, after)
}

/// Sums up the stacks with a frame that has this in it.
fn time_below(stacks: &Stacks, frame: &str) -> f64 {
    stacks.lines.iter().filter(|(stack, _)| stack.contains(frame)).map(|(_, ns)| ns).sum()
}
