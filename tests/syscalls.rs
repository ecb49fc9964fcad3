//! The probe adds no system call to the loop's thread: the same work is traced with it and without it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, id};

/// System calls of the loop's thread between the two marks, by name.
type Calls = BTreeMap<String, usize>;

fn trace(mode: &str) -> Option<Calls> {
    let output: PathBuf = std::env::temp_dir().join(format!("loopscope-syscalls-{}-{mode}", id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&output).arg(env!("CARGO_BIN_EXE_workload")).arg(mode);
    let status = match strace.status() {
        Err(error) => {
            println!("skipped: system calls of a loop: strace does not run here ({error})");
            return None;
        }
        Ok(status) => status,
    };
    let text = std::fs::read_to_string(&output).unwrap_or_default();
    let _ = std::fs::remove_file(&output);
    if !status.success() && text.is_empty() {
        println!("skipped: system calls of a loop: this machine does not let strace trace");
        return None;
    }
    assert!(status.success(), "the workload failed");
    Some(between_marks(&text))
}

fn between_marks(text: &str) -> Calls {
    // The thread that makes the marks is the loop's.
    let mark = text.lines().find(|line| line.contains(" getppid(")).expect("the workload sets marks");
    let thread = mark.split_whitespace().next().expect("each line begins with a thread id");
    let mut calls = Calls::new();
    let own = text.lines().filter(|line| line.split_whitespace().next() == Some(thread));
    let inside = own
        .skip_while(|line| !line.contains(" getppid("))
        .skip(1)
        .take_while(|line| !line.contains(" getppid("));
    for line in inside {
        let call = line[thread.len()..].trim_start();
        // `<... read resumed>` is the second half of a call that was counted already.
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with('<')) {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

#[test]
fn probe_and_agent_add_no_system_call_but_the_wake_up() {
    let (Some(off), Some(on)) = (trace("off"), trace("on")) else { return };
    println!("off: {off:?}\non:  {on:?}");
    assert!(off.values().sum::<usize>() > 200, "the trace saw the work: {off:?}");
    for (name, count) in &on {
        match name.as_str() {
            // The ring that wakes a sleeping agent; the work is never idle for 100 ms, so once at most.
            "write" => assert!(count - off.get(name).copied().unwrap_or(0).min(*count) <= 1, "{on:?}"),
            // How often a loop polls depends on timing.
            "epoll_wait" | "epoll_pwait" => {}
            _ => assert_eq!(off.get(name), Some(count), "{name}: {on:?} against {off:?}"),
        }
    }
}
