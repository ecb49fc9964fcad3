//! Drains that the program begins in the middle of its own code.

use crate::replay::replay;
use crate::{START, records, snapshot, timers, told};
use loopscope_probe::Queue;

/// A drain of the program's own, that of a `vm` context with a queue of its own, is a part of what runs.
#[test]
fn a_drain_that_the_program_begins_is_a_part_of_its_callback() {
    let own = |at: u32| format!("{at} trace B RunMicrotasks 0 0\n{} trace E RunMicrotasks 0 1\n", at + 10);
    let callback =
        format!("200 trace b FSREQCALLBACK_CALLBACK 7 0\n200 enter\n= 0\n{}{}500 left\n", own(250), own(300));
    // In a microtask of Node's queue, and in another one of the program's own.
    let drain = format!(
        "500 trace B RunMicrotasks 0 0\n{}620 trace B RunMicrotasks 0 0\n{}690 trace E RunMicrotasks 0 1\n\
         700 trace E RunMicrotasks 0 5\n800 trace e FSREQCALLBACK_CALLBACK 7 0\n800 check\n",
        own(600),
        own(640)
    );
    let played = replay(&format!("{START}{callback}{drain}"));
    assert_eq!(records(&played)[1..], ["poll work_done fs 300", "poll microtask microtask queue 200"]);
    let snapshot = snapshot(&played);
    let queue = Queue::Microtask.index();
    assert_eq!((snapshot.drain[queue].count(), snapshot.drained_jobs[queue]), (1, 5));
}

#[test]
fn a_drain_that_a_timer_or_a_tick_begins_parts_neither_timers_nor_rounds() {
    let own =
        |at: u32| format!("{at} trace B RunMicrotasks 0 0\n= 12\n{} trace E RunMicrotasks 0 1\n", at + 10);
    let events = format!(
        "{}400 checkpoint\n{}500 checkpoint\n{}600 left\n610 enter\n615 left\n620 enter\n{}700 checkpoint\n710 left\n",
        own(350),
        own(450),
        own(550),
        own(650)
    );
    assert_eq!(told(&replay(&timers(&events))), ["timer 100", "timer 200 x2", "tick 85 x0"]);
}
