//! What the state machine makes of sequences that a recording does not have: in virtual time.

#[path = "entries/exceptions.rs"]
mod exceptions;
#[path = "entries/outside.rs"]
mod outside;
#[path = "entries/programs_drains.rs"]
mod programs_drains;
mod replay;

use loopscope_probe::Queue;
use loopscope_probe::Snapshot;
use replay::{Played, replay, replay_with};

/// Phase, kind and site of every record.
fn records(played: &Played) -> Vec<String> {
    let snapshot = snapshot(played);
    let name = |id| snapshot.site(id).map(|site| site.name.clone()).unwrap_or_default();
    let told = played.writer.page().records(0);
    told.iter()
        .map(|record| {
            format!(
                "{} {} {} {}",
                record.phase.name(),
                record.kind.name(),
                name(record.site),
                record.end.since(record.start)
            )
        })
        .collect()
}

fn snapshot(played: &Played) -> Snapshot {
    played.writer.page().snapshot(played.writer.clock())
}

/// Kind, time and number of every record after the main script's; no number where it is one callback.
fn told(played: &Played) -> Vec<String> {
    let one = |record: &loopscope_probe::raw::record::CallbackRecord| {
        let many = record.many.map_or(String::new(), |many| format!(" x{many}"));
        format!("{} {}{many}", record.kind.name(), record.end.since(record.start))
    };
    played.writer.page().records(0)[1..].iter().map(one).collect()
}

/// The timers of a turn: entered at 300, with what happens until they are left.
fn timers(events: &str) -> String {
    let begin = "200 check\n= 0\n200 checked\n300 trace X RunTimers 0 0\n300 enter\n";
    format!("{START}{begin}{events}9000000 ends RunTimers\n9000000 checkpoint\n")
}

/// The first poll: the main script has ended at 100, and nothing was waited for.
const START: &str = "= 0\n= 0\n100 left\n100 poll\n= 0\n";

#[test]
fn the_poll_returned_as_long_ago_as_libuv_waited_and_not_when_its_first_entry_began() {
    let played = replay(&format!("{START}5000 enter\n= 3000\n= 0\n6000 left\n7000 check\n7000 poll\n= 2\n"));
    let snapshot = snapshot(&played);
    assert_eq!((snapshot.poll_wait.count(), snapshot.poll_wait.sum_ns), (1, 3000));
    assert_eq!((snapshot.poll_events.count(), snapshot.poll_events.sum), (1, 2));
    // Idle from the begin of the writer's life in virtual time to its first busy period, then the poll.
    assert_eq!(snapshot.idle_ns, 3000);
}

#[test]
fn a_poll_that_libuv_says_lasted_longer_than_the_clock_saw_ends_now() {
    let played = replay(&format!("{START}5000000 check\n= 9000000\n5000100 poll\n= 0\n"));
    assert_eq!(snapshot(&played).poll_wait.sum_ns, 4_999_900);
}

/// A signal, of which libuv counts the wait after it, and not the one before.
#[test]
fn a_wait_that_a_signal_cuts_in_two_is_a_wait_as_a_whole() {
    for (event, entry) in [("enter\n= 1000\n= 0\n800100000 left", 1), ("check\n= 1000", 0)] {
        let events =
            format!("{START}800000000 time 800 50000\n800000000 {event}\n800200000 poll\n= {entry}\n");
        let snapshot = snapshot(&replay(&events));
        assert_eq!(snapshot.poll_wait.sum_ns, 800_000_000 - 100 - 50_000, "{event}");
        assert_eq!(snapshot.blocked, [0, 0], "{event}");
    }
    // What runs before the first entry, in C++, is no wait: libuv read its time before that.
    let events = format!(
        "{START}800000000 time 1 799000000\n800000000 enter\n= 1000000\n= 0\n800100000 left\n800200000 check\n800300000 poll\n= 1\n"
    );
    let snapshot = snapshot(&replay(&events));
    assert_eq!(snapshot.poll_wait.sum_ns, 1_000_000);
    assert_ne!(snapshot.blocked, [0, 0]);
}

#[test]
fn a_loop_that_turns_inside_an_entry_tells_its_polls_and_no_endless_callback() {
    let events = "200 enter\n= 0\n= 0\n300 poll\n= 1\n900 enter\n= 500\n= 0\n1000 left\n1100 left\n1200 check\n1200 poll\n= 1\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(snapshot(&played).iterations, 3);
    let last = records(&played).last().cloned().unwrap();
    assert_eq!(last, "poll other Node itself 100");
}

#[test]
fn what_c_plus_plus_enters_inside_a_drain_is_a_part_of_it() {
    let events = "200 trace b TCPWRAP_CALLBACK 7 0\n200 enter\n= 0\n300 left\n300 trace B RunMicrotasks 0 0\n400 enter\n500 left\n\
                  700 trace E RunMicrotasks 0 3\n800 trace e TCPWRAP_CALLBACK 7 0\n800 check\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(records(&played)[1..], ["poll io_read TCP socket 100", "poll microtask microtask queue 400"]);
    let snapshot = snapshot(&played);
    assert_eq!(snapshot.drained_jobs[Queue::Microtask.index()], 3);
    assert_eq!(snapshot.completed.count(), 1 + 1, "the main script and the callback");
}

#[test]
fn a_further_entry_of_the_same_resource_is_its_callback_and_another_is_the_queue_of_ticks() {
    let events = "200 trace b TCPWRAP_CALLBACK 7 0\n200 enter\n= 0\n300 left\n300 enter\n= 7\n400 left\n400 enter\n= 0\n500 left\n\
                  500 trace e TCPWRAP_CALLBACK 7 0\n";
    let played = replay(&format!("{START}{events}"));
    let told = records(&played);
    assert_eq!(
        told[1..],
        ["poll io_read TCP socket 100", "poll io_read TCP socket 100", "poll tick nextTick queue 100"]
    );
}

#[test]
fn nodes_own_entry_after_timers_and_immediates_is_no_queue_of_ticks() {
    let events = "200 check\n= 0\n200 trace X CheckImmediate 0 0\n200 enter\n300 left\n310 enter\n320 left\n\
                  320 ends CheckImmediate\n330 checked\n400 trace X RunTimers 0 0\n400 enter\n500 left\n510 enter\n\
                  520 left\n530 enter\n630 left\n630 ends RunTimers\n";
    let played = replay(&format!("{START}{events}"));
    let told = records(&played);
    assert_eq!(
        told[1..],
        ["check immediate immediates 100", "timers timer timers 100", "timers tick nextTick queue 110"]
    );
    assert_eq!(snapshot(&played).drain[Queue::NextTick.index()].count(), 1);
}

/// Nine seconds later.
const LATER: &str = "9000000000 time 0 0\n";

#[test]
fn a_loop_that_ends_in_its_poll_has_not_stalled() {
    let snapshot = snapshot(&replay(&format!("{START}{LATER}")));
    assert_eq!((snapshot.blocked, snapshot.active_ns), ([0, 0], 100));
}

#[test]
fn a_loop_that_ends_or_is_paused_again_while_it_is_paused_has_not_stalled() {
    let paused = format!("{START}200 enter\n= 0\n= 0\n300 pause\n{LATER}");
    for events in
        [paused.clone(), format!("{paused}9000000000 pause\n"), format!("{paused}9000000000 resume\n= 0\n")]
    {
        assert_eq!(snapshot(&replay(&events)).blocked, [0, 0], "{events}");
    }
}

#[test]
fn immediates_are_known_without_nodes_trace_of_them() {
    let events = "200 check\n= 0\n200 immediates\n200 enter\n= 0\n300 left\n310 enter\n= 0\n320 left\n330 enter\n= 0\n\
                  400 left\n400 checked\n500 trace b TCPWRAP_CALLBACK 8 0\n500 enter\n600 left\n600 trace e TCPWRAP_CALLBACK 8 0\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(
        records(&played)[1..],
        ["check immediate immediates 100", "check tick nextTick queue 80", "close close TCP socket 100"]
    );
}

#[test]
fn what_another_addons_handle_enters_beside_the_immediates_is_none_of_them() {
    let other = |at: u32| format!("{at} enter\n= 7\n{} left\n", at + 50);
    let events = format!(
        "150 trace b MESSAGEPORT 7 0\n200 check\n= 0\n200 immediates\n{}250 enter\n= 0\n400 left\n{}600 checked\n",
        other(200),
        other(500)
    );
    let played = replay(&format!("{START}{events}"));
    let port = "check async message port 50";
    assert_eq!(records(&played)[1..], [port, "check immediate immediates 150", port]);
}

#[test]
fn a_drain_that_v8_was_told_to_abandon_does_not_run_for_ever() {
    let events =
        "200 enter\n= 0\n= 0\n300 trace B RunMicrotasks 0 0\n= 0\n900 left\n1000 enter\n= 0\n1100 left\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(records(&played).last().unwrap(), "poll other Node itself 100");
    assert_eq!(snapshot(&played).drain[Queue::Microtask.index()].sum_ns, 600);
}

#[test]
fn a_request_after_the_immediates_is_pending_and_a_handle_is_closing() {
    let events = "200 check\n= 0\n200 checked\n200 trace b WRITEWRAP_CALLBACK 7 0\n200 enter\n300 left\n\
                  300 trace e WRITEWRAP_CALLBACK 7 0\n300 trace b TCPWRAP_CALLBACK 8 0\n300 enter\n400 left\n\
                  400 trace e TCPWRAP_CALLBACK 8 0\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(records(&played)[1..], ["pending io_write write 100", "close close TCP socket 100"]);
}

/// A parser of HTTP that finds the head of a request, then its end, and then is through with what was read.
#[test]
fn an_entry_that_goes_on_for_the_same_resource_begins_where_the_one_before_ended() {
    let request = |at: u32| {
        format!(
            "{} enter\n{}= 14\n{} left\n{} enter\n= 14\n{} left\n{} trace b HTTPINCOMINGMESSAGE_CALLBACK 14 0\n{} enter\n{} left\n\
             {} trace e HTTPINCOMINGMESSAGE_CALLBACK 14 0\n",
            at,
            if at == 200 { "= 0\n" } else { "" },
            at + 100,
            at + 110,
            at + 200,
            at + 210,
            at + 220,
            at + 300,
            at + 310
        )
    };
    let events = format!("150 trace b HTTPINCOMINGMESSAGE 14 0\n{}{}", request(200), request(1000));
    let request = "poll io_read HTTP request 100";
    // Between the two requests the socket was read: no callback has that time.
    assert_eq!(records(&replay(&format!("{START}{events}")))[1..], [request; 6]);
}

#[test]
fn an_entry_for_another_resource_or_after_another_callback_begins_when_it_does() {
    let made = "150 trace b HTTPINCOMINGMESSAGE 14 0\n150 trace b HTTPINCOMINGMESSAGE 15 0\n";
    let other = format!(
        "{made}200 enter\n= 0\n= 14\n300 left\n400 enter\n= 15\n450 left\n500 enter\n= 14\n550 left\n"
    );
    let expected = [100, 50, 50].map(|ns| format!("poll io_read HTTP request {ns}"));
    assert_eq!(records(&replay(&format!("{START}{other}")))[1..], expected);
    for between in [
        "310 trace b TCPWRAP_CALLBACK 7 0\n390 trace e TCPWRAP_CALLBACK 7 0\n",
        "310 trace b HTTPINCOMINGMESSAGE_CALLBACK 14 0\n390 trace e HTTPINCOMINGMESSAGE_CALLBACK 14 0\n",
    ] {
        let closed = format!("{made}200 enter\n= 0\n= 14\n300 left\n{between}400 enter\n= 14\n450 left\n");
        let expected = [100, 50].map(|ns| format!("poll io_read HTTP request {ns}"));
        assert_eq!(records(&replay(&format!("{START}{closed}")))[1..], expected, "{between}");
    }
    let polled = format!(
        "{made}200 enter\n= 0\n= 14\n300 left\n310 check\n310 poll\n= 1\n400 enter\n= 50\n= 14\n450 left\n"
    );
    let expected = [100, 50].map(|ns| format!("poll io_read HTTP request {ns}"));
    assert_eq!(records(&replay(&format!("{START}{polled}")))[1..], expected);
}

#[test]
fn a_resource_that_was_made_before_we_came_is_unnamed_and_counted() {
    let events = "200 enter\n= 0\n= 4711\n300 left\n400 enter\n= 4711\n500 left\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(
        (&records(&played)[1..], played.unnamed),
        (&["poll other unnamed 100".to_owned(), "poll other unnamed 100".to_owned()][..], 2)
    );
}

#[test]
fn without_traces_phases_name_what_runs() {
    let events =
        "200 enter\n= 0\n250 left\n300 check\n300 enter\n400 left\n400 checked\n400 enter\n500 left\n";
    let played = replay_with(&format!("{START}{events}"), false);
    let told = records(&played);
    assert_eq!(
        told[1..],
        ["poll other unnamed 50", "check immediate immediates 100", "close close closing 100"]
    );
}

#[test]
fn scopes_deeper_than_are_kept_apart_are_still_closed_in_order() {
    let deep: String = (0..100).map(|id| format!("200 trace b TCPWRAP_CALLBACK {id} 0\n")).collect();
    let ends: String = (0..100).map(|id| format!("200 trace e TCPWRAP_CALLBACK {id} 0\n")).collect();
    let events = format!("{START}{deep}{ends}200 enter\n= 0\n= 0\n300 left\n");
    assert_eq!(records(&replay(&events)).last().unwrap(), "poll other Node itself 100");
}

#[test]
fn a_scope_whose_end_was_lost_ends_with_the_phase() {
    let events = "200 checked\n200 trace X RunTimers 0 0\n200 enter\n= 0\n300 left\n400 poll\n= 1\n\
                  500 enter\n= 0\n= 0\n600 left\n600 trace X RunTimers 0 0\n600 check\n600 enter\n= 0\n700 left\n";
    let played = replay(&format!("{START}{events}"));
    let told = records(&played);
    assert_eq!(told[2..], ["poll other Node itself 100", "check other Node itself 100"]);
}

#[test]
fn what_runs_before_the_first_poll_is_expected_and_no_stall() {
    let played = replay("= 0\n= 0\n900000000 left\n900000100 enter\n900000200 left\n900000300 poll\n= 0\n");
    let snapshot = snapshot(&played);
    assert_eq!(snapshot.blocked, [0, 0]);
    assert!(records(&played).iter().all(|record| record.starts_with("main other main script")));
}

#[test]
fn a_name_of_the_programs_is_that_of_the_whole_callback_and_of_the_whole_drain() {
    let events = "200 trace b TCPWRAP_CALLBACK 7 0\n200 enter\n= 0\n250 label checkout\n300 left\n\
                  300 trace B RunMicrotasks 0 0\n400 label search\n700 trace E RunMicrotasks 0 3\n\
                  800 trace e TCPWRAP_CALLBACK 7 0\n800 check\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(records(&played)[1..], ["poll io_read checkout 100", "poll microtask search 400"]);
    let snapshot = snapshot(&played);
    assert_eq!(snapshot.drained_jobs[Queue::Microtask.index()], 3);
    assert_eq!(snapshot.completed.count(), 1 + 1, "the main script and the callback");
}

#[test]
fn a_name_in_a_batch_is_that_of_one_member() {
    let events = "200 check\n= 0\n200 trace X CheckImmediate 0 0\n200 enter\n300 label first\n400 trace B RunMicrotasks 0 0\n= 0\n\
                  450 trace E RunMicrotasks 0 1\n600 left\n600 ends CheckImmediate\n610 checked\n";
    let played = replay(&format!("{START}{events}"));
    assert_eq!(
        records(&played)[1..],
        [
            "check immediate immediates 100",
            "check immediate first 100",
            "check microtask microtask queue 50",
            "check immediate immediates 150"
        ]
    );
}

/// Evaluation that begins in the drain after a file was read, and goes on for most of a second.
const LATE: &str = "= 0\n= 0\n10 module\n100 left\n100 poll\n= 0\n200 enter\n= 0\n= 0\n300 left\n\
                    300 trace B RunMicrotasks 0 0\n900000300 trace E RunMicrotasks 0 3\n900000400 check\n900000400 poll\n= 1\n";

#[test]
fn a_module_that_is_evaluated_after_the_first_poll_is_expected() {
    let played = replay(LATE);
    assert_eq!(snapshot(&played).blocked, [0, 0]);
    assert!(records(&played).contains(&"poll microtask main script 900000000".to_owned()));
    // The same without a module is a flood of promises.
    let script = LATE.replace("10 module\n", "");
    assert_ne!(snapshot(&replay(&script)).blocked, [0, 0]);
}

/// As on a machine that has no processor for it after its poll.
#[test]
fn a_module_that_waits_for_a_processor_before_it_is_evaluated_is_no_stall() {
    let late = LATE.replace("200 enter", "800000200 enter").replace("300 left", "800000300 left");
    let late = late.replace("300 trace B", "800000300 trace B");
    assert_eq!(snapshot(&replay(&late)).blocked, [0, 0]);
    assert_ne!(snapshot(&replay(&late.replace("10 module\n", ""))).blocked, [0, 0]);
}

#[test]
fn the_first_timer_ends_the_start_of_a_module() {
    let events = "900000500 check\n= 0\n900000500 trace X RunTimers 0 0\n900000500 enter\n1900000500 left\n\
                  1900000500 ends RunTimers\n1900000600 poll\n= 1\n";
    let played = replay(&format!("{LATE}{events}"));
    assert_ne!(snapshot(&played).blocked, [0, 0]);
}

#[test]
fn a_timer_that_is_alone_is_one_callback_and_no_batch() {
    assert_eq!(told(&replay(&timers("8000300 left\n"))), ["timer 8000000"]);
    // Where V8 does not tell of its checkpoints nobody knows.
    let untold = timers("8000300 left\n").replace("9000000 checkpoint\n", "");
    assert_eq!(told(&replay(&untold)), ["timer 8000000 x0"]);
}

#[test]
fn timers_of_a_batch_are_counted_and_a_long_one_is_told_by_itself() {
    let events = "400 checkpoint\n500 checkpoint\n600 checkpoint\n5000600 checkpoint\n5000700 checkpoint\n5000800 left\n";
    let expected = ["timer 100", "timer 200 x2", "timer 5000000", "timer 200 x2"];
    assert_eq!(told(&replay(&timers(events))), expected);
    // The last of them, too.
    let events = "400 checkpoint\n500 checkpoint\n5000600 left\n";
    assert_eq!(told(&replay(&timers(events))), ["timer 100", "timer 100 x1", "timer 5000100"]);
}

#[test]
fn a_timer_that_blocks_behind_others_is_told_by_itself_while_it_does() {
    let begin = "400 checkpoint\n500 checkpoint\n600 checkpoint\n";
    let now = |events: &str| {
        let all = timers(&format!("{begin}{events}"));
        let (before, _) = all.split_once("9000000 ends").unwrap();
        let played = replay(before);
        told(&played)
    };
    // It has not ended: what the page has of it is told when the loop ends.
    assert_eq!(now("7000600 blocks\n")[..], ["timer 100", "timer 200 x2", "timer 7000000"]);
    assert_eq!(now("700 blocks\n").len(), 2, "what does not block is no matter");
}

#[test]
fn promises_part_the_members_of_a_batch_and_are_a_drain() {
    let drain =
        |at: u32| format!("{at} trace B RunMicrotasks 0 0\n= 0\n{} trace E RunMicrotasks 0 1\n", at + 50);
    let events = format!(
        "{}450 checkpoint\n500 checkpoint\n600 checkpoint\n{}750 checkpoint\n800 left\n",
        drain(400),
        drain(700)
    );
    let played = replay(&timers(&events));
    let expected =
        ["timer 100", "microtask 50 x1", "timer 50", "timer 200 x2", "microtask 50 x1", "timer 50"];
    assert_eq!(told(&played), expected);
    assert_eq!(snapshot(&played).drain[Queue::Microtask.index()].count(), 2);
}

#[test]
fn a_named_member_of_a_batch_has_its_name_from_its_begin() {
    let played =
        replay(&timers("400 checkpoint\n500 checkpoint\n550 label second\n600 checkpoint\n700 left\n"));
    let expected = ["timers 100", "timers 100", "second 100", "timers 100"];
    let names: Vec<String> =
        records(&played)[1..].iter().map(|text| text.replace("timers timer ", "")).collect();
    assert_eq!(names, expected);
}

#[test]
fn rounds_of_ticks_are_counted_one_for_one() {
    let scope = |events: &str| {
        let begin =
            "200 trace b TCPWRAP_CALLBACK 7 0\n200 enter\n= 0\n300 left\n310 checkpoint\n400 enter\n= 0\n";
        let played =
            replay(&format!("{START}{begin}{events}3000 trace e TCPWRAP_CALLBACK 7 0\n3000 check\n"));
        let drains = snapshot(&played).drain[Queue::NextTick.index()].clone();
        (drains.count(), drains.sum_ns)
    };
    // As ever, it begins where the callback has ended: at 300.
    assert_eq!(scope("500 checkpoint\n510 left\n"), (1, 200), "what comes after the last tick is Node's");
    let promises = "500 trace B RunMicrotasks 0 0\n= 0\n700 trace E RunMicrotasks 0 3\n700 checkpoint\n";
    assert_eq!(scope(&format!("{promises}710 left\n")), (1, 200));
    assert_eq!(
        scope(&format!("{promises}900 checkpoint\n910 left\n")),
        (2, 400),
        "promises have queued a tick"
    );
    assert_eq!(
        scope(&format!("{promises}900 threw\n900 left\n")),
        (2, 400),
        "promises have queued a tick that throws"
    );
    assert_eq!(scope("500 threw\n500 left\n"), (1, 200), "the first tick throws");
}

/// After a checkpoint a further round is known only by its own, or by what happens in it: the page goes on to tell the first one, whose
/// end is that checkpoint whatever comes.
#[test]
fn a_further_round_of_ticks_is_told_from_the_checkpoint_before_once_it_is_known() {
    let scope = |events: &str| {
        let begin =
            "200 trace b TCPWRAP_CALLBACK 7 0\n200 enter\n= 0\n300 left\n310 checkpoint\n400 enter\n= 0\n";
        let played =
            replay(&format!("{START}{begin}500 checkpoint\n{events}3000 trace e TCPWRAP_CALLBACK 7 0\n"));
        let short = |text: &String| text.replace("poll tick ", "").replace("nextTick queue", "ticks");
        records(&played)[2..].iter().map(short).collect::<Vec<_>>()
    };
    assert_eq!(scope("600 checkpoint\n610 left\n"), ["ticks 200", "ticks 100"], "it reports a rejection");
    assert_eq!(scope("550 label named\n700 checkpoint\n710 left\n"), ["ticks 200", "named 200"]);
    assert_eq!(scope("550 threw\n700 left\n"), ["ticks 200", "ticks 200"]);
    assert_eq!(scope("550 blocks\n700 checkpoint\n710 left\n"), ["ticks 200", "ticks 200"]);
    // Whatever has blocked there was no round where none comes to its end.
    assert_eq!(scope("550 blocks\n700 left\n"), ["ticks 200"]);
    let promises = "700 trace B RunMicrotasks 0 0\n= 0\n800 trace E RunMicrotasks 0 1\n";
    assert_eq!(
        scope(&format!("{promises}800 checkpoint\n810 left\n")),
        ["ticks 200", "ticks 200", "poll microtask microtask queue 100"]
    );
}
