//! The verbs for runtimes that do not tell everything, or tell it otherwise: in virtual time.

use loopscope_probe::Queue;
use loopscope_probe::Site;
use loopscope_probe::observer::{Observed, Observer, Sighting};
use loopscope_probe::raw::registry;
use loopscope_probe::raw::tags::Tags;
use loopscope_probe::{
    Clock, Kind, ObservedPool, Phase, SiteId, TaskTimes, Ticks, VirtualClock, WorkKind, Writer,
};
use std::sync::Arc;

const MS: u64 = 1_000_000;

fn writer(name: &str) -> (Writer, VirtualClock) {
    let time = VirtualClock::starting_at(1_000 * MS);
    (Writer::builder(name).clock(Clock::simulated(time.clone())).build(), time)
}

#[test]
fn a_drain_told_as_a_whole_counts_its_jobs() {
    let (mut writer, time) = writer("whole drain");
    writer.resume();
    writer.drain_begin(Queue::Microtask, 0);
    writer.begin_many(Kind::Microtask, SiteId::NONE);
    time.advance_ns(7 * MS);
    let running = writer.page().snapshot(writer.clock()).now.running.unwrap();
    assert!(running.is_many && running.queue == Some(Queue::Microtask));
    writer.end_many(1_648_453);
    writer.drain_end(Queue::Microtask, 1_648_453);
    writer.drained();
    writer.suspend();
    let snapshot = writer.page().snapshot(writer.clock());
    assert_eq!(snapshot.drained_jobs[Queue::Microtask.index()], 1_648_453);
    assert_eq!(snapshot.drain_jobs[Queue::Microtask.index()].sum, 1_648_453);
    let [record] = writer.page().records(0)[..] else { panic!("one record") };
    assert_eq!((record.many, record.ready), (Some(1_648_453), Ticks::NONE));
    assert_eq!(record.end.since(record.start), 7 * MS);
}

#[test]
fn tags_of_a_drained_job_tell_after_which_callback_it_is_drained() {
    let (mut writer, _time) = writer("drained after");
    let mut site = |name| writer.named_site(std::panic::Location::caller(), Kind::IoRead, name);
    let (innocent, guilty, job) = (site("innocent"), site("guilty"), site("job"));
    let copy = |writer: &Writer| {
        let words = writer.page().tag_words().map(|word| word.load(std::sync::atomic::Ordering::Relaxed));
        Tags::decode(writer.page(), &words).unwrap()
    };
    writer.resume();
    let mut drained = Vec::new();
    for site in [guilty, innocent] {
        writer.begin(Kind::IoRead, site, TaskTimes::UNKNOWN);
        assert_eq!(copy(&writer).drained_after, SiteId::NONE, "a callback is drained after nothing");
        writer.end();
        writer.drain_begin(Queue::Microtask, 1);
        // More than the recorder holds, so that nobody finds the callback there afterwards.
        for _ in 0..5_000 {
            writer.begin(Kind::Microtask, job, TaskTimes::UNKNOWN);
            writer.end();
        }
        writer.begin(Kind::Microtask, job, TaskTimes::UNKNOWN);
        drained.push((copy(&writer).running.site, copy(&writer).drained_after));
        writer.end();
        drained.push((copy(&writer).running.site, copy(&writer).drained_after));
        writer.drain_end(Queue::Microtask, 5_001);
        writer.drained();
    }
    let expected = [(job, guilty), (SiteId::NONE, guilty), (job, innocent), (SiteId::NONE, innocent)];
    assert_eq!(drained, expected, "between two jobs, too");
}

#[test]
fn a_batch_is_one_run_and_as_many_calls_as_it_says() {
    let (mut writer, time) = writer("batch");
    writer.resume();
    writer.phase(Phase::CHECK);
    for jobs in [3, 0] {
        writer.begin_many(Kind::Immediate, SiteId::NONE);
        time.advance_ns(2 * MS);
        writer.end_many(jobs);
        writer.drained();
    }
    writer.begin(Kind::Immediate, SiteId::NONE, TaskTimes::ready_at(Ticks(1_000 * MS)));
    writer.end();
    writer.suspend();
    let snapshot = writer.page().snapshot(writer.clock());
    assert_eq!(
        snapshot.phase_callbacks[Phase::CHECK.index()],
        3 + 1 + 1,
        "an unknown number is at least one"
    );
    assert_eq!(snapshot.run[Kind::Immediate.index()].count(), 3);
    assert_eq!(snapshot.wait[Kind::Immediate.index()].count(), 1, "of a batch it is not known");
}

#[test]
fn a_queue_drained_inside_a_callback_is_not_the_callbacks_time() {
    let (mut writer, time) = writer("inside");
    let site = writer.foreign_site(Site {
        kind: Kind::Timer,
        name: "Timeout batch".into(),
        file: String::new(),
        line: 0,
        column: 0,
    });
    writer.resume();
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    time.advance_ns(2 * MS);
    let inside = writer.drain_inside_begin(Queue::NextTick, 1);
    writer.begin(Kind::Tick, SiteId::NONE, TaskTimes::UNKNOWN);
    time.advance_ns(5 * MS);
    writer.end();
    writer.drain_inside_end(Queue::NextTick, 1, inside);
    assert!(writer.is_running());
    time.advance_ns(3 * MS);
    writer.end();
    writer.drained();
    assert!(!writer.is_running());
    writer.suspend();
    let snapshot = writer.page().snapshot(writer.clock());
    let timer = &snapshot.run[Kind::Timer.index()];
    assert_eq!((timer.count(), timer.sum_ns), (2, 5 * MS), "told in two parts, without the drain");
    assert_eq!(snapshot.drain[Queue::NextTick.index()].sum_ns, 5 * MS);
    let parents: Vec<SiteId> = writer.page().records(0).iter().map(|record| record.parent).collect();
    assert_eq!(parents, [SiteId::NONE, site, SiteId::NONE], "the tick hangs below the part before it");
}

#[test]
fn events_that_are_told_late_are_those_of_their_poll() {
    let (mut writer, time) = writer("late events");
    writer.resume();
    writer.park();
    time.advance_ns(MS);
    writer.unpark_untold(writer.clock().now());
    assert_eq!(writer.page().snapshot(writer.clock()).poll_events.count(), 0, "unknown is not 0");
    writer.poll_events(5);
    writer.park();
    let snapshot = writer.page().snapshot(writer.clock());
    assert_eq!((snapshot.poll_events.count(), snapshot.poll_events.sum), (1, 5));
    assert_eq!(writer.page().iterations(0).last().unwrap().events, 5);
    assert_eq!(snapshot.poll_wait.count(), 1);
}

#[test]
fn what_is_not_told_between_two_callbacks_is_charged_to_neither() {
    let (mut writer, time) = writer("begin at");
    writer.resume();
    time.advance_ns(200 * MS);
    writer.begin_at(writer.clock().now(), Kind::Task, SiteId::NONE, TaskTimes::UNKNOWN);
    let now = writer.page().snapshot(writer.clock()).now;
    assert_eq!((now.busy_ns, now.running_ns), (200 * MS, 0));
    time.advance_ns(MS);
    writer.end();
    writer.begin_at(Ticks(0), Kind::Task, SiteId::NONE, TaskTimes::UNKNOWN);
    assert_eq!(writer.last(), writer.clock().now(), "no callback begins before the one before it ended");
    writer.end();
    writer.suspend();
    assert_eq!(writer.page().snapshot(writer.clock()).run[Kind::Task.index()].sum_ns, MS);
}

#[test]
fn what_lies_before_a_phase_that_begins_at_a_moment_is_of_no_phase() {
    let (mut writer, time) = writer("phase at");
    writer.resume();
    writer.phase(Phase::POLL);
    writer.begin(Kind::IoRead, SiteId::NONE, TaskTimes::UNKNOWN);
    time.advance_ns(2 * MS);
    writer.end();
    time.advance_ns(MS);
    writer.phase_at(writer.clock().now(), Phase::CHECK);
    writer.begin(Kind::Immediate, SiteId::NONE, TaskTimes::UNKNOWN);
    time.advance_ns(4 * MS);
    writer.end();
    writer.phase_at(Ticks(0), Phase::POLL);
    assert_eq!(writer.last(), writer.clock().now(), "no phase begins before the one before it ended");
    let phases = writer.page().snapshot(writer.clock()).phase;
    assert_eq!(phases[Phase::POLL.index()].sum_ns, 2 * MS, "it ended with its last callback");
    assert_eq!(phases[Phase::CHECK.index()].sum_ns, 4 * MS);
}

#[test]
fn a_runtime_announces_a_block_under_a_site_of_its_own() {
    let (mut writer, time) = writer("announced");
    let (kind, name, file) = (Kind::Other, "main script".to_owned(), String::new());
    let site = writer.foreign_site(Site { kind, name, file, line: 0, column: 0 });
    writer.resume();
    let expected = writer.expect_block(site);
    time.advance_ns(300 * MS);
    let now = writer.page().snapshot(writer.clock()).now;
    assert_eq!((now.expected, now.expected_ns, now.unexpected_ns()), (Some(site), 300 * MS, 0));
    drop(expected);
    time.advance_ns(20 * MS);
    let now = writer.page().snapshot(writer.clock()).now;
    assert_eq!((now.expected, now.unexpected_ns()), (None, 20 * MS));
}

#[test]
fn an_address_stands_for_a_site_and_equal_values_are_one() {
    let (mut writer, _time) = writer("addressed");
    let site =
        |name: &str| Site { kind: Kind::Task, name: name.into(), file: String::new(), line: 0, column: 0 };
    let first = writer.addressed_site(0x1000, Kind::Task, || site("GET /a"));
    assert_eq!(writer.addressed_site(0x1000, Kind::Task, || panic!("it is known")), first);
    assert_eq!(writer.addressed_site(0x2000, Kind::Task, || site("GET /a")), first);
    let other = writer.addressed_site(0x1000 + 8 * 256, Kind::Task, || site("GET /b"));
    assert_ne!(other, first);
    assert_eq!(writer.addressed_site(0x1000, Kind::Task, || panic!("it is known still")), first);
}

#[test]
fn a_pool_that_is_seen_from_outside_tells_what_is_known() {
    let (mut writer, time) = writer("observed pool");
    let mut pool = writer.take_pool().unwrap();
    let now = |writer: &Writer| writer.page().snapshot(writer.clock()).pool.unwrap();
    let seen =
        ObservedPool { threads: Some(4), running: Some(4), queued: Some(16), ..ObservedPool::default() };
    pool.observe(seen, writer.clock().now());
    time.advance_ns(300 * MS);
    let values = now(&writer);
    assert_eq!((values.threads, values.running, values.queued), (Some(4), Some(4), Some(16)));
    assert_eq!((values.oldest_wait_ns, values.saturated_ns, values.queued_max), (None, 300 * MS, 16));
    pool.observe(ObservedPool { queued: Some(0), running: Some(1), ..seen }, writer.clock().now());
    time.advance_ns(50 * MS);
    let values = now(&writer);
    assert_eq!((values.saturated_ns, values.busy_ns), (300 * MS, (4 * 300 + 50) * MS));
    // Jobs wait, and of the threads that rest they may take none.
    let share = ObservedPool { running: Some(2), is_share_full: true, ..seen };
    pool.observe(share, writer.clock().now());
    time.advance_ns(20 * MS);
    assert_eq!((now(&writer).saturated_ns, now(&writer).saturated_for_ns), (320 * MS, 20 * MS));
    pool.observe(ObservedPool { queued: Some(0), is_share_full: false, ..share }, writer.clock().now());
    time.advance_ns(20 * MS);
    assert_eq!((now(&writer).saturated_ns, now(&writer).saturated_for_ns), (320 * MS, 0));
    // Nothing is known but that a job waits.
    let blind = ObservedPool { oldest: Some(writer.clock().now()), ..ObservedPool::default() };
    pool.observe(blind, writer.clock().now());
    time.advance_ns(70 * MS);
    let values = now(&writer);
    assert_eq!((values.threads, values.running, values.queued), (None, None, None));
    assert_eq!((values.oldest_wait_ns, values.saturated_for_ns), (Some(70 * MS), 70 * MS));
    let vitals = writer.page().vitals_at(writer.clock(), writer.clock().now());
    assert_eq!(vitals.pool.unwrap().oldest_wait_ns, Some(70 * MS));
}

#[test]
fn running_jobs_are_told_with_their_sites() {
    let (mut writer, time) = writer("running jobs");
    let mut pool = writer.take_pool().unwrap();
    pool.runs(1, WorkKind::Zlib, SiteId::from(9), writer.clock().now());
    pool.runs(1_000, WorkKind::Fs, SiteId::from(9), writer.clock().now());
    pool.runs_on(2, 4_711, WorkKind::Fs, SiteId::from(8), writer.clock().now());
    time.advance_ns(MS);
    let jobs = writer.page().jobs_now();
    let told: Vec<_> = jobs.iter().map(|job| (job.worker, job.tid, job.kind, job.site, job.since)).collect();
    let since = Ticks(1_000 * MS);
    assert_eq!(
        told,
        [
            (1, None, WorkKind::Zlib, SiteId::from(9), since),
            (2, Some(4_711), WorkKind::Fs, SiteId::from(8), since)
        ]
    );
    pool.rests(1);
    pool.rests(2);
    assert!(writer.page().jobs_now().is_empty());
}

/// Says nothing: the tests play the agent.
#[derive(Debug)]
struct Silent;

impl Observer for Silent {
    fn look(&self, _at: Ticks) -> Sighting {
        Sighting::nothing()
    }
}

/// A registered page of its own, on the real clock, as an agent of this process finds it.
fn registered(name: &str, observed: bool) -> (Writer, registry::LocalPage) {
    let builder = Writer::builder(name).private().observer(Arc::new(Silent));
    let writer = if observed { builder.observed().build() } else { builder.build() };
    let page = registry::pages().into_iter().find(|page| page.page().loop_name() == name).unwrap();
    (writer, page)
}

#[test]
fn a_hidden_poll_begins_the_busy_period_anew_for_everybody() {
    let (mut writer, page) = registered("turns", false);
    let control = page.take_control().unwrap();
    control.set_thresholds(100 * MS, 1_000 * MS);
    let scale = writer.clock().scale();
    writer.resume();
    let began = writer.last();
    let after = |ms: u64| Ticks(began.0 + scale.ticks(ms * MS));
    control.set_turned(after(250));
    let vitals = page.page().vitals_at(page.clock(), after(300));
    assert!(vitals.now.busy_ns.abs_diff(50 * MS) < MS / 100, "{}", vitals.now.busy_ns);
    assert!(
        vitals.active_ns.abs_diff(300 * MS) < MS / 100,
        "the time before it was busy, too: {}",
        vitals.active_ns
    );
    assert_eq!(vitals.busy_since, after(250));
    assert_eq!(page.page().busy_since(), after(250));
    // It ends 80 ms after the hidden poll, which is no stall; a second one of 150 ms is.
    writer.park_at(after(330));
    assert_eq!(page.page().vitals_at(page.clock(), after(331)).stalls_ended, 0);
    writer.unpark_at(after(340), 0);
    writer.park_at(after(490));
    assert_eq!(page.page().vitals_at(page.clock(), after(491)).stalls_ended, 1);
    assert!(page.observer().is_some());
}

#[test]
fn what_an_observer_saw_is_what_readers_see() {
    let (writer, page) = registered("observed", true);
    let control = page.take_control().unwrap();
    control.set_thresholds(100 * MS, 1_000 * MS);
    let (scale, began) = (writer.clock().scale(), writer.last());
    let after = |ms: u64| Ticks(began.0 + scale.ticks(ms * MS));
    assert!(page.page().is_parked());
    let busy = Observed {
        busy_since: after(10),
        parked_since: after(0),
        active_ticks: 0,
        idle_ticks: scale.ticks(10 * MS),
    };
    control.set_observed(busy);
    let vitals = page.page().vitals_at(page.clock(), after(260));
    assert!(!page.page().is_parked());
    assert!(vitals.now.busy_ns.abs_diff(250 * MS) < MS / 100 && vitals.idle_ns.abs_diff(10 * MS) < MS / 100);
    let parked = Observed {
        busy_since: Ticks::NONE,
        parked_since: after(270),
        active_ticks: scale.ticks(260 * MS),
        ..busy
    };
    control.set_observed(parked);
    control.set_observed(parked);
    let vitals = page.page().vitals_at(page.clock(), after(300));
    assert_eq!((vitals.stalls_ended, vitals.critical_ended), (1, 0), "counted once");
    assert!(page.page().is_parked() && vitals.now.parked_ns.abs_diff(30 * MS) < MS / 100);
    assert!(vitals.active_ns.abs_diff(260 * MS) < MS / 100);
    assert!(vitals.now.running.is_none());
}

#[test]
fn a_retired_page_says_so_and_who_it_was() {
    let builder = Writer::builder("worker").private().worker("web", 3).process("server.js").thread("rt-3");
    let writer = builder.build();
    let page = registry::pages().into_iter().find(|page| page.page().loop_name() == "worker").unwrap();
    let facts = page.page().facts();
    assert_eq!((&*facts.group, facts.worker), ("web", Some(3)));
    assert_eq!((&*facts.process, &*facts.thread, facts.is_retired), ("server.js", "rt-3", false));
    page.take_control().unwrap().retire(page.clock().now());
    assert!(page.page().facts().is_retired);
    drop(writer);
}

#[test]
fn a_page_without_a_thread_outlives_the_thread_that_made_it_and_may_move() {
    let made = std::thread::spawn(|| {
        Writer::builder("whole runtime").private().observer(Arc::new(Silent)).build_threadless()
    });
    let mut whole = made.join().unwrap();
    let find = || registry::pages().into_iter().find(|page| page.page().loop_name() == "whole runtime");
    let page = find().unwrap();
    assert_eq!((page.thread().tid, page.page().facts().tid), (0, 0));
    assert!(page.gate().want().is_err(), "no stack is wanted of nobody");
    whole.probe_waited(30 * MS, 20 * MS);
    let mut pool = whole.take_pool().unwrap();
    pool.observe(ObservedPool::default(), whole.created());
    pool.ran(WorkKind::User, 2 * MS, true);
    assert!(whole.take_pool().is_none());
    let snapshot = page.page().snapshot(page.clock());
    assert_eq!((snapshot.lag.count(), snapshot.lag.sum_ns), (2, 40 * MS), "one was not sent meanwhile");
    assert!(snapshot.now.running.is_none() && page.page().is_parked());
    let pool = snapshot.pool.unwrap();
    assert_eq!(pool.run.iter().map(|run| run.sum_ns).sum::<u64>(), 2 * MS);
    let control = page.take_control().unwrap();
    control.set_observed(Observed { busy_since: whole.created(), ..Observed::default() });
    let now = page.page().vitals_at(page.clock(), page.clock().now()).now;
    assert!(now.busy_ns > 0 && now.running.is_some_and(|running| running.kind.is_none()), "{now:?}");
    drop((control, whole));
    assert!(find().is_none());
}

#[test]
fn what_is_known_late_to_have_ended_ended_then_and_a_drain_that_was_none_is_not_told() {
    let (mut writer, time) = writer("late");
    writer.resume();
    writer.begin_many(Kind::Timer, SiteId::NONE);
    let begun = writer.last();
    time.advance_ns(9 * MS);
    writer.end_many_at(3, Ticks(begun.0 + 2 * MS));
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    writer.end();
    writer.drain_begin(Queue::NextTick, 0);
    writer.begin_many(Kind::Tick, SiteId::NONE);
    time.advance_ns(MS);
    writer.drain_forget();
    assert!(!writer.is_running());
    writer.suspend();
    let times: Vec<(u64, Option<u64>)> =
        writer.page().records(0).iter().map(|record| (record.end.since(record.start), record.many)).collect();
    assert_eq!(times, [(2 * MS, Some(3)), (7 * MS, None)]);
    assert_eq!(writer.page().snapshot(writer.clock()).drain[Queue::NextTick.index()].count(), 0);
}

#[test]
fn a_job_that_fails_is_counted_by_the_callback_before_it_where_that_is_known() {
    let (mut writer, time) = writer("failed jobs");
    let drain = |writer: &mut Writer, rounds: u32| {
        for _ in 0..rounds {
            writer.drain_begin(Queue::NextTick, 0);
            writer.begin_many(Kind::Tick, SiteId::NONE);
            time.advance_ns(1_000);
            writer.end_many(0);
            writer.drain_end(Queue::NextTick, 0);
        }
        writer.drain_begin(Queue::Microtask, 0);
        writer.begin_many(Kind::Microtask, SiteId::NONE);
        writer.job_failed();
        writer.end_many(1);
        writer.drain_end(Queue::Microtask, 1);
        writer.drained();
    };
    let errors = |writer: &Writer| {
        let errors = writer.page().snapshot(writer.clock()).errors;
        [Kind::Accept, Kind::Timer, Kind::Other].map(|kind| errors[kind.index()])
    };
    writer.resume();
    drain(&mut writer, 0);
    assert_eq!(errors(&writer), [0, 0, 1], "after nothing");
    for kind in [Kind::Timer, Kind::Accept] {
        writer.begin(kind, SiteId::NONE, TaskTimes::UNKNOWN);
        writer.end();
        drain(&mut writer, 3);
    }
    assert_eq!(errors(&writer), [1, 1, 1]);
    drain(&mut writer, 1);
    assert_eq!(errors(&writer), [1, 1, 2], "after nothing, behind those");
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    writer.end();
    drain(&mut writer, 10_000);
    assert_eq!(errors(&writer), [1, 1, 3], "the callback is overwritten");
    writer.failed(Kind::Accept);
    assert_eq!(errors(&writer), [2, 1, 3]);
}

/// Runs the same turns on a page of its own: of some polls the loop goes on in another phase, with and without callbacks before and after.
fn turns(name: &str, unpark: impl Fn(&mut Writer, Phase)) -> (Writer, VirtualClock) {
    let (mut writer, time) = writer(name);
    let site = writer.site(std::panic::Location::caller(), Kind::Task);
    writer.resume();
    writer.phase(Phase::POLL);
    for turn in 0..200u64 {
        let callbacks = [0, 1, 0, 0, 3, 300][turn as usize % 6];
        for _ in 0..callbacks {
            writer.begin(Kind::Task, site, TaskTimes::UNKNOWN);
            time.advance_ns(1_000 + turn);
            writer.end();
        }
        time.advance_ns(700);
        // Not each turn says that it polls, so that a phase has work on both sides of a poll, too.
        if turn % 4 != 0 {
            writer.phase(Phase::POLL);
        }
        writer.iteration();
        writer.park();
        time.advance_ns(turn * turn * 10);
        unpark(&mut writer, Phase::CHECK);
        time.advance_ns(50);
    }
    writer.suspend();
    (writer, time)
}

#[test]
fn to_unpark_into_a_phase_is_to_unpark_and_to_enter_it() {
    let both = turns("both", |writer, phase| {
        writer.unpark_untold(writer.clock().now());
        writer.phase(phase);
    });
    let one = turns("one", |writer, phase| writer.unpark_untold_in(writer.clock().now(), phase));
    let told = |writer: &Writer| {
        let page = writer.page();
        let snapshot = page.snapshot(writer.clock());
        let sums =
            (snapshot.poll_wait, snapshot.iteration, snapshot.phase, snapshot.run, snapshot.phase_callbacks);
        format!("{sums:?} {:?} {:?} {:?}", snapshot.now, page.iterations(0), page.records(0).len())
    };
    assert_eq!(told(&both.0), told(&one.0));
}

#[test]
fn a_busy_period_begins_with_the_first_callback_of_its_own_also_after_some_without_any() {
    let (mut writer, time) = writer("first callbacks");
    writer.resume();
    let mut expected = Vec::new();
    let mut records = 0;
    for callbacks in [0, 2, 0, 0, 1, 3, 0] {
        expected.push(records);
        for _ in 0..callbacks {
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            time.advance_ns(MS);
            writer.end();
            records += 1;
        }
        writer.park();
        let snapshot = writer.page().snapshot(writer.clock());
        assert_eq!(
            snapshot.run[Kind::Timer.index()].count(),
            records,
            "what has ended is told while the loop waits"
        );
        writer.unpark(1);
    }
    let first: Vec<u64> = writer.page().iterations(0).iter().map(|one| one.first_record).collect();
    assert_eq!(first, expected);
}
