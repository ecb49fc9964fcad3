//! The agent and the black box tell the same of one page: all but what only the agent knows.

use super::{Bench, MS, job};
use loopscope_probe::Queue;
use loopscope_probe::{Kind, WorkKind};
use loopscope_report::diagnose::{LoopName, reconstruct, under_way};
use loopscope_report::incident::{Class, Incident, IncidentKind, LoopFigures};

/// Leaves out what only the agent knows, and what a page knows from another clock: the id, the moment since 1970, the
/// thread's accounts and stacks, and the loop before.
fn common(incident: Incident) -> Incident {
    Incident {
        id: Default::default(),
        begin_unix_ns: 0,
        class: Class::default(),
        waiting_in: None,
        cpu_ns: 0,
        runqueue_ns: 0,
        watched_ns: 0,
        notes: Vec::new(),
        stacks: Vec::new(),
        captures_failed: Vec::new(),
        captures_suppressed: 0,
        before: LoopFigures::default(),
        ..incident
    }
}

/// Compares what both tell now. Returns it.
fn compare(bench: &Bench) -> Incident {
    let (page, clock) = (bench.writer.page(), bench.writer.clock());
    let of_agent = common(bench.incident());
    let who = LoopName { ordinal: 0, label: "main" };
    for of_page in [reconstruct(page, clock, clock.now(), &who), under_way(page, clock, clock.now(), &who)] {
        assert_eq!(of_agent, common(of_page));
    }
    of_agent
}

#[test]
fn a_stall_is_told_the_same() {
    let mut bench = Bench::new(10);
    let (read, flush) = (bench.site(Kind::IoRead, "read"), bench.site(Kind::Timer, "flush"));
    let _spans = bench.writer.install_spans();
    bench.writer.unpark(1);
    bench.begin(Kind::IoRead, read);
    bench.pass(2);
    bench.writer.end();
    bench.writer.park();
    bench.pass(500);
    bench.writer.unpark(3);
    bench.look();
    bench.begin(Kind::Timer, flush);
    let site = loopscope_probe::spans::site("query", "db.rs", 3).unwrap();
    let _span = loopscope_probe::spans::enter(site, "id=7").unwrap();
    bench.pass(101);
    bench.look();
    let incident = compare(&bench);
    assert_eq!((incident.kind, incident.culprit.kind.as_str()), (IncidentKind::Stall, "timer"));
    assert_eq!((incident.records.len(), incident.iterations.len(), incident.spans.len()), (2, 2, 1));
    bench.pass(1_200);
    bench.look();
    assert_eq!(compare(&bench).summary, "1 callback of 1.3 s");
}

#[test]
fn a_stall_outside_any_callback_is_told_the_same() {
    let mut bench = Bench::new(10);
    bench.writer.unpark(1);
    bench.look();
    bench.pass(150);
    bench.look();
    let incident = compare(&bench);
    assert_eq!(
        (incident.culprit.kind.as_str(), incident.summary.as_str()),
        ("main", "no callback for 150 ms")
    );
}

#[test]
fn a_flood_is_told_the_same() {
    let mut bench = Bench::new(10);
    let (read, again) = (bench.site(Kind::IoRead, "read"), bench.site(Kind::Microtask, "again"));
    bench.writer.unpark(1);
    bench.look();
    bench.begin(Kind::IoRead, read);
    bench.pass(1);
    bench.writer.end();
    bench.writer.drain_begin(Queue::Microtask, 1);
    for look in [false, true, true] {
        for _ in 0..700 {
            bench.begin(Kind::Microtask, again);
            bench.time.advance_ns(MS / 10);
            bench.writer.end();
        }
        if look {
            bench.look();
        }
    }
    let incident = compare(&bench);
    assert_eq!((incident.kind, incident.cause.as_str()), (IncidentKind::Starvation, "microtask"));
    assert_eq!(incident.culprit.kind, "microtask");
    assert_eq!((incident.groups[0].count, incident.records_lost), (Some(2_100), 2_101 - 1_024));
}

#[test]
fn a_saturated_pool_is_told_the_same() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::WorkDone, "resize");
    let mut pool = bench.writer.take_pool().unwrap();
    pool.threads(1);
    bench.look();
    let first = pool.clock().now();
    for _ in 0..3 {
        pool.submitted(WorkKind::Zlib, first);
    }
    let started = pool.started(WorkKind::Zlib, first, None);
    bench.pass(80);
    bench.look();
    let ended = pool.clock().now();
    pool.finished(WorkKind::Zlib, started, ended, true);
    pool.record(&job(site, first, started, ended));
    pool.started(WorkKind::Zlib, first, None);
    bench.pass(101);
    bench.look();
    let incident = compare(&bench);
    assert_eq!((incident.kind, incident.cause.as_str()), (IncidentKind::Pool, "pool"));
    assert_eq!((incident.culprit.name.as_str(), incident.pool.unwrap().queued), ("resize", Some(1)));
}
