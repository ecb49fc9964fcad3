//! Exceptions that nobody caught.

use crate::replay::replay;
use crate::{START, records, snapshot, timers, told};
use loopscope_probe::Queue;

/// Timers of which two throw, the second after it has queued a tick, and a third that queues one: as Node 18 to 26 tell it.
#[test]
fn what_comes_after_a_timer_that_throws_is_of_its_batch() {
    let events = "500 threw\n600 left\n620 enter\n700 threw\n720 left\n730 enter\n5000730 left\n5000740 enter\n5000900 checkpoint\n5000950 left\n";
    let played = replay(&timers(events));
    assert_eq!(
        records(&played)[1..],
        [
            "timers timer timers 300",
            "timers timer timers 120",
            "timers timer timers 5000010",
            "timers tick nextTick queue 170"
        ]
    );
    let snapshot = snapshot(&played);
    assert_eq!(snapshot.errors.iter().sum::<u64>(), 2);
    assert_eq!(snapshot.drain[Queue::NextTick.index()].count(), 1);
}

/// As three immediates, of which two throw, and the second and the third have queued a tick.
#[test]
fn what_comes_after_an_immediate_that_throws_is_of_its_batch() {
    let entry = |at: u32, what: &str| format!("{at} enter\n= 0\n{what}{} left\n", at + 100);
    let events = format!(
        "200 check\n= 0\n200 immediates\n{}{}{}{}{}800 checked\n",
        entry(200, "250 threw\n"),
        entry(310, "350 threw\n"),
        entry(420, ""),
        entry(530, ""),
        entry(640, "700 checkpoint\n")
    );
    let played = replay(&format!("{START}{events}"));
    let immediate = |ns: u32| format!("check immediate immediates {ns}");
    let tick = "check tick nextTick queue 70".to_owned();
    assert_eq!(records(&played)[1..], [immediate(100), immediate(110), immediate(110), tick]);
}

/// A promise that nobody handled is reported between two timers, and the second queues a tick: Node does not enter JavaScript for
/// its list then.
#[test]
fn an_exception_that_leaves_no_batch_begins_no_other_one() {
    let events = "400 checkpoint\n410 threw\n420 checkpoint\n600 left\n610 enter\n900 checkpoint\n950 left\n";
    let played = replay(&timers(events));
    // The round of ticks that reported it counts as one of the timers.
    assert_eq!(told(&played), ["timer 100", "timer 200 x2", "tick 300 x0"]);
    // The same where a microtask throws inside of its drain.
    let drain =
        "400 trace B RunMicrotasks 0 0\n= 0\n410 threw\n420 trace E RunMicrotasks 0 1\n420 checkpoint\n";
    let played = replay(&timers(&format!("{drain}600 left\n610 enter\n900 checkpoint\n950 left\n")));
    assert_eq!(told(&played), ["timer 100", "microtask 20 x1", "timer 180", "tick 300 x0"]);
}
