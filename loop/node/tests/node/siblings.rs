//! A function that blocks in native code, and another one right after it: an interrupt is answered in the second.

use crate::guilty;
use crate::nodes::{run, versions};

/// Each way to block, and the function that does. On a machine that others use, too, it may be missed, but another one is not named.
const WAYS: [&str; 7] = ["parses", "parsesInLoop", "waits", "evaluated", "reads", "collects", "waitsInIo"];

/// Those that sleep: their stack is read while it stands still, so that each is found.
const SLEEPS: [&str; 4] = ["waits", "evaluated", "reads", "waitsInIo"];

/// In a heap that V8 is not to go through, of functions of which it told nothing.
#[test]
fn in_a_large_heap_that_is_watched_late_what_blocks_is_named_while_it_lasts_and_nothing_else_is() {
    let mut wrong = Vec::new();
    for way in ["parses", "sorts", "reads", "waits"] {
        let (mut named, mut while_it_lasted) = (0, 0);
        for (version, node) in versions() {
            let ended = run(&node, &[], "siblings.cjs", &[way, "late"]);
            let what = format!("Node {version}, {way}: {}", ended.complained);
            assert_eq!((ended.code, &*ended.said), (Some(0), "done\n"), "{what}");
            assert!(!ended.incidents.is_empty(), "{what}");
            let names: Vec<String> = ended.incidents.iter().flat_map(guilty).collect();
            let is_of_now = |line: &str| line.contains("WARN") && line.contains(&format!(" {way} ("));
            println!("Node {version}, {way}: {names:?}");
            if names.iter().any(|name| name != way) {
                wrong.push(format!("{names:?} {what}"));
            }
            named += usize::from(names.iter().any(|name| name == way));
            while_it_lasted += usize::from(ended.complained.lines().any(is_of_now));
        }
        println!("{way}: named in {named}, in {while_it_lasted} of them while it lasted");
        assert!(while_it_lasted > 0 || versions().is_empty(), "{way} is never named while it lasts");
        let is_whole = named == versions().len() && while_it_lasted == named;
        assert!(
            is_whole || !SLEEPS.contains(&way),
            "{way} is named in {named} only, {while_it_lasted} at once"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_function_that_runs_after_what_has_blocked_is_never_named() {
    let mut wrong = Vec::new();
    for way in WAYS {
        let mut named = 0;
        for (version, node) in versions() {
            let ended = run(&node, &[], "siblings.cjs", &[way]);
            let what = format!("Node {version}, {way}: {}", ended.complained);
            assert_eq!((ended.code, &*ended.said), (Some(0), "done\n"), "{what}");
            assert!(!ended.incidents.is_empty(), "{what}");
            let names: Vec<String> = ended.incidents.iter().flat_map(guilty).collect();
            println!("Node {version}, {way}: {names:?}");
            if names.iter().any(|name| name != way) {
                wrong.push(format!("{names:?} {what}"));
            }
            named += usize::from(names.iter().any(|name| name == way));
        }
        // V8 does not tell of such code, so nobody knows it.
        println!("{way}: named in {named}");
        assert!(named > 0 || way == "parsesInLoop" || versions().is_empty(), "{way} is never named");
        assert!(named == versions().len() || !SLEEPS.contains(&way), "{way} is named in {named} only");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
