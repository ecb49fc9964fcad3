//! Pages of a hand-driven loop in virtual time, examined.

use super::*;
use loopscope_probe::{Phase, Queue, TaskTimes, VirtualClock, Writer, expect_block, spans};
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Bench {
    time: VirtualClock,
    writer: Writer,
    collector: EvidenceCollector,
}

impl Bench {
    fn new() -> Bench {
        let time = VirtualClock::starting_at(1_000_000);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        time.advance_ns(MS);
        let clock = writer.clock().clone();
        let collector = EvidenceCollector::begin(writer.page(), &clock, clock.now());
        time.advance_ns(MS);
        Bench { time, writer, collector }
    }

    /// Begins the watch once more: now, whatever the loop is at.
    fn begin_anew(&mut self) {
        let clock = self.writer.clock().clone();
        self.collector = EvidenceCollector::begin(self.writer.page(), &clock, clock.now());
    }

    fn look(&mut self) {
        self.look_at(ThreadSample::default());
    }

    fn look_at(&mut self, thread: ThreadSample) {
        let clock = self.writer.clock().clone();
        let (page, at) = (self.writer.page(), clock.now());
        self.collector.look(&PageSample { page, clock: &clock, at, thread, agent_age_ns: Some(7 * MS) });
    }

    fn run(&mut self, kind: Kind, site: SiteId, ready_ago_ns: Option<u64>, ms: u64) {
        let ready = ready_ago_ns.map_or(Ticks::NONE, |ago| Ticks(self.writer.clock().now().0 - ago));
        self.writer.phase(Phase::TIMERS);
        self.writer.begin(kind, site, TaskTimes { ready, ..TaskTimes::UNKNOWN });
        self.time.advance_ns(ms * MS);
        self.writer.end();
    }

    fn finish(self) -> LoopEvidence {
        let clock = self.writer.clock().clone();
        let last = self.writer.page().snapshot(&clock);
        self.collector.end(&last, &clock, Surroundings::default())
    }
}

#[test]
fn a_stall_is_followed_from_its_first_sight_to_its_end() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::Timer, "flush");
    let _spans = bench.writer.install_spans();
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let span = spans::enter(spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
    bench.time.advance_ns(150 * MS);
    bench.look();
    spans::leave(span);
    bench.time.advance_ns(150 * MS);
    bench.writer.end();
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!(evidence.stalls.len(), 1, "{:?}", evidence.stalls);
    let stall = &evidence.stalls[0];
    assert_eq!(
        (stall.ns, stall.is_over, stall.runs, stall.kind),
        (300 * MS, true, Some(1), Some(Kind::Timer))
    );
    assert!(stall.label.starts_with("flush ("), "{}", stall.label);
    assert_eq!(stall.inside.as_deref(), Some("query id=7"));
    assert_eq!((evidence.blocked, evidence.callbacks, evidence.stalls()), ([1, 0], 1, 1));
    assert_eq!(evidence.agent_late_ns, Some(7 * MS));
}

#[test]
fn a_stall_that_is_not_over_is_told_as_such() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::Microtask, "again");
    bench.writer.unpark(1);
    bench.writer.drain_begin(Queue::Microtask, 1);
    for _ in 0..200 {
        bench.run(Kind::Microtask, site, None, 1);
    }
    bench.look();
    let evidence = bench.finish();
    let stall = &evidence.stalls[0];
    assert_eq!((stall.is_over, stall.runs, stall.cause.name()), (false, Some(200), "microtask"));
}

#[test]
fn events_of_a_stall_that_runs_still_have_waited() {
    let mut bench = Bench::new();
    bench.time.advance_ns(100 * MS);
    bench.writer.unpark(1);
    bench.time.advance_ns(900 * MS);
    bench.look();
    let evidence = bench.finish();
    assert!((1_000..=1_001).contains(&evidence.lag.lag.count()), "{}", evidence.lag.lag.count());
    assert_eq!(evidence.lag_words().unwrap(), "events waited 420 ms (p50), 900 ms (p99)");
}

#[test]
fn a_loop_that_never_ran_has_waited_for_nothing() {
    let bench = Bench::new();
    bench.time.advance_ns(5_000 * MS);
    let evidence = bench.finish();
    assert_eq!(evidence.lag.lag.count(), 5_001);
    assert_eq!(evidence.lag_words().unwrap(), "events waited 0 (p50), 0 (p99)");
}

#[test]
fn a_stall_between_two_looks_is_found_in_the_ring_of_iterations() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::IoRead, "read");
    bench.writer.unpark(1);
    for _ in 0..250 {
        bench.run(Kind::IoRead, site, None, 1);
    }
    bench.writer.park();
    bench.time.advance_ns(5 * MS);
    bench.writer.unpark(1);
    bench.run(Kind::IoRead, site, None, 1);
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!(evidence.stalls.len(), 1, "{:?}", evidence.stalls);
    let stall = &evidence.stalls[0];
    assert_eq!((stall.ns, stall.runs, stall.is_over, stall.cause.name()), (250 * MS, Some(250), true, "io"));
    assert_eq!((evidence.callbacks, evidence.sites[0].calls), (251, 251));
}

#[test]
fn a_flood_is_as_many_runs_as_it_had_at_its_end() {
    for is_busy_again in [false, true] {
        let mut bench = Bench::new();
        let site = bench.writer.named_site(Location::caller(), Kind::Timer, "expire");
        bench.writer.unpark(1);
        for _ in 0..110 {
            bench.run(Kind::Timer, site, None, 1);
        }
        bench.look();
        for _ in 0..40 {
            bench.run(Kind::Timer, site, None, 1);
        }
        bench.writer.park();
        bench.time.advance_ns(MS);
        if is_busy_again {
            bench.writer.unpark(1);
            bench.run(Kind::Timer, site, None, 1);
        }
        bench.look();
        let evidence = bench.finish();
        let stalls = evidence.stalls.iter().map(|stall| (stall.ns, stall.runs, stall.runs_ns));
        assert_eq!(stalls.collect::<Vec<_>>(), [(150 * MS, Some(150), 150 * MS)], "{is_busy_again}");
    }
}

#[test]
fn what_runs_after_the_newest_stall_is_not_of_it() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::IoRead, "read");
    bench.writer.unpark(1);
    for _ in 0..110 {
        bench.run(Kind::IoRead, site, None, 1);
    }
    bench.writer.park();
    bench.time.advance_ns(5 * MS);
    bench.writer.unpark(1);
    bench.run(Kind::Timer, site, None, 90);
    bench.look();
    let evidence = bench.finish();
    let stalls = evidence.stalls.iter().map(|stall| (stall.ns, stall.kind, stall.runs));
    assert_eq!(stalls.collect::<Vec<_>>(), [(110 * MS, Some(Kind::IoRead), Some(110))]);
}

#[test]
fn a_stall_that_begins_before_the_watch_is_examined_from_its_begin_though_it_ends_before_the_first_look() {
    let mut bench = Bench::new();
    let read = bench.writer.named_site(Location::caller(), Kind::IoRead, "read");
    let flush = bench.writer.named_site(Location::caller(), Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.run(Kind::IoRead, read, None, 90);
    bench.begin_anew();
    bench.run(Kind::Timer, flush, None, 60);
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!(evidence.blocked, [1, 0]);
    let stalls = evidence.stalls.iter().map(|stall| (stall.ns, stall.kind, stall.is_over));
    // The longest of its callbacks is to blame, also where that one was over when the watch began.
    assert_eq!(stalls.collect::<Vec<_>>(), [(150 * MS, Some(Kind::IoRead), true)]);
}

#[test]
fn a_stall_that_was_over_when_the_watch_began_is_none_of_it() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.run(Kind::Timer, site, None, 300);
    bench.writer.park();
    bench.begin_anew();
    bench.look();
    // Nor is one in which the watch began, and that was over soon.
    bench.writer.unpark(1);
    bench.begin_anew();
    bench.run(Kind::Timer, site, None, 50);
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!((evidence.blocked, evidence.stalls.len()), ([0, 0], 0));
}

#[test]
fn what_runs_while_timers_are_due_is_blamed_for_their_lateness() {
    let mut bench = Bench::new();
    let slow = bench.writer.named_site(Location::caller(), Kind::IoRead, "parse");
    let timer = bench.writer.named_site(Location::caller(), Kind::Timer, "beat");
    bench.writer.unpark(1);
    bench.run(Kind::IoRead, slow, None, 50);
    bench.run(Kind::Timer, timer, Some(45 * MS), 1);
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!(evidence.delayers.len(), 1);
    let delayer = &evidence.delayers[0];
    assert_eq!((delayer.timers, delayer.ns), (1, 45 * MS));
    assert!(delayer.label.starts_with("parse ("), "{}", delayer.label);
    assert_eq!(evidence.timer_lateness.count(), 1);
}

#[test]
fn expected_blocks_are_no_stalls() {
    let mut bench = Bench::new();
    let _spans = bench.writer.install_spans();
    bench.writer.unpark(1);
    let expected = expect_block("migration");
    bench.time.advance_ns(900 * MS);
    bench.look();
    drop(expected);
    bench.writer.park();
    bench.look();
    let evidence = bench.finish();
    assert_eq!((evidence.stalls.len(), evidence.expected.len()), (0, 1));
    assert!(evidence.expected[0].0.starts_with("migration (") && evidence.expected[0].1 == 900 * MS);
}

#[test]
fn growth_is_told_from_movement() {
    for (series, grows) in [
        (&[10, 20, 30, 40][..], true),
        (&[10, 40, 10, 40], false),
        (&[40, 10], false),
        (&[], false),
        (&[9], false),
    ] {
        assert_eq!(trend(series).grows(10), grows, "{series:?}");
    }
}

#[test]
fn a_stall_has_the_times_of_its_own_thread() {
    let mut bench = Bench::new();
    let site = bench.writer.named_site(Location::caller(), Kind::Timer, "flush");
    let looked = |cpu_ms: u64, ready_ms: u64, is_stopped| ThreadSample {
        times_ns: Some((cpu_ms * MS, ready_ms * MS)),
        is_stopped,
        ..ThreadSample::default()
    };
    bench.look_at(looked(5_000, 100, false));
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    for (cpu_ms, ready_ms, is_stopped) in
        [(5_010, 100, false), (5_020, 130, false), (5_030, 160, true), (5_040, 190, false)]
    {
        bench.time.advance_ns(50 * MS);
        bench.look_at(looked(cpu_ms, ready_ms, is_stopped));
    }
    let stall = bench.finish().stalls.remove(0);
    assert_eq!(stall.used, Used { watched_ns: 200 * MS, cpu_ns: 40 * MS, runqueue_ns: 90 * MS });
    assert_eq!((stall.looks, stall.looks_asleep, stall.looks_stopped), (2, 0, 1));
}

#[test]
fn a_pool_job_that_does_not_end_is_told_with_its_begin_and_its_call() {
    let time = VirtualClock::starting_at(MS);
    let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    let [old, new] = ["read", "stat"].map(|name| writer.named_site(Location::caller(), Kind::Job, name));
    let mut pool = writer.take_pool().unwrap();
    pool.threads(2);
    writer.resume();
    writer.park();
    let clock = writer.clock().clone();
    pool.runs_on(0, 4_711, WorkKind::Fs, old, clock.now());
    time.advance_ns(20_000 * MS);
    let mut bench =
        Bench { collector: EvidenceCollector::begin(writer.page(), &clock, clock.now()), time, writer };
    bench.time.advance_ns(MS);
    pool.runs_on(1, 4_712, WorkKind::Fs, new, clock.now());
    bench.time.advance_ns(10_000 * MS);
    let pool_asleep_in = vec![(4_712, "futex".to_owned()), (4_711, "pipe_read".to_owned())];
    bench.look_at(ThreadSample { pool_asleep_in, ..ThreadSample::default() });
    let created_unix_ns = bench.writer.page().facts().created_unix_ns;
    let stuck = bench.finish().pool.unwrap().stuck;
    let [job] = &stuck[..] else { panic!("{stuck:?}") };
    assert!(job.label.starts_with("read ("), "{job:?}");
    assert_eq!((job.ns, job.since_unix_ns), (30_001 * MS, created_unix_ns));
    assert_eq!(job.asleep_in.as_deref(), Some("pipe_read"));
}

/// In its poll it has neither a stall nor lag.
#[test]
fn a_loop_that_is_stopped_is_found_so_unless_it_was_continued() {
    let stopped = || ThreadSample { is_stopped: true, ..ThreadSample::default() };
    let watched = |looks: &[bool]| {
        let mut bench = Bench::new();
        for is_stopped in looks {
            bench.look_at(if *is_stopped { stopped() } else { ThreadSample::default() });
            bench.time.advance_ns(25 * MS);
        }
        bench.finish().stopped_ns
    };
    assert_eq!(watched(&[false, true, true]), Some(50 * MS));
    assert_eq!(watched(&[true, false, true]), Some(25 * MS));
    assert_eq!(watched(&[true, true, false]), None);
    assert_eq!(watched(&[false, false]), None);
}

#[test]
fn a_drain_of_unknown_length_that_was_one_job_is_no_flood_when_it_is_over() {
    for (jobs, is_flood) in [(1, false), (3, true)] {
        let mut bench = Bench::new();
        let site = bench.writer.named_site(Location::caller(), Kind::Microtask, "queue");
        bench.writer.unpark(1);
        bench.writer.drain_begin(Queue::Microtask, 0);
        bench.writer.begin_many(Kind::Microtask, site);
        bench.time.advance_ns(150 * MS);
        bench.look();
        bench.time.advance_ns(150 * MS);
        bench.writer.end_many(jobs);
        bench.writer.drain_end(Queue::Microtask, jobs);
        bench.writer.drained();
        bench.writer.iteration();
        bench.writer.park();
        bench.look();
        let evidence = bench.finish();
        let [stall] = &evidence.stalls[..] else { panic!("{:?}", evidence.stalls) };
        assert_eq!((stall.is_flood, stall.runs, stall.looks), (is_flood, Some(jobs), 1), "{stall:?}");
        assert!(stall.is_over && stall.ns >= 300 * MS, "{stall:?}");
    }
}
