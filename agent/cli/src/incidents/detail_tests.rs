//! One incident in full, as people read it.

use super::*;
use loopscope_report::incident::{Culprit, FrameOwner, Group, PoolState, Span};

fn stack() -> StackCount {
    let frame = |function: &str, file: &str| Frame {
        function: function.into(),
        file: Some(file.into()),
        line: Some(61),
        column: Some(9),
        ..Frame::default()
    };
    let multiply = frame("core::ops::mul", "/rustc/1/library/core/src/ops.rs");
    StackCount {
        count: 2,
        ages_ns: vec![101_000_000, 202_000_000],
        frames: vec![multiply, frame("app::sum_amounts", "src/app.rs")],
        guilty: Some(1),
        ..StackCount::default()
    }
}

fn incident() -> Incident {
    let record = |start_ns, run_ns, is_running| Record {
        start_ns,
        run_ns,
        is_running,
        kind: "io_read".into(),
        phase: "poll".into(),
        // Two of a site in a row.
        site: format!("src/net.rs:{}", start_ns / 2_000_000),
        ..Record::default()
    };
    Incident {
        id: "4711-3".parse().unwrap(),
        pid: 4711,
        process: "demo".into(),
        r#loop: "web".into(),
        begin_unix_ns: 1_795_329_012_000_000_000,
        duration_ns: 302_000_000,
        is_over: true,
        threshold_ns: 100_000_000,
        class: Class::Computing,
        phase: "timers".into(),
        culprit: Culprit {
            kind: "timer".into(),
            label: "parse (src/app.rs:42)".into(),
            ..Culprit::default()
        },
        summary: "1 callback of 302 ms".into(),
        groups: vec![Group {
            kind: "timer".into(),
            label: "parse".into(),
            count: Some(1),
            ..Group::default()
        }],
        spans: vec![Span { name: "query".into(), fields: "id=7".into(), file: "db.rs".into(), line: 3 }],
        waiting_in: Some("read(fd 3 -> pipe:[81])".into()),
        cpu_ns: 290_000_000,
        runqueue_ns: 2_000_000,
        watched_ns: 300_000_000,
        stacks: vec![stack()],
        captures_suppressed: 4,
        records: (0..60).map(|number| record(number * 1_000_000 - 80_000_000, 5_000, false)).collect(),
        records_lost: 7,
        pool: Some(PoolState {
            threads: Some(4),
            running: Some(2),
            queued: Some(0),
            oldest_wait_ns: Some(0),
        }),
        before: LoopFigures {
            period_ns: 10_000_000_000,
            utilization: Some(0.25),
            lag_ns_p99: Some(1_000_000),
            ..LoopFigures::default()
        },
        notes: vec!["the agent was late itself".into()],
        ..Incident::default()
    }
}

#[test]
fn a_wait_for_a_processor_that_is_in_no_account_yet_is_said_beside_it() {
    let ms = 1_000_000;
    let told = |runqueue_ns| {
        let class = Class::StarvedOfCpu;
        super::class(&Incident {
            class,
            watched_ns: 100 * ms,
            cpu_ns: 10 * ms,
            runqueue_ns,
            ..Incident::default()
        })
    };
    let open =
        "(of 100 ms observed: 10 ms running, 0 ns runnable but not scheduled, 90 ms not accounted for)";
    assert!(told(0).ends_with(open), "{}", told(0));
    let over = "(of 100 ms observed: 10 ms running, 88 ms runnable but not scheduled)";
    assert!(told(88 * ms).ends_with(over), "{}", told(88 * ms));
}

#[test]
fn everything_that_matters_is_told() {
    let found = Found {
        incident: incident(),
        origin: Origin::Agent(crate::endpoint::Endpoint::given("http://127.0.0.1:1")),
    };
    let text = text(Paint::plain(100), &found, Frames::Folded, 1_795_329_042_000_000_000);
    for part in [
        "WARNING 4711-3: loop web of demo (pid 4711) had not polled for 302 ms\n",
        "timer parse (src/app.rs:42): 1 callback of 302 ms\n",
        "when      2026-11-22 06:30:12.000 UTC, 30 s ago",
        "lasted    302 ms (threshold 100 ms)",
        "class     computing (of 300 ms observed: 290 ms running, 2.0 ms runnable but not scheduled)",
        "inside    query id=7 (db.rs:3)",
        "asleep in read(fd 3 -> pipe:[81])",
        "pool      2 of 4 threads busy, 0 jobs waiting",
        "2 x at 101 ms, 202 ms\n",
        "  > app::sum_amounts  src/app.rs:61:9\n",
        "4 stacks were not taken",
        "... 28 before\n",
        "-23 ms     10 µs         -  poll     2 x io_read src/net.rs:-11\n",
        "before       10 s    25%",
        "Note: the agent was late itself",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(!text.contains("What ran in it"), "one callback is told in one line");
}

#[test]
fn what_was_not_over_is_told_with_how_it_is_known() {
    let open = Incident { is_over: false, severity: Severity::Critical, ..incident() };
    for (origin, part) in [
        (Origin::PageOfTheDead, "had not polled for 302 ms when the process exited"),
        (Origin::Page, "has not polled for 302 ms so far"),
    ] {
        let found = Found { incident: open.clone(), origin };
        let text = text(Paint::plain(100), &found, Frames::Folded, 0);
        assert!(text.starts_with("CRITICAL ") && text.contains(part), "{text}");
    }
    let idle = Incident { duration_ns: 0, summary: String::new(), ..open };
    let text =
        text(Paint::plain(100), &Found { incident: idle, origin: Origin::PageOfTheDead }, Frames::Folded, 0);
    assert!(
        text.starts_with("4711-3: loop web of demo (pid 4711) was idle when the process exited\n"),
        "{text}"
    );
    assert!(!text.contains("threshold"), "{text}");
}

#[test]
fn many_callbacks_are_told_by_their_groups() {
    let group =
        |count, label: &str| Group { kind: "io_read".into(), label: label.into(), count, ..Group::default() };
    let many = Incident {
        summary: "412 callbacks of 0.5 ms: 388 x io_read at src/x.rs:40".into(),
        culprit: Culprit { kind: "io_read".into(), label: "src/x.rs:40".into(), ..Culprit::default() },
        groups: vec![group(Some(388), "src/x.rs:40"), group(Some(24), "src/y.rs:7")],
        ..incident()
    };
    let text = text(Paint::plain(100), &Found { incident: many, origin: Origin::Page }, Frames::Folded, 0);
    assert!(text.contains("\n412 callbacks of 0.5 ms: 388 x io_read at src/x.rs:40\n"), "{text}");
    assert!(text.contains("What ran in it\n") && text.contains("     388 "), "{text}");
    assert!(!text.contains("not observed"), "{text}");
}

#[test]
fn figures_that_are_estimates_are_said_to_be_some() {
    let group = |count| Group { kind: "microtask".into(), label: "x.rs:3".into(), count, ..Group::default() };
    let told = |kind, unobserved| {
        let incident = Incident { kind, unobserved, groups: vec![group(Some(40_000))], ..incident() };
        text(Paint::plain(100), &Found { incident, origin: Origin::Page }, Frames::Folded, 0)
    };
    for (kind, unobserved, part) in [
        (IncidentKind::Starvation, 35_904, "35,904 callbacks not observed: COUNT and TOTAL are estimates"),
        (IncidentKind::Starvation, 1, "  1 callback not observed: "),
        (IncidentKind::Pool, 3, "  3 jobs not observed: "),
    ] {
        assert!(told(kind, unobserved).contains(part), "{}", told(kind, unobserved));
    }
}

#[test]
fn lines_fit_a_narrow_terminal() {
    for (label, short) in [
        ("flush (agent/cli/src/x.rs:40)", "flush (x.rs:40)"),
        ("src/x.rs:40, after src/y.rs:7", "x.rs:40, after y.rs:7"),
        ("flush", "flush"),
    ] {
        assert_eq!(one_line(label), short);
    }
    let mut long = incident();
    long.stacks[0].frames[0].function = "very::long::".repeat(20);
    long.records[59].site = format!("{}/x.rs:40", "directory/".repeat(12));
    let found = Found { incident: long, origin: Origin::Page };
    let text = text(Paint::plain(80), &found, Frames::Folded, 0);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("io_read x.rs:40\n"), "{text}");
}

#[test]
fn an_announced_part_is_told_where_it_is_one_of_the_stall() {
    let told = |expected_ns| {
        let incident = Incident { expected_ns, ..incident() };
        let origin = Origin::Agent(crate::endpoint::Endpoint::given("http://127.0.0.1:1"));
        text(Paint::plain(100), &Found { incident, origin }, Frames::Folded, 0)
    };
    assert!(!told(0).contains("announced") && !told(8_400).contains("announced"));
    assert!(told(150_000_000).contains("302 ms (threshold 100 ms), 150 ms of it announced"));
}

#[test]
fn frames_of_libraries_are_folded_unless_all_are_asked_for() {
    let frame = |function: &str, owner| Frame { function: function.into(), owner, ..Frame::default() };
    let library = |number: usize| frame(&format!("hyper::part{number}"), FrameOwner::Dependency);
    let mut frames = vec![frame("app::load", FrameOwner::Program)];
    frames.extend((0..40).map(library));
    frames.push(frame("app::main", FrameOwner::Program));
    let told = |shown| {
        let stacks = vec![StackCount { frames: frames.clone(), guilty: Some(0), ..stack() }];
        let found = Found { incident: Incident { stacks, ..incident() }, origin: Origin::Page };
        text(Paint::plain(100), &found, shown, 0)
    };
    let folded = told(Frames::Folded);
    assert!(folded.contains("  > app::load\n    ... 40 frames of hyper\n    app::main\n"), "{folded}");
    assert!(!folded.contains("--all-frames"), "{folded}");
    let all = told(Frames::All);
    assert!(all.contains("    hyper::part39\n    app::main\n") && !all.contains("... 40"), "{all}");
}

#[test]
fn without_a_stack_it_says_why_and_where_one_of_the_same_culprit_is() {
    let pointing = |stacks| {
        let one = Incident { stacks, stacks_in: Some(1), captures_suppressed: 3, ..incident() };
        let origin = Origin::Agent(crate::endpoint::Endpoint::given("http://127.0.0.1:1"));
        text(Paint::plain(100), &Found { incident: one, origin }, Frames::Folded, 0)
    };
    let elsewhere = "stacks of the same culprit: loopscope incidents 4711-1";
    let told = pointing(Vec::new());
    assert!(told.contains("3 stacks were not taken: the limit is two a second"), "{told}");
    assert!(told.contains(elsewhere), "{told}");
    assert!(!pointing(vec![stack()]).contains(elsewhere));
}
