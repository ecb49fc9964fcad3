//! Incidents of a hand-driven loop in virtual time, with a thread that is told how it was found.

use super::*;
use crate::watch::capture_budget::PER_SECOND;
use crate::watch::pool::PoolWatch;
use crate::watch::thread_state::Shot;
use loopscope_probe::JobRecord;
use loopscope_probe::Queue;
use loopscope_probe::description::{Description, Sign, Term, Trouble};
use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Vitals, WorkKind, Writer};
use loopscope_report::compute::classify::{FoundState, Reading};
use loopscope_report::compute::stall::StallWatch;
use loopscope_report::incident::Class;
use loopscope_report::incident_builder::Observation;
use loopscope_report::model::thresholds::Thresholds;
use std::panic::Location;
use std::sync::{Arc, Mutex};

#[path = "incident_tracker_black_box_tests.rs"]
mod black_box;
#[path = "incident_tracker_capture_tests.rs"]
mod captures;
#[path = "incident_tracker_cause_tests.rs"]
mod causes;
#[path = "incident_tracker_thread_wait_tests.rs"]
mod thread_waits;

const MS: u64 = 1_000_000;

/// How the thread is found, and what it has used.
#[derive(Debug)]
struct Told {
    cpu_ns: u64,
    runqueue_ns: u64,
    found: Found,
    /// Why a stack cannot be asked for; how often one was; what arrives.
    refusal: Option<String>,
    asked: u64,
    shot: Option<Shot>,
    /// What the first step of a capture comes to, and how often the second finds the thread switched.
    prepared: Prepared,
    steady_after: u32,
}

impl Default for Told {
    fn default() -> Self {
        Told {
            cpu_ns: 0,
            runqueue_ns: 0,
            found: Found::default(),
            refusal: None,
            asked: 0,
            shot: None,
            prepared: Prepared::Arrived,
            steady_after: 0,
        }
    }
}

#[derive(Clone, Default)]
struct FakeSight(Arc<Mutex<Told>>);

impl ThreadObserver for FakeSight {
    fn reading(&mut self, now_ns: u64) -> Option<Reading> {
        let told = self.0.lock().unwrap();
        Some(Reading { at_ns: now_ns, cpu_ns: told.cpu_ns, runqueue_ns: told.runqueue_ns })
    }

    fn look(&mut self) -> Found {
        self.0.lock().unwrap().found.clone()
    }

    fn asleep_in(&mut self, tid: u32) -> Option<String> {
        (tid == 4_711).then(|| "read(fd 5 -> pipe:[81])".to_owned())
    }

    fn prepare(&mut self) -> Result<Prepared, NoCapture> {
        let mut told = self.0.lock().unwrap();
        told.asked += 1;
        match &told.refusal {
            Some(why) => Err(NoCapture::Failed(CaptureError::Unavailable(why.clone()))),
            None => Ok(told.prepared),
        }
    }

    fn send(&mut self, _barrier: Barrier) -> Result<(), NoCapture> {
        let mut told = self.0.lock().unwrap();
        if told.steady_after == 0 {
            return Ok(());
        }
        told.steady_after -= 1;
        Err(NoCapture::NotNow)
    }

    fn take(&mut self) -> Option<Shot> {
        self.0.lock().unwrap().shot.take()
    }
}

pub(super) struct Bench {
    time: VirtualClock,
    writer: Writer,
    stalls: StallWatch,
    pool: PoolWatch,
    tracker: IncidentTracker,
    sight: FakeSight,
    queue: IncidentQueue,
    gap: Gap,
    throttled_ns: (u64, u64),
}

impl Bench {
    fn new(reports_per_minute: u32) -> Self {
        Bench::of(&Description::new(), reports_per_minute)
    }

    /// Of a runtime that says this of itself.
    fn of(runtime: &Description, reports_per_minute: u32) -> Self {
        let time = VirtualClock::starting_at(50_000 * MS);
        let builder = Writer::builder("main").clock(Clock::simulated(time.clone()));
        let mut writer = builder.describe(runtime).build();
        writer.resume();
        writer.park();
        let sight = FakeSight::default();
        sight.0.lock().unwrap().refusal = Some("no stacks here".to_owned());
        let tracker = IncidentTracker::new(Box::new(sight.clone()), reports_per_minute, PER_SECOND);
        let (stalls, pool) = (StallWatch::default(), PoolWatch::default());
        let (queue, gap) = (IncidentQueue::default(), Gap::default());
        let throttled_ns = (0, 0);
        let mut bench = Bench { time, writer, stalls, pool, tracker, sight, queue, gap, throttled_ns };
        bench.look();
        bench
    }

    /// One look of the agent at a threshold of 100 ms, or the page's own.
    fn look(&mut self) {
        let (taken, vitals) = self.vitals();
        self.look_as_of(taken, vitals);
    }

    fn vitals(&self) -> (Ticks, Vitals) {
        let clock = self.writer.clock();
        let taken = clock.now();
        (taken, self.writer.page().vitals_at(clock, taken))
    }

    /// One look that read the page's vitals at `taken`; the page may have changed since.
    fn look_as_of(&mut self, taken: Ticks, vitals: Vitals) {
        let (clock, now_ns) = (self.writer.clock().clone(), self.time.now_ns());
        let page = self.writer.page();
        let thresholds =
            Thresholds { warning_ns: page.control().warning_ns(), critical_ns: page.control().critical_ns() };
        let turns = self.stalls.look(page, &clock, &vitals);
        let look_at_pool = |pool| self.pool.look(pool, clock.scale().ns(taken.0), thresholds);
        let pool_turns = vitals.pool.as_ref().map(look_at_pool).unwrap_or_default();
        let at = At {
            seen: Observation {
                label: "main",
                ordinal: 0,
                page,
                clock: &clock,
                vitals: &vitals,
                taken,
                unix_ns: 1_700_000_000_000 * MS + now_ns,
                warning_ns: thresholds.warning_ns,
                critical_ns: thresholds.critical_ns,
            },
            tid: 0,
            now_ns,
            steal_ratio: 0.0,
            throttled_ns: self.throttled_ns,
        };
        self.tracker.look(&at, self.gap, turns, pool_turns, &mut self.queue);
        self.tracker.send(now_ns, Barrier::Asymmetric);
        self.gap = Gap::default();
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.sight.0.lock().unwrap());
    }

    fn site(&mut self, kind: Kind, name: &str) -> SiteId {
        self.writer.named_site(Location::caller(), kind, name)
    }

    fn begin(&mut self, kind: Kind, site: SiteId) {
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
    }

    fn pass(&mut self, ms: u64) {
        self.time.advance_ns(ms * MS);
    }

    fn finish(&mut self) {
        self.writer.end();
        self.writer.park();
        self.pass(5);
        self.look();
    }

    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.queue.said).into_iter().map(|report| report.message).collect()
    }

    fn incident(&self) -> Incident {
        Incident::clone(self.queue.store.newest_first().next().unwrap())
    }
}

#[test]
fn a_stall_is_one_record_from_its_detection_to_its_end() {
    let mut bench = Bench::new(10);
    let (read, site) = (bench.site(Kind::IoRead, "read"), bench.site(Kind::Timer, "flush"));
    bench.writer.unpark(1);
    bench.begin(Kind::IoRead, read);
    bench.pass(2);
    bench.writer.end();
    bench.writer.park();
    bench.pass(500);
    bench.writer.unpark(3);
    bench.look();
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.tell(|told| told.cpu_ns += 100 * MS);
    bench.look();
    let open = bench.incident();
    assert_eq!(open.id.to_string(), format!("{}-1", std::process::id()));
    assert_eq!((open.is_over, open.duration_ns, open.class), (false, 101 * MS, Class::Computing));
    assert_eq!((open.kind, open.culprit.name.as_str()), (IncidentKind::Stall, "flush"));
    assert_eq!((open.watched_ns, open.cpu_ns), (101 * MS, 100 * MS));
    assert_eq!(open.begin_unix_ns, 1_700_000_000_000 * MS + bench.time.now_ns() - 101 * MS);
    assert_eq!(open.summary, "1 callback of 101 ms");
    let starts: Vec<i64> = open.records.iter().map(|record| record.start_ns / MS as i64).collect();
    assert_eq!((starts, open.records[1].is_running), (vec![-502, 0], true));
    assert!(
        open.before.utilization.is_some_and(|ratio| ratio < 0.01) && open.before.period_ns > 0,
        "{:?}",
        open.before
    );
    bench.pass(950);
    bench.look();
    bench.pass(20);
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.is_over, closed.duration_ns), (true, 1_071 * MS));
    assert_eq!((closed.severity, closed.during.lag_ns_p50), (Severity::Critical, Some(1_071 * MS / 2)));
    assert_eq!(closed.records.len(), 2);
    assert_eq!(
        (closed.iterations.last().unwrap().busy_ns, bench.queue.store.newest_first().count()),
        (1_071 * MS, 1)
    );
    let lines = bench.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("loop main blocked for 101 ms by timer flush ("), "{}", lines[0]);
    assert!(lines[1].contains(", 10 times the threshold"), "{}", lines[1]);
    assert!(lines[2].starts_with("loop main polls again after 1.1 s; it was blocked by"), "{}", lines[2]);
    assert_eq!(bench.queue.kept.len(), 3, "opened, grown, closed");
    assert_eq!(bench.tracker.counts().incidents, [1, 0, 0]);
}

/// Between two doublings of its threshold.
#[test]
fn of_a_stall_under_way_the_age_and_what_it_consists_of_are_of_one_moment() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.look();
    bench.pass(60);
    bench.look();
    bench.tracker.refresh(bench.writer.page(), &mut bench.queue);
    let open = bench.incident();
    assert_eq!((open.is_over, open.duration_ns), (false, 161 * MS));
    assert_eq!((open.summary.as_str(), open.groups[0].total_ns), ("1 callback of 161 ms", 161 * MS));
}

#[test]
fn a_waiting_thread_and_a_starved_one_are_told_apart() {
    for (runqueue_ms, throttled_ms, class, words) in [
        (0, 0, Class::Waiting, ", waiting in read(fd 3 -> pipe:[81]) ["),
        (0, 80, Class::Waiting, ", waiting in read(fd 3 -> pipe:[81]) ["),
        (90, 0, Class::StarvedOfCpu, ", starved of CPU: runnable but not scheduled for 90 ms ["),
        (90, 80, Class::StarvedOfCpu, ", throttled by the CPU quota of its cgroup for 80 ms ["),
    ] {
        let mut bench = Bench::new(10);
        let site = bench.site(Kind::Timer, "t");
        bench.writer.unpark(1);
        bench.look();
        bench.begin(Kind::Timer, site);
        bench.pass(110);
        bench.tell(|told| {
            told.runqueue_ns += runqueue_ms * MS;
            told.found.state = Some(FoundState::Asleep);
            told.found.waiting_in = Some("read(fd 3 -> pipe:[81])".to_owned());
        });
        bench.throttled_ns = (5_000 * MS, (5_000 + throttled_ms) * MS);
        bench.look();
        assert_eq!(bench.incident().class, class);
        let line = bench.lines().remove(0);
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_stopped_process_and_a_suspended_machine_are_nobody_s_fault() {
    let gap = |late_ms: u64, suspended_ms: u64| Gap {
        length_ns: 5_000 * MS,
        late_ns: late_ms * MS,
        runqueue_ns: 0,
        suspended_ns: suspended_ms * MS,
    };
    for (gap, is_traced, class) in [
        (gap(4_900, 0), false, Class::Stopped),
        (gap(4_900, 0), true, Class::Debugger),
        (gap(0, 4_900), false, Class::Suspended),
        (gap(0, 0), false, Class::Waiting),
    ] {
        let mut bench = Bench::new(10);
        let site = bench.site(Kind::Timer, "t");
        bench.writer.unpark(1);
        bench.look();
        bench.begin(Kind::Timer, site);
        bench.pass(5_000);
        bench.gap = gap;
        bench.tell(|told| {
            let tracer = is_traced.then(|| "gdb, pid 812".to_owned());
            told.found = Found { tracer, state: Some(FoundState::Asleep), ..Found::default() };
        });
        bench.look();
        assert_eq!(bench.incident().class, class);
        let line = bench.lines().remove(0);
        assert_eq!(line.contains("was stopped for"), class != Class::Waiting, "{line}");
        bench.finish();
        assert_eq!(bench.incident().class, class);
    }
}

#[test]
fn a_stop_that_hides_a_stall_s_end_is_seen_at_its_end() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::Timer, "t");
    bench.writer.unpark(1);
    bench.look();
    bench.begin(Kind::Timer, site);
    bench.pass(101);
    bench.tell(|told| told.cpu_ns += 101 * MS);
    bench.look();
    assert_eq!(bench.incident().class, Class::Computing);
    bench.pass(9_000);
    bench.gap = Gap { length_ns: 9_000 * MS, late_ns: 8_900 * MS, ..Gap::default() };
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.class, closed.is_over), (Class::Stopped, true));
    assert_eq!(closed.notes, ["the process was stopped for 8.9 s"]);
}

#[test]
fn a_flood_says_which_site_queues_again_and_after_what() {
    let mut bench = Bench::new(10);
    let (read, again) = (bench.site(Kind::IoRead, "read"), bench.site(Kind::Microtask, "again"));
    bench.writer.unpark(1);
    bench.look();
    bench.begin(Kind::IoRead, read);
    bench.pass(1);
    bench.writer.end();
    bench.writer.drain_begin(Queue::Microtask, 1);
    for _ in 0..411 {
        bench.begin(Kind::Microtask, again);
        bench.time.advance_ns(MS / 2);
        bench.writer.end();
    }
    bench.look();
    let incident = bench.incident();
    assert_eq!((incident.kind, incident.cause.as_str()), (IncidentKind::Starvation, "microtask"));
    assert!(
        incident.summary.starts_with("412 callbacks of 501 µs: 411 x microtask again ("),
        "{}",
        incident.summary
    );
    assert!(incident.groups[0].parent.as_ref().unwrap().starts_with("read ("), "{:?}", incident.groups[0]);
    let line = bench.lines().remove(0);
    assert!(line.contains(", after read ("), "{line}");
    assert_eq!(bench.tracker.counts().incidents, [0, 1, 0]);
}

/// As where one continuation of an async function computes for long.
#[test]
fn a_drain_that_was_one_long_job_has_blocked_the_loop_and_not_starved_it() {
    for (jobs, kind, cause, words) in [
        (1, IncidentKind::Stall, "callback", "it was blocked by microtask queue (i"),
        (3, IncidentKind::Starvation, "microtask", "it was starved by microtasks"),
    ] {
        let mut bench = Bench::new(10);
        let queue = bench.site(Kind::Microtask, "queue");
        bench.writer.unpark(1);
        bench.look();
        bench.writer.drain_begin(Queue::Microtask, 0);
        bench.writer.begin_many(Kind::Microtask, queue);
        bench.pass(150);
        bench.look();
        assert_eq!(bench.incident().kind, IncidentKind::Starvation, "while it runs nobody knows");
        let line = bench.lines().remove(0);
        assert!(line.contains("blocked for 150 ms by") && line.contains("(one or many jobs)"), "{line}");
        bench.pass(50);
        bench.writer.end_many(jobs);
        bench.writer.drain_end(Queue::Microtask, jobs);
        bench.writer.drained();
        bench.writer.iteration();
        bench.writer.park();
        bench.pass(5);
        bench.look();
        let incident = bench.incident();
        assert_eq!((incident.kind, incident.cause.as_str()), (kind, cause), "{}", incident.summary);
        let line = bench.lines().pop().unwrap();
        assert!(line.contains(words), "{line}");
    }
}

/// The test of Seastar: ten stalls, a budget of five.
#[test]
fn past_the_budget_stalls_are_counted_and_said_to_be_suppressed() {
    let mut bench = Bench::new(5);
    let site = bench.site(Kind::Timer, "t");
    for _ in 0..10 {
        bench.writer.unpark(1);
        bench.begin(Kind::Timer, site);
        bench.pass(110);
        bench.look();
        bench.pass(90);
        bench.finish();
        bench.pass(1_000);
        bench.look();
    }
    let lines = bench.lines();
    let begins = lines.iter().filter(|line| line.contains("blocked for 110 ms")).count();
    let ends = lines.iter().filter(|line| line.contains("polls again after 200 ms")).count();
    assert_eq!((begins, ends, lines.len()), (5, 5, 10), "{lines:?}");
    assert_eq!(bench.queue.store.newest_first().count(), 10, "all are recorded");
    assert_eq!(bench.tracker.counts().suppressed, 5);
    bench.pass(60_000);
    bench.look();
    assert_eq!(
        bench.lines(),
        ["5 more incidents of loop main in the last minute not logged; see loopscope incidents"]
    );
}

#[test]
fn two_thousand_short_callbacks_with_polls_between_are_no_stall() {
    let mut bench = Bench::new(5);
    let site = bench.site(Kind::Timer, "t");
    for _ in 0..2_000 {
        bench.writer.unpark(1);
        bench.begin(Kind::Timer, site);
        bench.time.advance_ns(MS / 2);
        bench.look();
        bench.writer.end();
        bench.writer.park();
    }
    assert_eq!((bench.lines(), bench.tracker.counts()), (vec![], IncidentCounts::default()));
}

#[test]
fn a_wedge_that_began_past_the_budget_is_told_in_the_next_minute() {
    let mut bench = Bench::new(1);
    let site = bench.site(Kind::Timer, "t");
    for _ in 0..2 {
        bench.writer.unpark(1);
        bench.begin(Kind::Timer, site);
        bench.pass(101);
        bench.look();
        if bench.incident().number() == 1 {
            bench.finish();
        }
    }
    bench.lines();
    bench.pass(61_000);
    bench.look();
    bench.pass(60_000);
    bench.look();
    let lines = bench.lines();
    assert!(lines.iter().any(|line| line.contains("blocked for")), "{lines:?}");
}

#[test]
fn a_stall_that_nobody_saw_is_recorded_too() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::Accept, "slow");
    bench.writer.unpark(1);
    bench.begin(Kind::Accept, site);
    bench.pass(150);
    bench.finish();
    let incident = bench.incident();
    assert!(incident.was_missed && incident.is_over);
    assert_eq!((incident.duration_ns, incident.class), (150 * MS, Class::Unknown));
    let lines = bench.lines();
    assert!(lines[0].contains("was blocked for 150 ms by accept slow (") && lines.len() == 1, "{lines:?}");
}

/// A job that ran well.
fn job(site: SiteId, submitted: Ticks, started: Ticks, ended: Ticks) -> JobRecord {
    JobRecord { number: 0, kind: WorkKind::Zlib, site, worker: 0, submitted, started, ended, is_ok: true }
}

#[test]
fn a_saturated_pool_is_an_incident_with_its_jobs() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::WorkDone, "resize");
    let mut pool = bench.writer.take_pool().unwrap();
    pool.threads(1);
    bench.look();
    let first = pool.clock().now();
    pool.submitted(WorkKind::Zlib, first);
    let started = pool.started(WorkKind::Zlib, first, None);
    let second = pool.clock().now();
    pool.submitted(WorkKind::Zlib, second);
    bench.pass(80);
    bench.look();
    let ended = pool.clock().now();
    pool.finished(WorkKind::Zlib, started, ended, true);
    pool.record(&job(site, first, started, ended));
    bench.pass(40);
    bench.look();
    let open = bench.incident();
    assert_eq!((open.kind, open.cause.as_str(), open.is_over), (IncidentKind::Pool, "pool", false));
    assert_eq!((open.culprit.name.as_str(), open.groups[0].total_ns), ("resize", 80 * MS));
    assert_eq!((open.pool.as_ref().unwrap().queued, open.jobs.len()), (Some(1), 1));
    // Between two doublings of the threshold.
    pool.submitted(WorkKind::Zlib, second);
    bench.pass(30);
    bench.look();
    bench.tracker.refresh(bench.writer.page(), &mut bench.queue);
    let grown = bench.incident();
    assert_eq!((open.duration_ns, grown.duration_ns), (120 * MS, 150 * MS));
    assert_eq!(grown.pool.as_ref().unwrap().queued, Some(2));
    pool.started(WorkKind::Zlib, second, None);
    pool.started(WorkKind::Zlib, second, None);
    bench.pass(90);
    bench.look();
    assert!(bench.incident().is_over);
    let lines = bench.lines();
    assert!(lines[0].starts_with("pool of loop main saturated for 120 ms: "), "{lines:?}");
    assert!(lines[1].starts_with("pool of loop main no longer saturated after "), "{lines:?}");
}
