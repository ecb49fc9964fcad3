//! Unusual ways to start, to end and to be loaded: nothing is told that did not happen, and nothing is left behind.

use crate::nodes::{run, run_with, versions};
use serde_json::Value;
use std::net::TcpListener;

#[test]
fn a_main_script_that_takes_a_second_is_no_incident() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "lives.cjs", &["slow-start"]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "slow\n"), "{what}");
        assert_eq!(ended.incidents, Vec::<Value>::new(), "{what}");
    }
}

/// Nothing of ours runs then, so its page stays; it says that the loop was idle, and `ls` leaves such a process out.
#[test]
fn a_process_that_a_signal_ends_while_it_waits_is_left_as_idle() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "lives.cjs", &["terminated-idle"]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (None, ""), "{what}");
        assert_eq!((ended.pages.len(), ended.busy_pages), (1, 0), "{what}");
        assert_eq!(ended.incidents, Vec::<Value>::new(), "{what}");
        let ended = run(&node, &[], "lives.cjs", &["terminated-gracefully"]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), ""), "{what}");
        assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
    }
}

#[test]
fn a_process_may_end_itself_in_its_hooks_and_in_a_listener_for_stalls() {
    for (version, node) in versions() {
        for (how, code, said) in [("exit-in-listener", 6, "stalled\n"), ("exit-in-before-exit", 4, "")] {
            let ended = run(&node, &[], "lives.cjs", &[how]);
            let what = format!("Node {version}, {how}: {}", ended.complained);
            assert_eq!((ended.code, &*ended.said), (Some(code), said), "{what}");
            assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
        }
    }
}

#[test]
fn another_copy_of_the_addon_has_all_that_the_first_had_once_that_has_ended() {
    for (version, node) in versions() {
        let ended = run(&node, &[], "lives.cjs", &["another-copy"]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "0\n"), "{what}");
        assert!(!ended.complained.contains("off, because"), "{what}");
        assert_eq!((ended.pages, ended.sockets), (Vec::new(), Vec::new()), "{what}");
    }
}

#[test]
fn a_fault_is_named_beside_nodes_own_profiler_and_with_frozen_intrinsics() {
    let own_profile = ["--cpu-prof", "--cpu-prof-name=own.cpuprofile"];
    for (version, node) in versions() {
        for flags in [&own_profile[..], &["--frozen-intrinsics"]] {
            let ended = run(&node, flags, "faults.cjs", &["spin"]);
            let what = format!("Node {version}, {flags:?}: {}", ended.complained);
            assert_eq!(ended.code, Some(0), "{what}");
            let guilty: Vec<String> = ended.incidents.iter().flat_map(crate::guilty).collect();
            assert!(guilty.iter().any(|name| name == "spin"), "{guilty:?} {what}");
        }
    }
}

#[test]
fn a_pause_by_a_debugger_is_told_as_that_and_what_blocks_after_it_as_the_programs() {
    let mut named = 0;
    for (version, node) in versions() {
        let ended = run(&node, &[], "debugger.cjs", &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!(ended.code, Some(0), "{what}");
        let is_pause = |incident: &&serde_json::Value| incident["class"] == "debugger";
        let (paused, others): (Vec<_>, Vec<_>) = ended.incidents.iter().partition(is_pause);
        assert_eq!((paused.len(), &paused[0]["culprit"]["label"]), (1, &"timers".into()), "{what}");
        let is_said = |line: &str| line.contains("a debugger stopped the process");
        assert!(ended.complained.lines().any(is_said), "{what}");
        assert!(others.iter().any(|incident| incident["culprit"]["label"] == "timers"), "{what}");
        named += usize::from(others.into_iter().flat_map(crate::guilty).any(|name| name == "spin"));
    }
    // On a machine that others use, too, it may be missed.
    assert!(named > 0 || versions().is_empty());
}

#[test]
fn a_process_whose_address_another_one_has_is_watched_without_it() {
    // As the second process of a cluster finds it.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (version, node) in versions() {
        let ended = run_with(&node, &[], "faults.cjs", &["spin"], &[("LOOPSCOPE_LISTEN", &address)]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!(ended.code, Some(0), "{what}");
        let why = format!("without metrics and live page: address {address} is in use");
        assert!(ended.complained.contains(&why), "{what}");
        let guilty: Vec<String> = ended.incidents.iter().flat_map(crate::guilty).collect();
        assert!(guilty.iter().any(|name| name == "spin"), "{guilty:?} {what}");
    }
}

#[test]
fn a_worker_that_listens_without_being_watched_ends_with_its_listener() {
    for (version, node) in versions() {
        // What the C library frees is written over: whoever uses it then finds no lock.
        let written_over = [("MALLOC_PERTURB_", "165")];
        let ended = run_with(&node, &[], "lives.cjs", &["listens-after-stop"], &written_over);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "told\n"), "{what}");
        assert!(!ended.incidents.is_empty(), "{what}");
    }
}

/// V8 told of the program's functions as it compiled them.
#[test]
fn in_a_large_heap_what_waits_for_native_code_is_named_without_going_through_the_heap() {
    let mut named = 0;
    for (version, node) in versions() {
        let ended = run(&node, &[], "large-heap.cjs", &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "true\n"), "{what}");
        assert!(!ended.incidents.is_empty(), "{what}");
        let names: Vec<String> = ended.incidents.iter().flat_map(crate::guilty).collect();
        println!("Node {version}: {names:?}");
        assert!(names.iter().all(|name| name == "parseBig"), "{names:?} {what}");
        assert!(ended.complained.matches("V8 would go through the heap").count() <= 1, "{what}");
        named += u32::from(!names.is_empty());
    }
    // On a machine that others use, too, it may be missed.
    assert!(named > 0 || versions().is_empty());
}

/// V8 tells of most of that on threads of its collector.
#[test]
fn code_that_the_collector_moved_is_named_and_as_nothing_else() {
    let flags = ["--expose-gc", "--compact-on-every-full-gc"];
    let mut named = 0;
    for (version, node) in versions() {
        let ended = run(&node, &flags, "large-heap.cjs", &[]);
        let what = format!("Node {version}: {}", ended.complained);
        assert_eq!((ended.code, &*ended.said), (Some(0), "true\n"), "{what}");
        let names: Vec<String> = ended.incidents.iter().flat_map(crate::guilty).collect();
        assert!(names.iter().all(|name| name == "parseBig"), "{names:?} {what}");
        println!("Node {version}: {names:?}");
        named += names.len();
    }
    assert!(named > 0 || versions().is_empty());
}
