//! Views of loops on a virtual clock: what is told while it lasts, and afterwards.

use super::{LoopSample, LoopView, StateKind, View, ViewBuilder};
use loopscope_probe::raw::loop_id::Called;
use loopscope_probe::{Builder, Clock, Kind, Phase, Queue, TaskTimes, VirtualClock, WorkKind, Writer, spans};
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Stage {
    time: VirtualClock,
    writer: Writer,
    observer: ViewBuilder,
}

impl Stage {
    fn new(name: &str) -> Stage {
        Stage::of(Writer::builder(name), VirtualClock::starting_at(1_000))
    }

    fn of(builder: Builder, time: VirtualClock) -> Stage {
        let mut writer = builder.clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.iteration();
        writer.park();
        Stage { time, writer, observer: ViewBuilder::new() }
    }

    fn seen(&self) -> LoopSample {
        let clock = self.writer.clock();
        LoopSample::of(self.writer.page(), clock, clock.now())
    }

    fn view(&mut self) -> View {
        let seen = self.seen();
        self.observer.observe([seen], self.time.now_ns())
    }

    fn look(&mut self) -> LoopView {
        self.view().processes.remove(0).loops.remove(0)
    }

    fn idle(&mut self, ms: u64) {
        self.time.advance_ns(ms * MS);
    }

    fn begin(&mut self, kind: Kind, name: &str) {
        self.writer.unpark(1);
        self.writer.phase(Phase::TIMERS);
        let site = self.writer.named_site(Location::caller(), kind, name);
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
    }

    fn end(&mut self) {
        self.writer.end();
        self.writer.phase(Phase::POLL);
        self.writer.iteration();
        self.writer.park();
    }
}

#[test]
fn an_idle_loop_has_no_lag_and_costs_nothing() {
    let mut stage = Stage::new("web");
    stage.look();
    stage.idle(500);
    let view = stage.look();
    assert_eq!((view.state.kind, view.interval_ns), (StateKind::Idle, 500 * MS));
    let (busy, lag) = (view.utilization_ratio, view.lag.as_ref().unwrap().p99_ns);
    assert_eq!((busy, lag, view.callbacks_per_second), (Some(0.0), 0, Some(0.0)));
    assert!(view.sites.is_empty() && view.phases.is_empty(), "{view:?}");
    assert_eq!(view.stalls.warning_count, 0);
}

#[test]
fn a_stopped_process_is_told_as_such_wherever_it_was_stopped() {
    let mut stage = Stage::new("web");
    stage.idle(300);
    let kind = |stage: &mut Stage| {
        let seen = stage.seen().stopped(true);
        let state = stage.observer.observe([seen], 1).processes.remove(0).loops.remove(0).state;
        (state.kind.name(), state.is_critical, state.busy_ns / MS, state.parked_ns / MS)
    };
    assert_eq!(kind(&mut stage), ("stopped", false, 0, 300));
    stage.begin(Kind::Timer, "flush");
    stage.idle(2_000);
    assert_eq!(kind(&mut stage), ("stopped", false, 2_000, 0));
    assert_eq!(stage.look().state.kind, StateKind::Stalled, "it goes on");
}

#[test]
fn a_stall_grows_from_view_to_view_and_is_told_once() {
    let mut stage = Stage::new("web");
    stage.idle(100);
    stage.look();
    stage.idle(300);
    stage.begin(Kind::Timer, "flush");
    stage.idle(200);
    let first = stage.look();
    assert_eq!((first.state.kind, first.state.busy_ns / MS), (StateKind::Stalled, 200));
    let running = first.state.running.as_ref().unwrap();
    assert!(running.words.starts_with("timer flush (") && running.phase == "timers", "{running:?}");
    assert_eq!(first.state.verdict.as_ref().unwrap().words, running.words);
    assert_eq!((first.sites[0].share_ratio, first.sites[0].is_running), (0.4, true));
    assert_eq!((&*first.phases[0].phase, first.phases[0].share_ratio), ("timers", 0.4));
    assert_eq!((first.stalls.warning_count, first.stalls.warning_count_new), (1, 1));
    let lag = first.lag.as_ref().unwrap();
    // One a millisecond, at a random moment of it: the last may be to come.
    let arrived = lag.row.iter().sum::<u64>();
    assert!((499..=501).contains(&arrived), "300 did not wait, 200 wait still: {arrived}");
    stage.idle(1_000);
    let second = stage.look();
    assert!(second.state.is_critical && second.state.busy_ns == 1_200 * MS);
    assert_eq!((second.sites[0].share_ratio, second.utilization_ratio), (1.0, Some(1.0)));
    assert_eq!((second.stalls.critical_count, second.stalls.warning_count_new), (1, 0));
    let lag = second.lag.as_ref().unwrap();
    assert!(lag.max_ns >= 1_200 * MS && lag.p50_ns >= 600 * MS, "{lag:?}");
    assert_eq!(second.stalls.blocked_ns, 1_200 * MS);
    stage.end();
    stage.idle(500);
    let third = stage.look();
    assert_eq!(
        (third.state.kind, third.sites.first().map(|site| site.share_ratio)),
        (StateKind::Idle, Some(0.0))
    );
    assert_eq!((third.sites[0].calls_per_second, third.sites[0].longest_ns), (2.0, 1_200 * MS));
    assert_eq!((third.stalls.warning_count, third.stalls.blocked_ns), (1, 1_200 * MS));
    assert!(
        third.lag.as_ref().unwrap().max_ns >= 1_200 * MS,
        "those who waited are in the lag when their wait is over"
    );
    stage.idle(500);
    assert_eq!(stage.look().lag.unwrap().max_ns, 0);
}

#[test]
fn many_runs_are_judged_and_their_drain_is_told() {
    let mut stage = Stage::new("web");
    let site = stage.writer.named_site(Location::caller(), Kind::Microtask, "again");
    stage.look();
    stage.writer.unpark(1);
    stage.writer.drain_begin(Queue::Microtask, 1);
    for _ in 0..1_400 {
        stage.writer.begin(Kind::Microtask, site, TaskTimes::UNKNOWN);
        stage.idle(1);
        stage.writer.end();
    }
    stage.writer.begin(Kind::Microtask, site, TaskTimes::UNKNOWN);
    let view = stage.look();
    let verdict = view.state.verdict.unwrap();
    assert_eq!((verdict.cause, verdict.runs), ("microtask", Some(1_401)));
    assert!(verdict.words.starts_with("1,401 x microtask again ("), "{}", verdict.words);
    let drain = view.state.drain.unwrap();
    assert_eq!((drain.queue.as_str(), drain.jobs, drain.drain_ns), ("microtask", Some(1_400), 1_400 * MS));
    assert!(view.sites[0].share_ratio > 0.6, "all but the batch that is not counted: {:?}", view.sites);
    stage.writer.end();
    stage.writer.drained();
    stage.end();
    let view = stage.look();
    let drain = view.drains.iter().find(|drain| drain.queue == "microtask").unwrap();
    assert!(drain.p99_ns == Some(0) || drain.p99_ns >= Some(400 * MS), "{drain:?}");
}

#[test]
fn spans_and_announced_blocks_are_told() {
    let mut stage = Stage::new("web");
    let _spans = stage.writer.install_spans();
    stage.begin(Kind::IoRead, "request");
    let span = spans::enter(spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
    stage.idle(20);
    let view = stage.look();
    assert_eq!(view.state.kind, StateKind::Running);
    assert_eq!((view.state.spans[0].name.as_str(), view.state.spans[0].fields.as_str()), ("query", "id=7"));
    spans::leave(span);
    stage.end();
    assert!(stage.look().state.spans.is_empty());
}

#[test]
fn the_pool_tells_who_waits() {
    let mut stage = Stage::new("web");
    let mut pool = stage.writer.take_pool().unwrap();
    pool.threads(1);
    stage.look();
    let [first, second] = [pool.clock().now(); 2];
    pool.submitted(WorkKind::Fs, first);
    pool.submitted(WorkKind::Fs, second);
    let started = pool.started(WorkKind::Fs, first, Some(second));
    pool.runs(0, WorkKind::Fs, loopscope_probe::SiteId::NONE, first);
    stage.idle(250);
    let view = stage.look();
    let [job] = &view.pool_jobs[..] else { panic!("{:?}", view.pool_jobs) };
    assert_eq!((job.worker, job.kind, job.running_ns), (0, "fs", 250 * MS));
    let view = view.pool.unwrap();
    assert_eq!((view.threads, view.busy, view.queued), (Some(1), Some(1), Some(1)));
    assert_eq!((view.oldest_wait_ns, view.saturated_ns), (Some(250 * MS), 250 * MS));
    assert_eq!((view.utilization_ratio, view.jobs_per_second), (Some(1.0), Some(0.0)));
    pool.finished(WorkKind::Fs, started, pool.clock().now(), true);
    pool.started(WorkKind::Fs, second, None);
    stage.idle(250);
    let view = stage.look().pool.unwrap();
    assert_eq!((view.queued, view.saturated_ns, view.jobs_per_second), (Some(0), 0, Some(4.0)));
    let wait_ns = view.wait_p95_ns.unwrap();
    assert!((250 * MS..280 * MS).contains(&wait_ns), "{wait_ns}");
}

#[test]
fn the_dead_tell_what_they_did_last() {
    let mut stage = Stage::new("web");
    stage.begin(Kind::Timer, "flush");
    stage.idle(700);
    for number in 1..=2 {
        let seen = stage.seen().ended();
        let view = stage.observer.observe([seen], number);
        let process = &view.processes[0];
        assert!(!process.is_alive && process.agent.is_none() && view.number == number);
        let view = &process.loops[0];
        assert_eq!((view.state.kind, view.state.busy_ns), (StateKind::Ended, 700 * MS));
        assert!(view.state.verdict.as_ref().unwrap().words.contains("timer flush"));
        assert_eq!(view.interval_ns > 0, number == 1, "nothing happens after death");
    }
}

#[test]
fn loops_are_told_apart_and_forgotten() {
    let (one, two) = (Stage::new("worker"), Stage::new("worker"));
    let mut observer = ViewBuilder::new();
    let called = Called { label: "worker#7".to_owned(), ..Called::default() };
    let view = observer.observe([one.seen(), two.seen().called(&called).with_causes([("timer", 3)])], 5);
    let names: Vec<_> = view.processes[0].loops.iter().map(|view| view.name.clone()).collect();
    assert_eq!(names, ["worker", "worker#7"]);
    assert_eq!(view.processes[0].loops[1].stalls.causes["timer"], 3);
    assert_ne!(view.processes[0].loops[0].id, view.processes[0].loops[1].id);
    let view = observer.observe([two.seen(), one.seen()], 9);
    assert_eq!(view.processes[0].loops[1].name, "worker#2", "equal names are numbered as they come");
    assert_eq!((view.number, view.interval_ns), (2, 4));
    one.time.advance_ns(MS);
    observer.observe([], 10);
    let view = observer.observe([one.seen()], 11);
    assert!(view.processes[0].loops[0].interval_ns >= MS, "its life, as at its first observation");
}

/// A runtime of so many workers.
fn workers(count: u32) -> Vec<Stage> {
    let time = VirtualClock::starting_at(1_000);
    let worker = |number| Writer::builder(&format!("web/{number}")).worker("web", number);
    (0..count).map(|number| Stage::of(worker(number), time.clone())).collect()
}

#[test]
fn a_runtime_is_one_row_with_its_workers_inside() {
    let mut stages = workers(3);
    let mut observer = ViewBuilder::new();
    let mut look =
        |stages: &[Stage], at| observer.observe(stages.iter().map(Stage::seen), at).processes.remove(0).loops;
    look(&stages, 1);
    stages[0].begin(Kind::Timer, "route");
    stages[0].idle(50);
    stages[0].end();
    stages[2].begin(Kind::Timer, "route");
    stages[2].idle(150);
    let rows = look(&stages, 2);
    assert_eq!(rows.len(), 1);
    let web = &rows[0];
    assert_eq!((&*web.name, web.worker, web.workers.len()), ("web", Some(2), 3));
    assert_eq!((web.state.kind, web.state.busy_ns), (StateKind::Stalled, 150 * MS), "the worst worker's");
    let numbers: Vec<_> = web.workers.iter().map(|worker| worker.worker).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    // Each was there for 200 ms, of which one was busy for 50 and one for 150.
    let (utilization, lag) = (web.utilization_ratio.unwrap(), web.lag.as_ref().unwrap());
    assert!((utilization - 200.0 / 600.0).abs() < 1e-6, "{utilization}");
    assert_eq!((web.sites.len(), web.sites[0].longest_ns), (1, 150 * MS));
    assert!((web.sites[0].share_ratio - 200.0 / 600.0).abs() < 1e-6, "{}", web.sites[0].share_ratio);
    let arrived = lag.row.iter().sum::<u64>();
    assert!(arrived.abs_diff(600) <= 3, "each worker has those who wait for it: {arrived}");
    assert!((150 * MS..165 * MS).contains(&lag.max_ns), "{}", lag.max_ns);
    assert_eq!((web.stalls.warning_count, web.stalls.warning_count_new), (1, 1));
    let ids: std::collections::HashSet<_> = web.workers.iter().chain(&rows).map(|view| &view.id).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn the_stalls_of_a_runtime_do_not_fall_when_a_worker_leaves() {
    let mut stages = workers(2);
    let mut observer = ViewBuilder::new();
    let mut look = |stages: &[Stage]| {
        let rows = observer.observe(stages.iter().map(Stage::seen), 1).processes.remove(0).loops;
        (rows[0].stalls.warning_count, rows[0].stalls.blocked_ns, rows[0].stalls.warning_count_new)
    };
    stages[1].begin(Kind::Timer, "route");
    stages[1].idle(150);
    stages[1].end();
    assert_eq!(look(&stages), (1, 150 * MS, 1));
    stages.pop();
    assert_eq!(look(&stages), (1, 150 * MS, 0));
}

#[test]
fn the_json_has_the_names_of_the_fields() {
    let mut stage = Stage::new("web");
    stage.begin(Kind::Timer, "flush");
    stage.idle(300);
    let json = serde_json::to_value(stage.view()).unwrap();
    let told = &json["processes"][0]["loops"][0];
    assert_eq!(told["state"]["kind"], "stalled");
    assert_eq!(told["state"]["running"]["site"]["name"], "flush");
    assert_eq!(
        told["lag"]["row"].as_array().unwrap().len(),
        json["lag_bounds_ns"].as_array().unwrap().len() + 1
    );
    assert!(told["pool"].is_null() && told["stalls"]["warning_count"] == 1);
}

#[test]
fn a_page_of_any_bytes_is_told_without_a_panic() {
    let mut stage = Stage::new("web");
    stage.begin(Kind::Timer, "flush");
    let clock = stage.writer.clock().clone();
    for at in [0, 1, u64::MAX / 2, u64::MAX] {
        let seen = LoopSample::of(stage.writer.page(), &clock, loopscope_probe::Ticks(at));
        serde_json::to_string(&stage.observer.observe([seen], at)).unwrap();
    }
}
