//! Stacks of stalls: asked for, arriving late or not at all, and tried for again.

use super::*;

/// A stall that is found, with stacks that can be asked for.
fn stalled_with_stacks() -> Bench {
    stalled(|told| told.refusal = None)
}

/// A stall that is found, of a thread that `tell` says how it is found.
fn stalled(tell: impl FnOnce(&mut Told)) -> Bench {
    let mut bench = Bench::new(10);
    bench.tell(tell);
    let site = bench.site(Kind::Timer, "t");
    bench.writer.unpark(1);
    bench.look();
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.look();
    bench
}

fn named(fingerprint: &str, function: &str, age_ms: u64, is_final: bool) -> Named {
    Named {
        number: 1,
        age_ns: age_ms * MS,
        fingerprint: fingerprint.to_owned(),
        frames: vec![loopscope_report::incident::Frame {
            function: function.to_owned(),
            ..Default::default()
        }],
        guilty: Some(0),
        is_final,
        ..Named::default()
    }
}

impl Bench {
    fn hear(&mut self, named: &Named) -> bool {
        self.tracker.named(named, self.writer.page(), &mut self.queue)
    }
}

#[test]
fn the_line_waits_for_the_names_and_has_them() {
    let mut bench = stalled_with_stacks();
    assert_eq!(bench.tracker.wanted_ns(bench.time.now_ns()), Some(SOON_NS));
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert_eq!((bench.lines(), bench.tracker.counts().captures), (vec![], [1, 0, 0]));
    assert!(bench.hear(&named("a", "quick", 101, false)));
    bench.pass(4);
    bench.look();
    assert_eq!(bench.lines(), [""; 0], "better names are on their way");
    assert!(bench.hear(&named("a", "sum_amounts", 101, true)));
    bench.look();
    let line = bench.lines().remove(0);
    assert!(line.contains("blocked for 101 ms by timer t (") && line.contains("in sum_amounts ["), "{line}");
    let stacks = bench.incident().stacks;
    assert_eq!((stacks.len(), stacks[0].count, stacks[0].ages_ns.len()), (1, 1, 1));
    assert!(!bench.hear(&Named { number: 9, ..Named::default() }), "of another loop");
}

#[test]
fn the_line_does_not_wait_for_better_names_where_the_guilty_line_is_known() {
    let mut bench = stalled_with_stacks();
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    let mut early = named("", "spin", 101, false);
    (early.frames[0].file, early.frames[0].line) = (Some("/srv/app.js".to_owned()), Some(7));
    assert!(bench.hear(&early));
    bench.look();
    let line = bench.lines().remove(0);
    assert!(line.contains("blocked for 101 ms by timer t (") && line.contains("in spin ("), "{line}");
    assert!(bench.hear(&named("whole", "spin", 101, true)));
    let stacks = bench.incident().stacks;
    assert_eq!((stacks.len(), stacks[0].fingerprint.as_str(), stacks[0].count), (1, "whole", 1));
}

#[test]
fn names_that_do_not_come_are_not_waited_for() {
    let mut bench = stalled_with_stacks();
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    bench.finish();
    assert_eq!(bench.lines(), [""; 0], "both lines wait");
    bench.pass(150);
    bench.look();
    let lines = bench.lines();
    assert!(
        lines[0].contains("blocked for 101 ms") && lines[1].contains("polls again after 101 ms"),
        "{lines:?}"
    );
    assert!(bench.hear(&named("a", "late", 101, true)), "the record still gets them");
    assert_eq!(bench.incident().stacks[0].frames[0].function, "late");
    bench.look();
    assert!(!bench.hear(&named("a", "later", 101, true)), "done");
}

#[test]
fn frames_that_come_late_join_an_incident_that_is_open_over_or_only_kept() {
    let whole = |age_ms, is_late: bool| {
        let replaces = is_late.then(|| "a".to_owned());
        Named { replaces, ..named(if is_late { "js" } else { "a" }, "f", age_ms, true) }
    };
    let told = |bench: &Bench| {
        let stacks = bench.incident().stacks;
        stacks.iter().map(|stack| (stack.fingerprint.clone(), stack.count)).collect::<Vec<_>>()
    };
    let mut bench = stalled_with_stacks();
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert!(bench.hear(&whole(101, false)) && bench.hear(&whole(101, true)));
    assert_eq!(told(&bench), [("js".to_owned(), 1)], "open");
    bench.finish();
    bench.pass(200);
    bench.look();
    let late = Named { age_ns: 202 * MS, ..whole(101, true) };
    assert!(!bench.hear(&late), "nobody follows it any more");
    bench.queue.kept.clear();
    bench.queue.join(&late);
    assert_eq!(told(&bench), [("js".to_owned(), 2)], "kept");
    assert_eq!(bench.queue.kept.len(), 1, "on disk, too");
    bench.queue.join(&Named { number: 99, ..late });
    assert_eq!(bench.queue.kept.len(), 1, "not kept any more");
}

#[test]
fn late_frames_are_not_those_that_another_capture_waits_for() {
    let mut bench = stalled_with_stacks();
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    bench.hear(&Named { replaces: Some("a".to_owned()), ..named("js", "f", 101, true) });
    bench.look();
    assert_eq!(bench.lines(), [""; 0], "the names of the capture are still on their way");
}

#[test]
fn equal_stacks_are_counted_and_others_added() {
    let mut bench = stalled_with_stacks();
    for (age, fingerprint) in [(101, "a"), (200, "b"), (400, "b"), (800, "b")] {
        bench.hear(&named(fingerprint, fingerprint, age, true));
    }
    let stacks = bench.incident().stacks;
    let told: Vec<_> = stacks.iter().map(|stack| (stack.fingerprint.as_str(), stack.count)).collect();
    assert_eq!(told, [("b", 3), ("a", 1)]);
    assert_eq!(stacks[0].ages_ns, [200 * MS, 400 * MS, 800 * MS]);
}

#[test]
fn a_sample_of_another_stretch_is_not_the_stall_s() {
    for busy_since in [None, Some(Ticks(1))] {
        let mut bench = stalled_with_stacks();
        bench.tell(|told| told.shot = Some(Shot { busy_since, sample: None }));
        bench.look();
        assert_eq!(bench.incident().captures_failed, [""; 0]);
        bench.finish();
        assert_eq!(bench.incident().captures_failed, ["the stall ended before the capture"]);
        assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
    }
}

#[test]
fn a_stack_that_is_not_delivered_is_told_and_holds_nothing_up() {
    let mut bench = stalled_with_stacks();
    for _ in 0..8 {
        bench.pass(20);
        bench.look();
    }
    assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
    let lines = bench.lines();
    assert!(lines[0].contains("blocked for 101 ms"), "{lines:?}");
    bench.finish();
    let failed = bench.incident().captures_failed;
    assert!(failed.len() == 1 && failed[0].contains("did not handle the signal in time"), "{failed:?}");
}

#[test]
fn stacks_are_asked_for_again_at_the_doublings_and_have_a_budget_of_their_own() {
    let mut bench = Bench::new(1);
    let site = bench.site(Kind::Timer, "t");
    for _ in 0..2 {
        bench.writer.unpark(1);
        bench.begin(Kind::Timer, site);
        for ms in [101, 106, 206, 413] {
            bench.pass(ms);
            bench.look();
        }
        bench.finish();
    }
    // Not that of log lines, of which there is one.
    assert_eq!(bench.sight.0.lock().unwrap().asked, 7);
    assert_eq!(bench.tracker.counts().captures, [0, 7, 1]);
    assert_eq!(bench.incident().captures_suppressed, 1);
    let first = bench.queue.store.newest_first().last().unwrap().captures_failed.clone();
    assert_eq!(first.len(), 1, "equal reasons are told once");
    assert!(first[0].ends_with(": no stacks here"), "{first:?}");
}

#[test]
fn a_stall_that_is_not_logged_has_its_stack_and_one_without_points_to_it() {
    let mut bench = Bench::new(0);
    bench.tell(|told| told.refusal = None);
    let site = bench.site(Kind::Timer, "t");
    let stall = |bench: &mut Bench| {
        bench.writer.unpark(1);
        bench.look();
        bench.begin(Kind::Timer, site);
        bench.pass(101);
        bench.look();
    };
    stall(&mut bench);
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert!(bench.hear(&named("a", "sum_amounts", 101, true)));
    bench.finish();
    assert_eq!(bench.lines(), [""; 0]);
    assert_eq!((bench.incident().stacks.len(), bench.incident().stacks_elsewhere()), (1, None));
    bench.tell(|told| told.refusal = Some("no stacks here".to_owned()));
    stall(&mut bench);
    bench.finish();
    let second = bench.incident();
    let elsewhere = second.stacks_elsewhere().unwrap().to_string();
    assert_eq!((second.stacks.len(), elsewhere), (0, format!("{}-1", second.pid)));
    // One that is found when it is over has none for certain.
    bench.writer.unpark(1);
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.finish();
    let third = bench.incident();
    let elsewhere = third.stacks_elsewhere().map(|id| id.to_string());
    assert_eq!((third.was_missed, elsewhere), (true, Some(format!("{}-1", third.pid))));
}

#[test]
fn a_stall_that_has_a_stack_does_not_point_to_itself_at_its_next_capture() {
    let mut bench = stalled(|told| told.refusal = None);
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert!(bench.hear(&named("a", "sum_amounts", 101, true)));
    // Twice the threshold: another one is asked for.
    bench.pass(110);
    bench.look();
    bench.finish();
    assert_eq!((bench.incident().stacks.len(), bench.incident().stacks_in), (1, None));
}

/// A stall of a thread that runs, and is found to have slept after each of so many first steps.
fn stalled_unsteadily(steady_after: u32) -> Bench {
    stalled(|told| (told.refusal, told.prepared, told.steady_after) = (None, Prepared::Wanted, steady_after))
}

#[test]
fn a_thread_that_slept_between_the_steps_is_tried_for_again() {
    let mut bench = stalled_unsteadily(3);
    assert_eq!(bench.tracker.wanted_ns(bench.time.now_ns()), Some(SOON_NS));
    for _ in 0..3 {
        bench.pass(1);
        bench.look();
    }
    assert_eq!(bench.sight.0.lock().unwrap().asked, 4);
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert_eq!(bench.tracker.counts().captures, [1, 0, 0]);
    assert_eq!(bench.sight.0.lock().unwrap().asked, 4, "and not again");
}

#[test]
fn a_thread_that_never_stays_is_given_up_and_that_is_told() {
    let mut bench = stalled_unsteadily(u32::MAX);
    for _ in 0..=TRIES {
        bench.pass(1);
        bench.look();
    }
    assert_eq!(bench.sight.0.lock().unwrap().asked, u64::from(TRIES));
    assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
    bench.finish();
    let failed = bench.incident().captures_failed;
    assert!(failed.len() == 1 && failed[0].contains("between running and sleeping"), "{failed:?}");
}

#[test]
fn a_loop_that_polls_between_the_steps_is_not_tried_for_again() {
    let mut bench = stalled_unsteadily(1);
    bench.finish();
    bench.tell(|told| told.prepared = Prepared::Arrived);
    let asked = bench.sight.0.lock().unwrap().asked;
    for _ in 0..5 {
        bench.pass(20);
        bench.look();
    }
    assert_eq!(bench.sight.0.lock().unwrap().asked, asked);
    assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
}

#[test]
fn a_stack_wanted_for_one_stall_is_not_taken_of_the_next() {
    let mut bench = stalled_unsteadily(1);
    // It polls, and stalls again, before the agent looks.
    bench.writer.end();
    bench.writer.park();
    bench.pass(1);
    bench.writer.unpark(1);
    let site = bench.site(Kind::Timer, "t");
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.look();
    // The first is given up, and the second is asked for on its own account.
    assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
    assert_eq!(bench.sight.0.lock().unwrap().asked, 2);
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert_eq!(bench.tracker.counts().captures, [1, 1, 0]);
}

#[test]
fn a_signal_that_was_sent_late_is_waited_for_from_then_on() {
    let mut bench = stalled_unsteadily(60);
    for _ in 0..60 {
        bench.pass(2);
        bench.look();
    }
    assert_eq!(bench.tracker.counts().captures, [0, 0, 0], "it is on its way since the last look");
    bench.pass(50);
    let shot = Shot { busy_since: Some(bench.writer.last()), sample: None };
    bench.tell(|told| told.shot = Some(shot));
    bench.look();
    assert_eq!(bench.tracker.counts().captures[0], 1);
}

#[test]
fn a_loop_that_ends_gives_up_the_stack_that_is_wanted() {
    let mut bench = stalled_unsteadily(u32::MAX);
    bench.tracker.farewell("main", &mut bench.queue);
    assert_eq!(bench.tracker.counts().captures, [0, 1, 0]);
}
