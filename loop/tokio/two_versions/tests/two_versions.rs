//! Two versions of loopscope in one program, as a plugin or a library brings one: each watches what is its own, and neither harms the
//! other or the program.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Waiting for longer than this is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Computes until it is let go.
#[inline(never)]
fn compute_here(released: &AtomicBool) {
    let begun = Instant::now();
    while !released.load(Ordering::Relaxed) && begun.elapsed() < DEADLINE {
        std::hint::spin_loop();
    }
}

/// Sleeps until it is let go.
#[inline(never)]
fn sleep_here(released: &AtomicBool) {
    let begun = Instant::now();
    while !released.load(Ordering::Relaxed) && begun.elapsed() < DEADLINE {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    builder
}

/// Blocks the worker of a runtime in this function until it is let go.
fn block(runtime: &Runtime, act: fn(&AtomicBool)) -> Arc<AtomicBool> {
    let released = Arc::new(AtomicBool::new(false));
    let own = released.clone();
    runtime.spawn(async move { act(&own) });
    released
}

/// The names of this process's threads that are loopscope's.
fn threads() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("loopscope-")).collect()
}

/// The files of this process in the runtime directory, where the environment names one.
fn files() -> BTreeSet<PathBuf> {
    let Some(directory) = std::env::var_os("LOOPSCOPE_RUNTIME_DIR") else { return BTreeSet::new() };
    let own = format!("{}-", std::process::id());
    let is_own =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_own).collect()
}

/// Starts the agent of one version.
macro_rules! agent {
    ($version:ident) => {
        $version::Agent::builder()
            .thresholds(Duration::from_millis(40), Duration::from_secs(30))
            .reports_per_minute(10_000)
            .start()
            .unwrap()
    };
}

/// The functions that an agent found guilty, of one runtime.
macro_rules! guilty {
    ($agent:expr, $name:expr) => {{
        let of = $agent.incidents().into_iter().filter(|one| one.group == $name);
        of.flat_map(|one| one.stacks.clone())
            .filter_map(|stack| stack.guilty_frame().map(|frame| frame.function.clone()))
            .collect::<Vec<String>>()
    }};
}

/// An incident: the text of its loop's id, and its number.
type Told = BTreeSet<(String, u64)>;

/// What an agent told until now and is over.
macro_rules! told {
    ($agent:expr) => {{
        let over = $agent.incidents().into_iter().filter(|one| one.is_over);
        over.map(|one| (one.loop_id.to_string(), one.id.number())).collect::<Told>()
    }};
}

/// Runs the `loopscope` command, which is where the environment says. Returns its exit code and what it printed.
fn command(arguments: &[&str]) -> (Option<i32>, String) {
    let program = std::env::var_os("LOOPSCOPE_COMMAND").expect("it is set to the path of the built command");
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), if output.status.success() { text(&output.stdout) } else { text(&output.stderr) })
}

fn json(arguments: &[&str]) -> Value {
    let (code, printed) = command(arguments);
    assert!(code == Some(0), "{arguments:?}: {code:?} {printed}");
    serde_json::from_str(&printed).unwrap()
}

/// Lists the incidents of this process by the command. Returns them as their agents call them, each with the id that it has there.
fn listed() -> Vec<((String, u64), String)> {
    let pid = std::process::id().to_string();
    let list = json(&["incidents", &pid, "--json", "--last", "1000"]);
    let one = |incident: &Value| {
        let (loop_id, id) = (incident["loop_id"].as_str().unwrap(), incident["id"].as_str().unwrap());
        let number = id.split(['-', '.', '@']).nth(1).unwrap().parse().unwrap();
        ((loop_id.to_owned(), number), id.to_owned())
    };
    list["incidents"].as_array().unwrap().iter().map(one).collect()
}

/// Both agents are asked, and what they call alike is called differently.
fn the_command_tells_of_both(first: &Told, second: &Told) {
    let pid = std::process::id().to_string();
    let listed = listed();
    let ids: BTreeSet<&String> = listed.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), listed.len(), "{listed:?}");
    let id_of = |told: &(String, u64)| {
        let found = listed.iter().find(|(one, _)| one == told);
        found.unwrap_or_else(|| panic!("{told:?} is not in {listed:?}")).1.clone()
    };
    first.iter().chain(second).for_each(|told| _ = id_of(told));
    let is_in_both = |one: &&(String, u64)| second.iter().any(|other| other.1 == one.1);
    let one = first.iter().find(is_in_both).expect("both count from 1");
    let other = second.iter().find(|other| other.1 == one.1).unwrap();
    for told in [one, other] {
        let full = json(&["incidents", &id_of(told), "--json"]);
        assert_eq!((full["loop_id"].as_str(), full["source"].as_str()), (Some(&*told.0), Some("agent")));
    }
    let (code, said) = command(&["incidents", &format!("{pid}-{}", one.1)]);
    assert!(code == Some(2) && said.contains(&id_of(one)) && said.contains(&id_of(other)), "{code:?} {said}");
    let doctor = json(&["doctor", &pid, "--for", "200ms", "--json"]);
    let earlier = doctor["earlier_incidents"].as_array().unwrap();
    for told in [one, other] {
        assert!(earlier.iter().any(|id| id.as_str() == Some(&*id_of(told))), "{told:?}: {doctor:#}");
    }
    // Each agent is told of the loops that it watches, and of no others.
    let warnings = |told: &Value, group: &str| -> Vec<u64> {
        let loops = told["loops"].as_array().unwrap().iter().filter(|one| one["group"] == group);
        loops.map(|one| one["warning_ns"].as_u64().unwrap()).collect()
    };
    let changed = json(&["threshold", &pid, "--loop", "two", "--warning", "41ms", "--json"]);
    assert!(warnings(&changed, "two").iter().all(|ns| *ns == 41_000_000), "{changed:#}");
    let all = json(&["threshold", &pid, "--json"]);
    let is_all = |group: &str, ns: u64| {
        let told = warnings(&all, group);
        !told.is_empty() && told.iter().all(|told| *told == ns)
    };
    assert!(is_all("one", 40_000_000) && is_all("two", 41_000_000), "{all:#}");
}

#[test]
fn each_version_tells_what_blocks_its_own_runtimes_and_both_end_without_a_trace() {
    let (first, second) = (agent!(own_agent), agent!(other_agent));
    assert!(first.url().is_some() && first.url() != second.url(), "{:?} {:?}", first.url(), second.url());
    // One by each version; one that both attach to; one that the one builds and the other attaches to.
    let (one, two, both) =
        (builder().build().unwrap(), builder().build().unwrap(), builder().build().unwrap());
    let built = own::build(&mut builder(), "built").unwrap();
    let watches = (own::attach(one.handle(), "one"), own::attach(both.handle(), "both"));
    let other_watches = (
        other::attach(two.handle(), "two"),
        other::attach(both.handle(), "both"),
        other::attach(built.handle(), "built"),
    );
    // What is wrapped by the other version runs, too.
    let wrapped = one.spawn(other::probed(own::probed(async { 7 })));
    assert_eq!(one.block_on(wrapped).unwrap(), 7);
    for (act, function) in [(compute_here as fn(&AtomicBool), "compute_here"), (sleep_here, "sleep_here")] {
        let told = |guilty: Vec<String>| guilty.iter().any(|name| name.contains(function));
        for (runtime, name, by) in [
            (&one, "one", [true, false]),
            (&two, "two", [false, true]),
            (&both, "both", [true, true]),
            (&built, "built", [true, true]),
        ] {
            let is_told = || !(by[0] && !told(guilty!(first, name)) || by[1] && !told(guilty!(second, name)));
            // Who attached may not have met the worker yet, and has no stack of it then: it is blocked anew.
            until(&format!("{function} in {name}"), || {
                let (released, begun) = (block(runtime, act), Instant::now());
                while !is_told() && begun.elapsed() < Duration::from_secs(2) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                released.store(true, Ordering::Relaxed);
                is_told()
            });
            let is_over = runtime.spawn(async {});
            until("the end of the block", || is_over.is_finished());
        }
    }
    assert!(guilty!(first, "two").is_empty() && guilty!(second, "one").is_empty());
    let all_told = (told!(first), told!(second));
    the_command_tells_of_both(&all_told.0, &all_told.1);
    assert!(std::env::var_os("LOOPSCOPE_RUNTIME_DIR").is_none() || files().len() > 8, "{:?}", files());
    drop((watches, other_watches));
    drop((one, two, both, built));
    drop(first);
    assert!(!threads().is_empty(), "the second agent goes on");
    let third = agent!(own_agent);
    drop((second, third));
    until("the end of all threads", || threads().is_empty());
    until("the end of all files", || files().is_empty());
    // What was kept for after the process, by either. The newest stay.
    let kept = listed();
    for all in [&all_told.0, &all_told.1] {
        let newest = all.iter().max_by_key(|told| told.1).unwrap();
        assert!(kept.iter().any(|(told, _)| told == newest), "{newest:?} is not in {kept:?}");
    }
}

#[test]
fn a_runtime_of_another_tokio_is_not_watched_and_says_so() {
    let mut old = old_tokio::runtime::Builder::new();
    let mut old = old.threaded_scheduler().core_threads(1).enable_all().build().unwrap();
    let started = old.block_on(async { own::start("old").map(drop) });
    assert!(matches!(started, Err(own::StartError::OutsideRuntime)), "{started:?}");
    let wrapped = old.spawn(own::probed(async {
        old_tokio::time::delay_for(Duration::from_millis(1)).await;
        7
    }));
    assert_eq!(old.block_on(wrapped).unwrap(), 7);
}
