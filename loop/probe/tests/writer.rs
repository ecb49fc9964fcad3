//! The verbs and the numbers they leave on the page, exact, on a virtual clock.
#![cfg(not(loom))]

use loopscope_probe::raw::histogram::{HistogramValues, SLOTS, slot};
use loopscope_probe::raw::tags::Tags;
use loopscope_probe::spans;
use loopscope_probe::{
    Clock, Kind, Phase, Queue, SiteId, Snapshot, TaskTimes, Ticks, VirtualClock, WorkKind, Writer,
    expect_block,
};
use std::panic::Location;

const US_NS: u64 = 1_000;
const MS_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000 * MS_NS;

/// A loop that is played by hand.
struct Play {
    time: VirtualClock,
    writer: Writer,
}

impl Play {
    /// Returns a loop whose busy period has just begun, at one second.
    fn running() -> Play {
        let time = VirtualClock::starting_at(SECOND_NS);
        let mut writer = Writer::builder("played").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        Play { time, writer }
    }

    fn pass(&self, ns: u64) {
        self.time.advance_ns(ns);
    }

    /// Runs a callback or job of that length.
    fn call(&mut self, kind: Kind, site: SiteId, ns: u64) {
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
        self.pass(ns);
        self.writer.end();
    }

    /// Runs a callback with nothing to drain after it.
    fn callback(&mut self, kind: Kind, ns: u64) {
        self.call(kind, SiteId::NONE, ns);
        self.writer.drained();
    }

    /// Drains jobs of that length.
    fn drain(&mut self, queue: Queue, kind: Kind, jobs: u64, ns: u64) {
        self.writer.drain_begin(queue, jobs as usize);
        for _ in 0..jobs {
            self.call(kind, SiteId::NONE, ns);
        }
        self.writer.drain_end(queue, jobs);
    }

    /// Polls for that long.
    fn poll(&mut self, ns: u64, events: usize) {
        self.writer.iteration();
        self.writer.phase(Phase::POLL);
        self.writer.park();
        self.pass(ns);
        self.writer.unpark(events);
    }

    fn site(&mut self, name: &str) -> SiteId {
        self.writer.named_site(Location::caller(), Kind::Timer, name)
    }

    fn snapshot(&self) -> Snapshot {
        self.writer.page().snapshot(self.writer.clock())
    }
}

/// Returns the histogram of exactly these durations.
fn histogram(durations: &[u64]) -> HistogramValues {
    let mut values = HistogramValues { buckets: vec![0; SLOTS], sum_ns: 0 };
    for ns in durations {
        values.buckets[slot(*ns)] += 1;
        values.sum_ns += ns;
    }
    values
}

#[test]
fn run_wait_and_operation_are_counted_by_kind() {
    let mut play = Play::running();
    let at = |ns: u64| Ticks(SECOND_NS + ns);
    play.callback(Kind::Immediate, 10 * MS_NS);
    for (ready_ns, run_ns) in [(4 * MS_NS, 2 * MS_NS), (12 * MS_NS, 7 * US_NS)] {
        play.writer.begin(Kind::Timer, SiteId::NONE, TaskTimes { submitted: at(MS_NS), ready: at(ready_ns) });
        play.pass(run_ns);
        play.writer.end();
        play.writer.drained();
    }
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!(page.run[Kind::Timer.index()], histogram(&[2 * MS_NS, 7 * US_NS]));
    // The first was ready at 4 ms and began at 10; the second was ready the moment it began.
    assert_eq!(page.wait[Kind::Timer.index()], histogram(&[6 * MS_NS, 0]));
    assert_eq!(page.operation, histogram(&[3 * MS_NS, 11 * MS_NS]));
    assert_eq!(page.run[Kind::Immediate.index()], histogram(&[10 * MS_NS]));
    assert_eq!(page.wait[Kind::Immediate.index()].count(), 0, "its ready moment is not known");
}

#[test]
fn a_phase_is_timed_where_it_had_work() {
    let mut play = Play::running();
    play.writer.phase(Phase::TIMERS);
    play.callback(Kind::Timer, MS_NS);
    play.callback(Kind::Timer, 2 * MS_NS);
    play.writer.phase(Phase::PENDING);
    play.writer.phase(Phase::CHECK);
    play.callback(Kind::Immediate, 5 * MS_NS);
    play.writer.phase(Phase::CLOSE);
    play.writer.suspend();
    let page = play.snapshot();
    let phase = |phase: Phase| (page.phase_callbacks[phase.index()], page.phase[phase.index()].clone());
    assert_eq!(phase(Phase::TIMERS), (2, histogram(&[3 * MS_NS])));
    assert_eq!(phase(Phase::CHECK), (1, histogram(&[5 * MS_NS])));
    assert_eq!((phase(Phase::PENDING), phase(Phase::CLOSE)), ((0, histogram(&[])), (0, histogram(&[]))));
}

#[test]
fn a_drain_is_timed_by_queue_and_its_callback_completes_after_it() {
    let mut play = Play::running();
    play.writer.phase(Phase::TIMERS);
    play.call(Kind::Timer, SiteId::NONE, MS_NS);
    play.drain(Queue::NextTick, Kind::Tick, 3, 2 * MS_NS);
    play.drain(Queue::Microtask, Kind::Microtask, 4, US_NS);
    play.writer.drained();
    play.callback(Kind::Timer, MS_NS);
    play.writer.suspend();
    let page = play.snapshot();
    let queues = [Queue::NextTick.index(), Queue::Microtask.index()];
    assert_eq!(queues.map(|queue| page.drained_jobs[queue]), [3, 4]);
    assert_eq!(
        queues.map(|queue| page.drain[queue].clone()),
        [histogram(&[6 * MS_NS]), histogram(&[4 * US_NS])]
    );
    assert_eq!(
        queues.map(|queue| (page.drain_jobs[queue].count(), page.drain_jobs[queue].sum)),
        [(1, 3), (1, 4)]
    );
    assert_eq!(queues.map(|queue| page.queue_depth_max[queue]), [3, 4]);
    assert_eq!(page.completed, histogram(&[6 * MS_NS + 4 * US_NS, 0]));
    // Jobs are no callbacks: they have neither a run histogram nor a place in the phase's count.
    assert_eq!((page.phase_callbacks[Phase::TIMERS.index()], page.run[Kind::Timer.index()].count()), (2, 2));
}

#[test]
fn a_running_drain_shows_its_age_and_its_jobs() {
    let mut play = Play::running();
    play.call(Kind::Timer, SiteId::NONE, MS_NS);
    play.writer.drain_begin(Queue::Microtask, 1);
    for _ in 0..1000 {
        play.call(Kind::Microtask, SiteId::NONE, 10 * US_NS);
    }
    let now = play.snapshot().now;
    assert_eq!(now.drain, Some((10 * MS_NS, 1000)));
    assert_eq!((now.busy_ns, now.busy_callbacks), (11 * MS_NS, 1001));
    assert_eq!(now.running.unwrap().queue, Some(Queue::Microtask));
}

#[test]
fn what_runs_is_seen_while_it_runs() {
    let mut play = Play::running();
    let site = play.site("guilty");
    play.writer.phase(Phase::CHECK);
    play.callback(Kind::Immediate, 3 * MS_NS);
    play.writer.begin(Kind::Immediate, site, TaskTimes::UNKNOWN);
    play.pass(400 * MS_NS);
    let now = play.snapshot().now;
    let running = now.running.unwrap();
    assert_eq!((running.phase, running.kind, running.site), (Phase::CHECK, Some(Kind::Immediate), site));
    assert_eq!((now.busy_ns, now.busy_callbacks), (403 * MS_NS, 1));
    // The start is stored without its lowest bits.
    assert!(now.running_ns.abs_diff(400 * MS_NS) < 100, "{}", now.running_ns);
    play.writer.end();
    play.writer.suspend();
    assert_eq!((play.snapshot().now.busy_ns, play.snapshot().now.running), (0, None));
}

#[test]
fn lag_counts_a_thousand_events_a_second_through_blocks_and_idleness() {
    let mut play = Play::running();
    let mut turn = 0u64;
    while play.time.now_ns() < 3601 * SECOND_NS {
        // From a microsecond to a block of several seconds, and polls from nothing to minutes.
        let busy_ns = (turn * turn * 7_919) % (1 + turn % 5 * SECOND_NS) + US_NS;
        play.callback(Kind::Timer, busy_ns);
        play.poll((turn * 104_729 * US_NS) % (1 + turn % 3 * 60 * SECOND_NS), 1);
        turn += 1;
    }
    play.writer.suspend();
    let page = play.snapshot();
    let lived_ms = (play.time.now_ns() - SECOND_NS) / MS_NS;
    assert!(lived_ms >= 3_600_000 && turn > 50, "{turn} turns");
    // The event of the millisecond that runs may have come or not.
    assert!(page.lag.count().abs_diff(lived_ms) <= 1, "{} events in {lived_ms} ms", page.lag.count());
    assert_eq!(page.active_ns + page.idle_ns, play.time.now_ns() - SECOND_NS);
}

#[test]
fn a_stall_counts_once_also_while_it_lasts() {
    let mut play = Play::running();
    for (busy_ms, expected) in [(100, [0, 0]), (101, [1, 0]), (1_000, [2, 0]), (1_001, [3, 1])] {
        play.callback(Kind::Timer, busy_ms * MS_NS);
        assert_eq!(play.snapshot().blocked, expected, "{busy_ms} ms, still running");
        play.poll(MS_NS, 1);
        assert_eq!(play.snapshot().blocked, expected, "{busy_ms} ms, over");
    }
    assert_eq!(play.snapshot().blocked_duration, histogram(&[101 * MS_NS, 1_000 * MS_NS, 1_001 * MS_NS]));
}

#[test]
fn iterations_and_polls_are_timed() {
    let mut play = Play::running();
    play.callback(Kind::Timer, 2 * MS_NS);
    play.poll(30 * MS_NS, 0);
    play.callback(Kind::IoRead, 5 * MS_NS);
    play.callback(Kind::IoRead, MS_NS);
    play.poll(0, 7);
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!(page.iterations, 2);
    assert_eq!(page.iteration, histogram(&[2 * MS_NS, 6 * MS_NS, 0]));
    assert_eq!(page.poll_wait, histogram(&[30 * MS_NS, 0]));
    assert_eq!((page.poll_events.count(), page.poll_events.sum), (2, 7));
    assert_eq!((page.active_ns, page.idle_ns), (8 * MS_NS, 30 * MS_NS));
}

#[test]
fn a_suspended_loop_is_idle() {
    let mut play = Play::running();
    play.callback(Kind::Timer, MS_NS);
    play.writer.suspend();
    play.pass(10 * SECOND_NS);
    let page = play.snapshot();
    assert_eq!((page.now.busy_ns, page.now.parked_ns), (0, 10 * SECOND_NS));
    assert_eq!((page.active_ns, page.idle_ns, page.blocked), (MS_NS, 10 * SECOND_NS, [0, 0]));
    play.writer.resume();
    play.pass(MS_NS);
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!((page.active_ns, page.idle_ns), (2 * MS_NS, 10 * SECOND_NS));
    assert_eq!(page.poll_wait.count(), 0, "the time outside `run` is no poll");
    assert!(page.lag.count().abs_diff(10_002) <= 1 && page.lag.buckets[0] >= 10_000);
}

#[test]
fn counters_and_gauges_hold_what_the_loop_said() {
    let mut play = Play::running();
    for _ in 0..3 {
        play.writer.submitted(Kind::Timer);
    }
    play.writer.cancelled(Kind::Timer);
    play.writer.handles(loopscope_probe::HandleType::TcpStream, 5);
    play.writer.handles(loopscope_probe::HandleType::TcpStream, -2);
    play.writer.gauges(4, 6, 8);
    play.writer.coalesced(9);
    play.writer.begin(Kind::Async, SiteId::NONE, TaskTimes::UNKNOWN);
    play.writer.panicked();
    play.writer.end();
    play.writer.drained();
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!((page.submitted[Kind::Timer.index()], page.cancelled[Kind::Timer.index()]), (3, 1));
    assert_eq!(page.handles[loopscope_probe::HandleType::TcpStream.index()], 3);
    assert_eq!((page.handles_referenced, page.requests_active, page.timers_pending), (4, 6, 8));
    assert_eq!((page.wakes_coalesced, page.errors[Kind::Async.index()]), (9, 1));
}

#[test]
fn the_recorder_holds_the_last_callbacks() {
    let mut play = Play::running();
    let site = play.site("recorded");
    play.writer.phase(Phase::TIMERS);
    let ready = Ticks(SECOND_NS - MS_NS);
    play.writer.begin(Kind::Timer, site, TaskTimes::ready_at(ready));
    play.pass(2 * MS_NS);
    play.writer.end();
    play.drain(Queue::NextTick, Kind::Tick, 1, US_NS);
    play.writer.drained();
    let records = play.writer.page().records(0);
    let (start, end) = (Ticks(SECOND_NS), Ticks(SECOND_NS + 2 * MS_NS));
    let [callback, job] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(
        (callback.number, callback.kind, callback.site, callback.phase),
        (0, Kind::Timer, site, Phase::TIMERS)
    );
    assert_eq!((callback.ready, callback.start, callback.end), (ready, start, end));
    assert_eq!((job.number, job.kind, job.parent), (1, Kind::Tick, site));
    assert_eq!((job.ready, job.start, job.end), (Ticks::NONE, end, Ticks(end.0 + US_NS)));
}

/// Returns own time and calls of the path with these names below its phase.
fn path(page: &Snapshot, phase: Phase, names: &[&str]) -> (u64, u64, u64) {
    let mut node = phase.index() + 1;
    for name in names {
        let is_child = |(number, stat): &(usize, &loopscope_probe::raw::paths::PathStat)| {
            *number > 0 && usize::from(stat.parent) == node && page.sites[stat.site.index()].name == *name
        };
        node = page.paths.iter().enumerate().find(is_child).unwrap_or_else(|| panic!("no path {names:?}")).0;
    }
    (page.paths[node].self_ns, page.paths[node].calls, page.paths[node].longest_ns)
}

/// Enters a span of that name.
fn enter(name: &str) -> spans::Entered {
    spans::enter(spans::site(name, "span.rs", 1).unwrap(), "").unwrap()
}

#[test]
fn nested_spans_have_their_own_time_and_their_callback_the_rest() {
    let mut play = Play::running();
    let installed = play.writer.install_spans();
    let site = play.site("callback");
    play.writer.phase(Phase::TIMERS);
    play.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    play.pass(MS_NS);
    let outer = enter("outer");
    play.pass(2 * MS_NS);
    for _ in 0..2 {
        let inner = enter("inner");
        play.pass(4 * MS_NS);
        spans::leave(inner);
    }
    play.pass(16 * MS_NS);
    spans::leave(outer);
    play.pass(32 * MS_NS);
    play.writer.end();
    play.writer.drained();
    play.writer.suspend();
    drop(installed);
    let page = play.snapshot();
    let (own, calls, longest) = path(&page, Phase::TIMERS, &["callback"]);
    assert_eq!((own, calls, longest), (33 * MS_NS, 1, 59 * MS_NS));
    let (own, calls, _) = path(&page, Phase::TIMERS, &["callback", "outer"]);
    assert_eq!((own, calls), (18 * MS_NS, 1));
    let (own, calls, _) = path(&page, Phase::TIMERS, &["callback", "outer", "inner"]);
    assert_eq!((own, calls), (8 * MS_NS, 2));
}

#[test]
fn a_span_left_open_ends_with_its_callback() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let (first, second) = (play.site("first"), play.site("second"));
    play.writer.begin(Kind::Timer, first, TaskTimes::UNKNOWN);
    let open = enter("open");
    play.pass(3 * MS_NS);
    play.writer.end();
    play.writer.drained();
    play.writer.begin(Kind::Timer, second, TaskTimes::UNKNOWN);
    play.pass(5 * MS_NS);
    // Too late: its callback is over, and the time is not its own.
    spans::leave(open);
    play.pass(7 * MS_NS);
    play.writer.end();
    play.writer.drained();
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!(path(&page, Phase::MAIN, &["first"]).0, 0);
    assert_eq!(path(&page, Phase::MAIN, &["first", "open"]).0, 3 * MS_NS);
    assert_eq!(path(&page, Phase::MAIN, &["second"]), (12 * MS_NS, 1, 12 * MS_NS));
}

#[test]
fn drained_jobs_hang_below_their_callback() {
    let mut play = Play::running();
    let (site, job) = (play.site("callback"), play.site("job"));
    play.call(Kind::Timer, site, MS_NS);
    play.writer.drain_begin(Queue::NextTick, 2);
    play.call(Kind::Tick, job, 2 * MS_NS);
    play.call(Kind::Tick, job, 3 * MS_NS);
    play.writer.drain_end(Queue::NextTick, 2);
    play.writer.drained();
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!(path(&page, Phase::MAIN, &["callback"]), (MS_NS, 1, MS_NS));
    assert_eq!(path(&page, Phase::MAIN, &["callback", "job"]), (5 * MS_NS, 2, 3 * MS_NS));
}

#[test]
fn a_pool_tells_depth_wait_run_and_saturation() {
    let mut play = Play::running();
    let mut pool = play.writer.take_pool().unwrap();
    assert!(play.writer.take_pool().is_none(), "a pool has one writer");
    pool.threads(2);
    let jobs = [pool.clock().now(); 3];
    jobs.iter().for_each(|now| pool.submitted(WorkKind::Fs, *now));
    play.pass(MS_NS);
    let first = pool.started(WorkKind::Fs, jobs[0], Some(jobs[1]));
    play.pass(MS_NS);
    let second = pool.started(WorkKind::Fs, jobs[1], Some(jobs[2]));
    play.pass(3 * MS_NS);
    let now = play.snapshot().pool.unwrap();
    assert_eq!((now.threads, now.running, now.queued, now.queued_max), (Some(2), Some(2), Some(1), 3));
    assert_eq!((now.oldest_wait_ns, now.saturated_for_ns), (Some(5 * MS_NS), 3 * MS_NS));
    assert_eq!(now.busy_ns, (MS_NS + 3 * MS_NS) + 3 * MS_NS);

    pool.finished(WorkKind::Fs, first, pool.clock().now(), true);
    let third = pool.started(WorkKind::Fs, jobs[2], None);
    play.pass(2 * MS_NS);
    pool.finished(WorkKind::Fs, second, pool.clock().now(), false);
    pool.finished(WorkKind::Fs, third, pool.clock().now(), true);
    pool.submitted(WorkKind::User, pool.clock().now());
    pool.cancelled(WorkKind::User, None);
    play.pass(9 * MS_NS);
    let end = play.snapshot().pool.unwrap();
    let fs = WorkKind::Fs.index();
    assert_eq!(end.wait[fs], histogram(&[MS_NS, 2 * MS_NS, 5 * MS_NS]));
    assert_eq!(end.run[fs], histogram(&[4 * MS_NS, 5 * MS_NS, 2 * MS_NS]));
    assert_eq!((end.submitted[fs], end.completed[fs], end.failed[fs]), (3, 2, 1));
    assert_eq!(end.cancelled[WorkKind::User.index()], 1);
    assert_eq!(
        (end.running, end.queued, end.oldest_wait_ns, end.saturated_for_ns),
        (Some(0), Some(0), Some(0), 0)
    );
    assert_eq!((end.saturated_ns, end.busy_ns), (3 * MS_NS, 11 * MS_NS));
}

#[test]
fn a_pool_stays_saturated_while_jobs_change_hands() {
    let mut play = Play::running();
    let mut pool = play.writer.take_pool().unwrap();
    pool.threads(2);
    let jobs = [pool.clock().now(); 5];
    jobs.iter().for_each(|now| pool.submitted(WorkKind::User, *now));
    let running = [1, 2].map(|next| pool.started(WorkKind::User, jobs[next - 1], Some(jobs[next])));
    play.pass(4 * MS_NS);
    // Both threads finish before either takes the next job.
    for started in running {
        pool.finished(WorkKind::User, started, pool.clock().now(), true);
    }
    play.pass(MS_NS);
    let running = [3, 4].map(|next| pool.started(WorkKind::User, jobs[next - 1], Some(jobs[next])));
    assert_eq!(play.snapshot().pool.unwrap().saturated_for_ns, 5 * MS_NS);
    pool.finished(WorkKind::User, running[0], pool.clock().now(), true);
    pool.started(WorkKind::User, jobs[4], None);
    let end = play.snapshot().pool.unwrap();
    assert_eq!((end.saturated_for_ns, end.saturated_ns), (0, 5 * MS_NS));
}

#[test]
fn open_spans_are_told_with_their_fields_until_their_callback_ends() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let (site, other) = (play.site("callback"), play.site("other"));
    let names = |play: &Play| -> Vec<(String, String)> {
        let page = play.writer.page();
        let name = |id| page.sites().read_one(id).unwrap().name;
        page.open_spans().into_iter().map(|span| (name(span.site), span.fields)).collect()
    };
    play.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let outer = spans::enter(spans::site("outer", "span.rs", 1).unwrap(), "id=7 user=ann").unwrap();
    let _inner = spans::enter(spans::site("inner", "span.rs", 2).unwrap(), &"ä".repeat(60)).unwrap();
    let told = names(&play);
    assert_eq!(told[0], ("outer".to_owned(), "id=7 user=ann".to_owned()));
    assert_eq!(told[1], ("inner".to_owned(), "ä".repeat(48)), "cut at a character");
    // Left out of order: the inner one goes with it.
    spans::leave(outer);
    assert_eq!(names(&play), []);
    enter("again");
    assert_eq!(names(&play), [("again".to_owned(), String::new())], "the fields of the one before are gone");
    play.writer.end();
    assert_eq!(names(&play), []);
    play.writer.begin(Kind::Timer, other, TaskTimes::UNKNOWN);
    assert_eq!(names(&play), [], "the stack is the last callback's");
    for _ in 0..40 {
        enter("deep");
    }
    assert_eq!(names(&play).len(), loopscope_probe::raw::open_spans::OPEN_SPANS);
}

#[test]
fn tags_tell_what_ran_when_they_were_copied() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let site = play.site("callback");
    let copy = |play: &Play| {
        play.writer.page().tag_words().map(|word| word.load(std::sync::atomic::Ordering::Relaxed))
    };
    play.writer.phase(Phase::CHECK);
    play.writer.begin(Kind::Immediate, site, TaskTimes::UNKNOWN);
    let span = spans::site("span", "span.rs", 1).unwrap();
    spans::enter(span, "").unwrap();
    let busy = copy(&play);
    play.writer.end();
    let between = copy(&play);
    play.writer.suspend();
    let tags = Tags::decode(play.writer.page(), &busy).unwrap();
    let running = tags.running;
    assert_eq!((running.phase, running.kind, running.site), (Phase::CHECK, Some(Kind::Immediate), site));
    assert_eq!((tags.spans, tags.busy_since), (vec![span], Ticks(SECOND_NS)));
    let tags = Tags::decode(play.writer.page(), &between).unwrap();
    assert_eq!((tags.running.kind, tags.spans), (None, vec![]));
    assert_eq!(Tags::decode(play.writer.page(), &copy(&play)), None, "the loop is in its poll");
}

#[test]
fn an_expected_block_does_not_count_as_a_stall() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let now = |play: &Play| play.snapshot().now;
    // Announced in full: no stall. Lag and iteration tell the truth all the same.
    {
        let _expected = expect_block("migration");
        play.callback(Kind::Timer, 300 * MS_NS);
        let _nested = expect_block("nested");
        let now = now(&play);
        assert_eq!((now.busy_ns, now.expected_ns, now.unexpected_ns()), (300 * MS_NS, 300 * MS_NS, 0));
        assert_eq!(play.snapshot().sites[now.expected.unwrap().index()].name, "migration");
    }
    assert_eq!(now(&play).expected, None);
    play.callback(Kind::Timer, 90 * MS_NS);
    assert_eq!(now(&play).unexpected_ns(), 90 * MS_NS);
    play.poll(MS_NS, 1);
    let page = play.snapshot();
    assert_eq!((page.blocked, page.blocked_duration.count()), ([0, 0], 0));
    assert_eq!(page.iteration.sum_ns, 390 * MS_NS);
    // Announced in part, in a scope that outlives the busy period.
    play.callback(Kind::Timer, 150 * MS_NS);
    let expected = expect_block("migration");
    play.callback(Kind::Timer, 50 * MS_NS);
    play.poll(MS_NS, 1);
    play.callback(Kind::Timer, 40 * MS_NS);
    assert_eq!((now(&play).expected_ns, now(&play).busy_ns), (40 * MS_NS, 40 * MS_NS));
    drop(expected);
    play.writer.suspend();
    let page = play.snapshot();
    assert_eq!((page.blocked, page.blocked_duration.sum_ns), ([1, 0], 150 * MS_NS));
}

#[test]
fn iterations_are_recorded_one_by_one() {
    let mut play = Play::running();
    play.callback(Kind::Timer, 3 * MS_NS);
    play.callback(Kind::Timer, 4 * MS_NS);
    play.poll(10 * MS_NS, 5);
    play.callback(Kind::IoRead, MS_NS);
    play.writer.suspend();
    let at = |ms: u64| Ticks(SECOND_NS + ms * MS_NS);
    let iterations = play.writer.page().iterations(0);
    let told: Vec<_> =
        iterations.iter().map(|entry| (entry.begin, entry.end, entry.events, entry.first_record)).collect();
    assert_eq!(told, [(at(0), at(7), 0, 0), (at(17), at(18), 5, 2)]);
    assert_eq!(play.writer.page().iterations(1).len(), 1);
}

#[test]
fn recent_maxima_are_told_after_more_than_a_year() {
    let mut play = Play::running();
    let site = play.site("daily");
    let (day_ns, mut told) = (86_400 * SECOND_NS, Vec::new());
    for day in [1, 180, 200, 363, 365, 400, 800] {
        play.writer.park();
        play.time.advance_to_ns(day * day_ns);
        play.writer.unpark(1);
        play.call(Kind::Timer, site, day * 1_000);
        play.writer.drain_begin(Queue::Microtask, day as usize);
        play.writer.drain_end(Queue::Microtask, day);
        play.writer.drained();
        play.writer.settle();
        let page = play.writer.page().snapshot(play.writer.clock());
        let longest_ns = page.paths.iter().map(|path| path.longest_ns).max().unwrap();
        told.push((longest_ns, page.queue_depth_max[Queue::Microtask.index()]));
    }
    assert_eq!(told, [1, 180, 200, 363, 365, 400, 800].map(|day| (day * 1_000, day)));
}
