//! Timelines of a hand-driven loop in virtual time, and the trace that is written of them.

use super::*;
use crate::profiles::FlameError;
use loopscope_probe::Queue;
use loopscope_probe::{Kind, Phase, TaskTimes, VirtualClock, WorkKind, Writer};
use serde_json::Value;
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Bench {
    time: VirtualClock,
    writer: Writer,
    follower: Follower,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(&Description::new())
    }

    fn of(runtime: &Description) -> Bench {
        let time = VirtualClock::starting_at(1_000 * MS);
        let clock = Clock::simulated(time.clone());
        let mut writer = Writer::builder("main").clock(clock.clone()).describe(runtime).build();
        writer.resume();
        writer.park();
        let follower = Follower::new(writer.page(), &clock, clock.now());
        Bench { time, writer, follower }
    }

    fn run(&mut self, kind: Kind, name: &str, life: TaskTimes, ms: u64) {
        let site = self.writer.named_site(Location::caller(), kind, name);
        self.writer.begin(kind, site, life);
        self.time.advance_ns(ms * MS);
        self.writer.end();
    }

    fn finish(self) -> Timeline {
        let Bench { writer, follower, .. } = self;
        let mut timeline = Timeline { process: "app".to_owned(), pid: 7, ..Timeline::default() };
        timeline.push(follower.finish(writer.page(), writer.clock().now(), "main"));
        timeline
    }
}

fn events(timeline: &Timeline) -> Vec<Value> {
    let file: Value = serde_json::from_slice(&timeline.trace().unwrap()).unwrap();
    file["traceEvents"].as_array().unwrap().clone()
}

/// Returns the slices as `start..end category name`, in milliseconds, and checks that they nest on each track.
fn slices(events: &[Value]) -> Vec<String> {
    let mut open: std::collections::HashMap<u64, Vec<usize>> = Default::default();
    let (mut found, mut last): (Vec<(String, f64, f64)>, f64) = (Vec::new(), f64::MIN);
    for event in events.iter().filter(|event| event["ph"] != "M") {
        let at = event["ts"].as_f64().unwrap();
        assert!(at >= last, "times never go back: {event}");
        last = at;
        let stack = open.entry(event["tid"].as_u64().unwrap()).or_default();
        let name = event["name"].as_str().unwrap().split(" (").next().unwrap();
        match event["ph"].as_str().unwrap() {
            "B" => {
                let cat = event["cat"].as_str().unwrap();
                stack.push(found.len());
                found.push((format!("{cat} {name}"), stack.len() as f64, at));
            }
            "E" => {
                let begun = &mut found[stack.pop().expect("something is open")];
                assert!(begun.0.ends_with(name), "{event} is not what was begun last: {begun:?}");
                let (depth, start) = (begun.1 as usize - 1, begun.2);
                begun.0 = format!("{}{}..{} {}", "  ".repeat(depth), start / 1e3, at / 1e3, begun.0);
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "all slices end");
    found.into_iter().map(|(text, ..)| text).collect()
}

#[test]
fn iterations_phases_callbacks_and_drains_are_nested() {
    let mut bench = Bench::new();
    bench.time.advance_ns(10 * MS);
    let ready = TaskTimes::ready_at(bench.writer.clock().now());
    bench.time.advance_ns(2 * MS);
    bench.writer.unpark(3);
    bench.writer.phase(Phase::POLL);
    bench.run(Kind::IoRead, "read", ready, 4);
    bench.writer.drain_begin(Queue::Microtask, 1);
    bench.run(Kind::Microtask, "then", TaskTimes::UNKNOWN, 1);
    bench.run(Kind::Microtask, "then", TaskTimes::UNKNOWN, 1);
    bench.writer.drain_end(Queue::Microtask, 2);
    bench.writer.drained();
    bench.writer.phase(Phase::TIMERS);
    bench.run(Kind::Timer, "tick", TaskTimes::UNKNOWN, 2);
    bench.writer.park();
    bench.time.advance_ns(5 * MS);
    bench.writer.unpark(0);
    bench.writer.phase(Phase::TIMERS);
    let site = bench.writer.named_site(Location::caller(), Kind::Timer, "slow");
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(30 * MS);
    let timeline = bench.finish();
    let events = events(&timeline);
    let expected = [
        "12..20 iteration iteration",
        "  12..18 phase poll",
        "    12..16 callback read",
        "    16..18 drain drain microtask",
        "      16..17 job microtask then",
        "      17..18 job microtask then",
        "  18..20 phase timers",
        "    18..20 callback tick",
        "25..55 iteration iteration",
        "  25..55 phase timers",
        "    25..55 callback slow",
    ];
    assert_eq!(slices(&events), expected);
    let args = |name: &str| {
        let event =
            events.iter().find(|event| event["name"].as_str().is_some_and(|found| found.starts_with(name)));
        event.unwrap()["args"].clone()
    };
    assert_eq!((&args("read")["wait_us"], &args("slow")["still running"]), (&2_000.0.into(), &true.into()));
    assert_eq!(args("drain")["jobs"], 2);
    assert_eq!(events[0]["args"]["name"], "app");
}

#[test]
fn pool_jobs_have_tracks_of_their_own_and_arrows_to_their_callbacks() {
    // Whatever the runtime calls what a job gives back to the loop.
    let runtime = Description::new().kind(Kind::WorkDone, "worker_job", "worker job", "worker jobs");
    let mut bench = Bench::of(&runtime);
    let mut pool = bench.writer.take_pool().unwrap();
    bench.writer.unpark(1);
    bench.writer.phase(Phase::POLL);
    let now = |bench: &Bench| bench.writer.clock().now();
    let site = bench.writer.named_site(Location::caller(), Kind::WorkDone, "hash");
    let submit = bench.writer.named_site(Location::caller(), Kind::IoRead, "read");
    bench.writer.begin(Kind::IoRead, submit, TaskTimes::UNKNOWN);
    bench.time.advance_ns(MS);
    let submitted = now(&bench);
    bench.time.advance_ns(MS);
    bench.writer.end();
    bench.writer.park();
    let started = now(&bench);
    bench.time.advance_ns(6 * MS);
    let ended = now(&bench);
    bench.writer.unpark(1);
    bench.writer.phase(Phase::POLL);
    let job = JobRecord {
        number: 0,
        kind: WorkKind::Crypto,
        site,
        worker: 3,
        submitted,
        started,
        ended,
        is_ok: true,
    };
    pool.record(&job);
    bench.writer.begin(Kind::WorkDone, site, TaskTimes { submitted, ready: ended });
    bench.time.advance_ns(MS);
    bench.writer.end();
    bench.writer.park();
    let timeline = bench.finish();
    let events = events(&timeline);
    let found = slices(&events);
    assert!(found.contains(&"2..8 pool hash".to_owned()), "{found:#?}");
    let arrows: Vec<(&str, f64, u64)> = events
        .iter()
        .filter(|event| event["id"].is_u64())
        .map(|event| {
            (
                event["ph"].as_str().unwrap(),
                event["ts"].as_f64().unwrap() / 1e3,
                event["tid"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(arrows, [("s", 1.0, 1), ("t", 2.0, 5), ("f", 8.0, 1)]);
}

#[test]
fn what_was_overwritten_is_counted_and_nothing_is_an_error() {
    let mut bench = Bench::new();
    bench.writer.unpark(1);
    for _ in 0..5_000 {
        bench.run(Kind::IoRead, "read", TaskTimes::UNKNOWN, 1);
    }
    bench.writer.park();
    let timeline = bench.finish();
    assert_eq!(timeline.lost() as usize + timeline.tracks[0].entries.len(), 5_000);
    assert!(timeline.lost() > 900, "{}", timeline.lost());
    let file: Value = serde_json::from_slice(&timeline.trace().unwrap()).unwrap();
    assert_eq!(file["otherData"]["callbacks_lost"], timeline.lost());
    assert!(timeline.clone().of_loop("other").is_empty() && !timeline.of_loop("main").is_empty());
    assert!(matches!(Bench::new().finish().trace(), Err(FlameError::Empty)));
}

#[test]
fn loops_of_one_name_have_tracks_of_the_names_that_displays_give_them() {
    let mut timeline = Timeline { process: "app".to_owned(), pid: 7, ..Timeline::default() };
    for name in ["main", "main#2"] {
        let mut bench = Bench::new();
        let mut pool = bench.writer.take_pool().unwrap();
        bench.writer.unpark(1);
        bench.run(Kind::IoRead, "read", TaskTimes::UNKNOWN, 1);
        let started = bench.writer.clock().now();
        bench.time.advance_ns(MS);
        let (number, worker, is_ok, ended) = (0, 0, true, bench.writer.clock().now());
        let (kind, site, submitted) = (WorkKind::Fs, SiteId::NONE, started);
        pool.record(&JobRecord { number, kind, site, worker, submitted, started, ended, is_ok });
        let Bench { writer, follower, .. } = bench;
        timeline.push(follower.finish(writer.page(), writer.clock().now(), name));
    }
    let all = events(&timeline);
    let names = all.iter().filter(|event| event["name"] == "thread_name");
    let names: Vec<&str> = names.map(|event| event["args"]["name"].as_str().unwrap()).collect();
    let threads = ["loop main", "loop main pool thread 0", "loop main#2", "loop main#2 pool thread 0"];
    assert_eq!(names, threads);
}

#[test]
fn the_extract_of_an_incident_is_a_timeline() {
    use crate::incident;
    let record = |start_ns, run_ns, is_running| incident::Record {
        start_ns,
        run_ns,
        kind: "timer".to_owned(),
        phase: "timers".to_owned(),
        site: "t".to_owned(),
        is_running,
        ..incident::Record::default()
    };
    let incident = Incident {
        r#loop: "main".to_owned(),
        begin_unix_ns: 5_000_000_000,
        records: vec![record(-900 * MS as i64, MS, false), record(0, 200 * MS, true)],
        iterations: vec![incident::Iteration {
            start_ns: -901 * MS as i64,
            busy_ns: 3 * MS,
            ..Default::default()
        }],
        records_lost: 4,
        ..Incident::default()
    };
    let timeline = Timeline::of_incident(&incident);
    assert_eq!((timeline.lost(), timeline.begin_unix_ns), (4, 4_099_000_000));
    let expected = [
        "0..3 iteration iteration",
        "  1..2 phase timers",
        "    1..2 callback t",
        "901..1101 iteration iteration",
        "  901..1101 phase timers",
        "    901..1101 callback t",
    ];
    assert_eq!(slices(&events(&timeline)), expected);
}
