//! Stalls of a hand-driven loop in virtual time.

use super::*;
use loopscope_probe::Queue;
use loopscope_probe::observer::Observed;
use loopscope_probe::raw::registry::{self, Controller, LocalPage};
use loopscope_probe::{Kind, SiteId, TaskTimes, VirtualClock, Writer};
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Bench {
    time: VirtualClock,
    writer: Writer,
    watch: StallWatch,
    looks_with_records: u32,
}

impl Bench {
    fn new() -> Self {
        let time = VirtualClock::starting_at(5_000_000_000);
        let mut writer = Writer::builder("main").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        let mut bench = Bench { time, writer, watch: StallWatch::default(), looks_with_records: 0 };
        assert_eq!(bench.look(), []);
        bench
    }

    fn look(&mut self) -> Vec<StallEvent> {
        let clock = self.writer.clock().clone();
        let page = self.writer.page();
        let vitals = page.vitals_at(&clock, clock.now());
        let needs_records = self.watch.needs_records(&vitals, page.control().warning_ns());
        let turns = self.watch.look(page, &clock, &vitals);
        // Whoever has the vitals alone must not miss a turn, nor judge it by another page's records.
        assert!(needs_records || turns.is_empty(), "{turns:?}");
        self.looks_with_records += u32::from(needs_records);
        turns
    }

    fn site(&mut self, kind: Kind, name: &str) -> SiteId {
        self.writer.named_site(Location::caller(), kind, name)
    }

    fn run(&mut self, kind: Kind, site: SiteId, ns: u64) {
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
        self.time.advance_ns(ns);
        self.writer.end();
    }

    fn episodes(&self) -> [u64; Cause::COUNT] {
        self.watch.counts().episodes
    }
}

fn ends(turns: &[StallEvent]) -> Vec<u64> {
    let end = |turn: &StallEvent| match turn {
        StallEvent::Ended(end) | StallEvent::Missed(end, _) => Some(end.ns / MS),
        _ => None,
    };
    turns.iter().filter_map(end).collect()
}

#[test]
fn a_stall_that_only_goes_on_needs_no_records() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let turns: usize = (0..330)
        .map(|_| {
            bench.time.advance_ns(10 * MS);
            bench.look().len()
        })
        .sum();
    assert_eq!((turns, bench.looks_with_records), (6, 6), "at 100 ms, and at its doublings up to 3.2 s");
    bench.writer.end();
    bench.writer.park();
    assert_eq!((ends(&bench.look()), bench.looks_with_records), (vec![3_300], 7));
}

#[test]
fn a_blocking_timer_is_told_while_it_blocks_and_when_it_ends() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(99 * MS);
    assert_eq!(bench.look(), []);
    bench.time.advance_ns(4 * MS);
    let turns = bench.look();
    assert!(matches!(turns[..], [StallEvent::Began(verdict)] if verdict.site == site), "{turns:?}");
    assert!(bench.watch.counts().active[Cause::Callback as usize]);
    assert_eq!(bench.watch.counts().detection.sum_ns, 3 * MS);
    bench.time.advance_ns(1_100 * MS);
    assert!(matches!(bench.look()[..], [StallEvent::Lasts(12, _)]));
    assert_eq!(bench.watch.next_ns(), Some(1_650 * MS));
    bench.writer.end();
    bench.time.advance_ns(2 * MS);
    bench.writer.park();
    bench.time.advance_ns(20 * MS);
    assert_eq!(ends(&bench.look()), [1_205]);
    assert_eq!(bench.episodes(), [0, 0, 0, 0, 0, 1]);
    assert_eq!(bench.watch.counts().durations[Cause::Callback as usize].as_ref().unwrap().count(), 1);
    assert_eq!((bench.look(), bench.watch.counts().active), (vec![], Default::default()));
}

/// A thread says that it polls, and counts the stall then; it may lose its processor in between.
#[test]
fn a_stall_that_the_page_counts_after_its_end_was_seen_is_one() {
    for is_followed_by_another in [false, true] {
        let mut bench = Bench::new();
        let site = bench.site(Kind::Timer, "flush");
        bench.writer.unpark(1);
        bench.run(Kind::Timer, site, 150 * MS);
        assert!(matches!(bench.look()[..], [StallEvent::Began(_)]));
        bench.writer.park();
        let clock = bench.writer.clock().clone();
        let mut vitals = bench.writer.page().vitals_at(&clock, clock.now());
        vitals.stalls_ended -= 1;
        for expected in [&[150][..], &[]] {
            assert_eq!(ends(&bench.watch.look(bench.writer.page(), &clock, &vitals)), expected);
        }
        if is_followed_by_another {
            bench.writer.unpark(1);
            bench.run(Kind::Timer, site, 120 * MS);
            bench.writer.park();
        }
        let expected: &[u64] = if is_followed_by_another { &[120] } else { &[] };
        assert_eq!(ends(&bench.look()), expected);
        assert_eq!(bench.episodes().iter().sum::<u64>(), 1 + u64::from(is_followed_by_another));
        assert_eq!(bench.look(), []);
    }
}

#[test]
fn a_microtask_flood_is_starvation() {
    let mut bench = Bench::new();
    let (read, job) = (bench.site(Kind::IoRead, "read"), bench.site(Kind::Microtask, "again"));
    bench.writer.unpark(1);
    bench.run(Kind::IoRead, read, MS);
    bench.writer.drain_begin(Queue::Microtask, 1);
    for _ in 0..300 {
        bench.run(Kind::Microtask, job, MS / 2);
    }
    let turns = bench.look();
    let [StallEvent::Began(verdict)] = turns[..] else { panic!("{turns:?}") };
    assert_eq!((verdict.cause, verdict.runs, verdict.site), (Cause::Microtask, Some(300), job));
    assert_eq!(bench.episodes(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn stalls_between_two_looks_are_found_afterwards_each_with_its_length() {
    let mut bench = Bench::new();
    let (slow, other) = (bench.site(Kind::Accept, "slow"), bench.site(Kind::Timer, "other"));
    for (site, ms) in [(slow, 150), (other, 20), (other, 300)] {
        bench.writer.unpark(1);
        bench.run(Kind::Accept, site, ms * MS);
        bench.writer.park();
        bench.time.advance_ns(MS);
    }
    let turns = bench.look();
    assert_eq!(ends(&turns), [150, 300]);
    let [StallEvent::Missed(_, first), StallEvent::Missed(_, second)] = turns[..] else {
        panic!("{turns:?}")
    };
    assert_eq!((first.site, second.site), (slow, other));
    assert_eq!((bench.look(), bench.episodes()), (vec![], [0, 0, 0, 0, 0, 2]));
}

#[test]
fn one_stall_right_after_another_is_two() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "t");
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(150 * MS);
    assert!(matches!(bench.look()[..], [StallEvent::Began(_)]));
    bench.time.advance_ns(30 * MS);
    bench.writer.end();
    bench.writer.park();
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(120 * MS);
    let turns = bench.look();
    assert!(
        matches!(turns[..], [StallEvent::Ended(End { ns: 180_000_000, .. }), StallEvent::Began(_)]),
        "{turns:?}"
    );
}

#[test]
fn what_was_announced_to_block_is_no_stall() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "migrate");
    let spans = bench.writer.install_spans();
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(40 * MS);
    let expected = loopscope_probe::expect_block("migration");
    bench.time.advance_ns(900 * MS);
    assert_eq!(bench.look(), []);
    drop(expected);
    bench.time.advance_ns(50 * MS);
    assert_eq!(bench.look(), []);
    bench.time.advance_ns(11 * MS);
    assert!(matches!(bench.look()[..], [StallEvent::Began(_)]), "101 ms of it were not announced");
    bench.writer.end();
    bench.writer.park();
    assert_eq!(ends(&bench.look()), [1_001]);
    drop(spans);
}

#[test]
fn every_stall_that_the_page_counts_is_counted_by_cause_once() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "t");
    let mut random = 88_172_645_463_325_252u64;
    let mut told = 0;
    for _ in 0..400 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bench.time.advance_ns(random % 7 * MS);
        if random.is_multiple_of(3) {
            told += ends(&bench.look()).len() as u64;
        }
        bench.writer.unpark(1);
        bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        for _ in 0..random % 9 {
            bench.time.advance_ns(20 * MS);
            if !random.is_multiple_of(5) {
                told += ends(&bench.look()).len() as u64;
            }
        }
        bench.writer.end();
        bench.writer.park();
    }
    told += ends(&bench.look()).len() as u64;
    let clock = bench.writer.clock().clone();
    let page_count = bench.writer.page().snapshot(&clock).blocked[0];
    assert!(page_count > 100, "{page_count}");
    assert_eq!((bench.episodes().iter().sum::<u64>(), told), (page_count, page_count));
}

#[test]
fn stalls_before_the_agent_came_are_not_its_own() {
    let mut bench = Bench::new();
    bench.writer.unpark(1);
    bench.run(Kind::Timer, SiteId::NONE, 500 * MS);
    bench.writer.park();
    bench.watch = StallWatch::default();
    assert_eq!((bench.look(), bench.look()), (vec![], vec![]));
}

#[test]
fn a_stall_that_only_the_agent_counted_does_not_hide_the_next() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "t");
    // The threshold was raised during one: the page did not count it.
    bench.watch.accounted = bench.watch.accounted.map(|count| count + 1);
    assert_eq!(bench.look(), []);
    bench.writer.unpark(1);
    bench.run(Kind::Timer, site, 150 * MS);
    bench.writer.park();
    assert_eq!(ends(&bench.look()), [150]);
}

#[test]
fn a_count_that_jumps_is_counted_at_once_and_told_a_few_times() {
    for jump in [TOLD_MAX as u64 + 1, 5_000_000, u64::MAX] {
        let mut bench = Bench::new();
        bench.writer.unpark(1);
        bench.run(Kind::Timer, SiteId::NONE, 150 * MS);
        bench.writer.park();
        let clock = bench.writer.clock().clone();
        let mut vitals = bench.writer.page().vitals_at(&clock, clock.now());
        assert_eq!(vitals.stalls_ended, 1);
        for _ in 0..3 {
            vitals.stalls_ended = jump;
            let turns = bench.watch.look(bench.writer.page(), &clock, &vitals);
            assert!(turns.len() <= TOLD_MAX + 1, "{} turns", turns.len());
            // A damaged word may fall, and jump again.
            vitals.stalls_ended = 0;
            assert_eq!(bench.watch.look(bench.writer.page(), &clock, &vitals), []);
        }
        let durations = bench.watch.counts().durations[Cause::Callback as usize].as_ref().unwrap();
        let lengths = durations.buckets.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        let counted = jump.saturating_mul(3);
        assert_eq!((bench.episodes().iter().sum::<u64>(), lengths), (counted, counted));
    }
}

/// A loop that tells nothing, as an observer sees it: neither iterations nor callbacks are on its page.
struct Observer {
    page: LocalPage,
    control: Controller,
    watch: StallWatch,
    /// The present on the page's clock.
    at: Ticks,
    _writer: Writer,
}

impl Observer {
    fn new(name: &str) -> Self {
        let writer = Writer::builder(name).private().observed().build();
        let page = registry::pages().into_iter().find(|page| page.page().loop_name() == name).unwrap();
        let (control, at) = (page.take_control().unwrap(), page.clock().now());
        let mut observer = Observer { page, control, watch: StallWatch::default(), at, _writer: writer };
        assert_eq!(observer.look(false), []);
        observer
    }

    fn advance(&mut self, ms: u64) -> Ticks {
        self.at.0 += self.page.clock().scale().ticks(ms * MS);
        self.at
    }

    /// A look that finds it busy, or finds that it has polled. Returns what the watch reports.
    fn look(&mut self, is_busy: bool) -> Vec<StallEvent> {
        let before = self.page.page().busy_since();
        let busy_since = match (is_busy, before) {
            (false, _) => Ticks::NONE,
            (true, Ticks::NONE) => self.at,
            (true, since) => since,
        };
        let parked_since = if is_busy { before } else { self.at };
        self.control.set_observed(Observed { busy_since, parked_since, active_ticks: 0, idle_ticks: 0 });
        let vitals = self.vitals();
        self.watch.look(self.page.page(), self.page.clock(), &vitals)
    }

    fn vitals(&self) -> Vitals {
        self.page.page().vitals_at(self.page.clock(), self.at)
    }
}

/// Returns the only stall, which was found after it had ended.
fn only_missed(turns: &[StallEvent]) -> End {
    let [StallEvent::Missed(missed, _)] = turns else { panic!("{turns:?}") };
    *missed
}

#[test]
fn a_stall_that_no_ring_has_begins_where_the_last_look_found_the_loop_busy() {
    let mut observer = Observer::new("no ring has its stall");
    let begin = observer.advance(20);
    assert_eq!(observer.look(true), []);
    observer.advance(60);
    assert_eq!(observer.look(true), [], "below the threshold");
    let end = observer.advance(50);
    let missed = only_missed(&observer.look(false));
    assert_eq!((missed.begin, missed.end), (begin, end));
    assert!(missed.ns.abs_diff(110 * MS) < 1_000, "{missed:?}");
}

#[test]
fn a_stall_of_which_nothing_is_known_but_a_count_ended_at_the_last_poll() {
    let mut observer = Observer::new("only a count knows its stall");
    let end = observer.advance(400);
    observer.look(false);
    let mut vitals = observer.vitals();
    vitals.stalls_ended += 1;
    let missed = only_missed(&observer.watch.look(observer.page.page(), observer.page.clock(), &vitals));
    let begin = Ticks(end.0 - observer.page.clock().scale().ticks(100 * MS));
    assert_eq!(missed, End { begin, end, ns: 100 * MS });
}
