//! Entries for no resource, outside of any scope and among immediates: which of them are ticks.

use crate::replay::{Played, replay};
use crate::{START, records, snapshot};
use loopscope_probe::Queue;

/// A promise of a file is resolved, and its drain has queued a tick.
const PROMISE: &str = "150 trace b FSREQPROMISE 7 0\n200 enter\n= 0\n= 7\n300 left\n310 trace B RunMicrotasks 0 0\n\
                       400 trace E RunMicrotasks 0 2\n410 enter\n= 0\n";
/// Checkpoints are told.
const CHECKPOINTS: &str = "9000000 checkpoint\n";

#[test]
fn ticks_after_what_is_called_outside_of_any_scope_are_a_drain_from_the_first_on() {
    let drain = "700 trace B RunMicrotasks 0 0\n= 0\n720 trace E RunMicrotasks 0 1\n720 checkpoint\n730 left\n740 check\n";
    let played = replay(&format!("{START}{PROMISE}{drain}"));
    assert_eq!(
        records(&played)[1..],
        [
            "poll work_done fs.promises 100",
            "poll microtask microtask queue 90",
            "poll tick nextTick queue 290",
            "poll microtask microtask queue 20"
        ]
    );
    let ticks = &snapshot(&played).drain[Queue::NextTick.index()];
    assert_eq!((ticks.count(), ticks.sum_ns), (1, 290));
    // Right while they run, and where the entry comes after an addon's callback, which has no name.
    let unfinished = replay(&format!("{START}{PROMISE}{CHECKPOINTS}"));
    assert_eq!(records(&unfinished)[3], "poll tick nextTick queue 8999590");
    let addon = "200 enter\n= 0\n= 4711\n300 left\n310 enter\n= 0\n500 checkpoint\n510 left\n";
    let told = records(&replay(&format!("{START}{addon}")));
    assert_eq!(told[1..], ["poll other unnamed 100", "poll tick nextTick queue 190"]);
}

#[test]
fn an_object_that_node_makes_after_a_promise_is_no_tick() {
    let played = replay(&format!("{START}{PROMISE}450 left\n{CHECKPOINTS}"));
    assert_eq!(records(&played)[3], "poll other Node itself 40");
    assert_eq!(snapshot(&played).drain[Queue::NextTick.index()].count(), 0);
}

/// As after the end of a worker, whose scope is closed before.
#[test]
fn an_entry_for_nobody_is_one_of_ticks_once_that_is_known() {
    let entry = |events: &str| {
        let played = replay(&format!("{START}200 enter\n= 0\n= 0\n{events}{CHECKPOINTS}"));
        (records(&played)[1].clone(), snapshot(&played).drain[Queue::NextTick.index()].count())
    };
    let ticks = |ns: u32| (format!("poll tick nextTick queue {ns}"), 1);
    let node = |ns: u32| (format!("poll other Node itself {ns}"), 0);
    assert_eq!(entry("500 checkpoint\n510 left\n"), ticks(300));
    assert_eq!(entry("510 left\n"), node(310));
    // Interrupted in a tick, which is a resource, and in a callback of the program's that is none.
    assert_eq!(entry("400 blocks\n= 12\n500 checkpoint\n510 left\n"), ticks(300));
    assert_eq!(entry("400 blocks\n= 0\n510 left\n"), node(310));
    assert_eq!(entry("400 blocks\n= 12\n510 left\n"), node(310), "what has entered a resource itself");
    // A tick that throws, and a finalizer.
    assert_eq!(entry("400 threw\n= 12\n510 left\n"), ticks(310));
    assert_eq!(entry("400 threw\n= 0\n510 left\n"), node(310));
    // A name of the program's.
    assert_eq!(entry("400 label mine\n= 12\n510 checkpoint\n520 left\n").0, "poll tick mine 310");
    assert_eq!(entry("400 label mine\n= 0\n510 left\n"), ("poll other mine 310".to_owned(), 0));
    let after = format!("{START}{PROMISE}420 label mine\n= 0\n450 left\n{CHECKPOINTS}");
    assert_eq!(records(&replay(&after))[3], "poll other mine 40");
}

/// A check phase of these entries, each with its begin, what happens in it, and its end.
fn check(entries: &[(u32, &str, u32)]) -> Played {
    let entry = |&(at, what, end): &(u32, &str, u32)| format!("{at} enter\n= 0\n{what}{end} left\n");
    let entries: String = entries.iter().map(entry).collect();
    replay(&format!("{START}200 check\n= 0\n200 immediates\n{entries}9000000 checked\n{CHECKPOINTS}"))
}

/// Two destroy hooks, the program's immediates, and Node's own use of its list; then the same with ticks.
#[test]
fn of_immediates_of_nodes_own_no_ticks_are_made() {
    let ticks = |played: &Played| snapshot(played).drain[Queue::NextTick.index()].count();
    let hooks = [(200, "", 300), (300, "", 400), (400, "", 5_000_400), (5_000_400, "", 5_000_500)];
    let played = check(&hooks);
    let immediate = |ns: u32| format!("check immediate immediates {ns}");
    assert_eq!((&records(&played)[1..], ticks(&played)), (&[immediate(100), immediate(5_000_000)][..], 0));
    let mut all = hooks.to_vec();
    all.push((5_000_500, "5000700 checkpoint\n", 5_000_710));
    let played = check(&all);
    assert_eq!(records(&played).last().unwrap(), "check tick nextTick queue 200");
    assert_eq!(ticks(&played), 1);
}

#[test]
fn a_second_entry_of_immediates_that_blocks_is_the_programs_where_a_resource_is_entered() {
    let played =
        check(&[(200, "", 300), (300, "4000000 blocks\n= 12\n", 5_000_300), (5_000_300, "", 5_000_400)]);
    assert_eq!(
        records(&played)[1..],
        ["check immediate immediates 100", "check immediate immediates 5000000"]
    );
    // Node's own use of its list, which waits for a processor.
    let played = check(&[(200, "", 300), (300, "4000000 blocks\n= 0\n", 5_000_300)]);
    assert_eq!(records(&played)[1..], ["check immediate immediates 100"]);
}

/// The end of a worker: an object is made, then comes the callback, then its ticks.
#[test]
fn ticks_of_an_immediate_of_nodes_own_are_not_lost() {
    let worker =
        "250 left\n250 trace b WORKER_CALLBACK 7 0\n250 enter\n300 left\n300 trace e WORKER_CALLBACK 7 0\n";
    let events = format!(
        "200 check\n= 0\n200 immediates\n200 enter\n= 0\n{worker}300 enter\n= 0\n5000300 left\n5000310 checked\n{CHECKPOINTS}"
    );
    let told = records(&replay(&format!("{START}{events}")));
    let expected =
        ["check immediate immediates 50", "check async worker 50", "check immediate immediates 5000000"];
    assert_eq!(told[1..], expected);
    // The same where a tick has queued a promise.
    let drain = "5000300 trace B RunMicrotasks 0 0\n5000350 trace E RunMicrotasks 0 1\n5000400 left\n";
    let told = records(&replay(&format!("{START}{}", events.replace("5000300 left\n", drain))));
    assert_eq!(told[1..4], expected);
    assert_eq!(told[4..], ["check microtask microtask queue 50"]);
}

/// A destroy hook, the end of a worker with its ticks, and the program's immediates with theirs.
#[test]
fn immediates_of_nodes_own_that_it_tells_are_none_of_the_programs() {
    let natives = "200 trace X RunAndClearNativeImmediates 0 0\n200 enter\n= 0\n300 left\n\
                   310 trace b WORKER_CALLBACK 7 0\n310 enter\n400 left\n400 trace e WORKER_CALLBACK 7 0\n\
                   410 enter\n= 0\n500 checkpoint\n510 left\n520 ends RunAndClearNativeImmediates\n";
    let immediates = "600 enter\n5000600 left\n5000610 enter\n5000620 left\n5000630 enter\n5000800 checkpoint\n5000810 left\n";
    let turn = format!(
        "200 check\n= 0\n200 trace X CheckImmediate 0 0\n{natives}{immediates}5000820 ends CheckImmediate\n5000830 checked\n"
    );
    let played = replay(&format!("{START}{turn}{CHECKPOINTS}"));
    assert_eq!(
        records(&played)[1..],
        [
            "check other Node itself 100",
            "check async worker 90",
            "check tick nextTick queue 90",
            "check immediate immediates 5000100",
            "check tick nextTick queue 180"
        ]
    );
    // What comes after them in another turn is as ever.
    let later = "8000000 poll\n= 1\n8000100 check\n= 0\n8000100 trace X CheckImmediate 0 0\n8000100 enter\n8000200 left\n\
                 8000300 ends CheckImmediate\n8000300 checked\n";
    let told = records(&replay(&format!("{START}{turn}{later}{CHECKPOINTS}")));
    assert_eq!(told.last().unwrap(), "check immediate immediates 100");
}

#[test]
fn an_exception_in_an_immediate_of_nodes_own_is_counted_and_begins_no_batch() {
    let events = "200 check\n= 0\n200 trace X CheckImmediate 0 0\n200 trace X RunAndClearNativeImmediates 0 0\n200 enter\n= 0\n\
                  250 threw\n= 0\n300 left\n300 ends RunAndClearNativeImmediates\n400 enter\n500 left\n600 ends CheckImmediate\n";
    let played = replay(&format!("{START}{events}{CHECKPOINTS}"));
    assert_eq!(records(&played)[1..], ["check other Node itself 100", "check immediate immediates 200"]);
    assert_eq!(snapshot(&played).errors[loopscope_probe::Kind::Other.index()], 1);
}
