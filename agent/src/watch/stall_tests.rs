//! Stalls of a hand-driven loop in virtual time.

use super::*;
use loopscope_probe::kind::Queue;
use loopscope_probe::{Kind, Life, SiteId, VirtualClock, Writer};
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Bench {
    time: VirtualClock,
    writer: Writer,
    watch: StallWatch,
}

impl Bench {
    fn new() -> Self {
        let time = VirtualClock::starting_at(5_000_000_000);
        let mut writer = Writer::builder("main").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        let mut bench = Bench { time, writer, watch: StallWatch::default() };
        assert_eq!(bench.look(), []);
        bench
    }

    fn look(&mut self) -> Vec<Report> {
        let clock = self.writer.clock().clone();
        let page = self.writer.page();
        let vitals = page.vitals_at(&clock, clock.now());
        self.watch.look("main", page, &clock, &vitals)
    }

    fn site(&mut self, kind: Kind, name: &str) -> SiteId {
        self.writer.named_site(Location::caller(), kind, name)
    }

    fn run(&mut self, kind: Kind, site: SiteId, ns: u64) {
        self.writer.begin(kind, site, Life::UNKNOWN);
        self.time.advance_ns(ns);
        self.writer.end();
    }

    fn episodes(&self) -> [u64; Cause::COUNT] {
        self.watch.counts().episodes
    }
}

#[test]
fn a_blocking_timer_is_told_while_it_blocks_and_when_it_ends() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "flush");
    bench.writer.unpark(1);
    bench.writer.begin(Kind::Timer, site, Life::UNKNOWN);
    bench.time.advance_ns(99 * MS);
    assert_eq!(bench.look(), []);
    bench.time.advance_ns(4 * MS);
    let report = bench.look().pop().unwrap();
    assert_eq!((&report.event, report.age_ns, report.is_critical), (&Event::StallBegan, 103 * MS, false));
    assert_eq!(bench.watch.counts().active, Some(Cause::Callback));
    assert!(report.message().contains("blocked by timer flush ("), "{}", report.message());
    bench.time.advance_ns(1_100 * MS);
    let report = bench.look().pop().unwrap();
    assert_eq!((&report.event, report.is_critical), (&Event::StallLasts(12), true));
    bench.writer.end();
    bench.time.advance_ns(2 * MS);
    bench.writer.park();
    bench.time.advance_ns(20 * MS);
    let report = bench.look().pop().unwrap();
    assert_eq!((&report.event, report.age_ns), (&Event::StallEnded, 1_205 * MS));
    assert_eq!(bench.episodes(), [0, 0, 0, 0, 0, 1]);
    assert_eq!(bench.watch.counts().durations[Cause::Callback as usize].as_ref().unwrap().count(), 1);
    assert_eq!((bench.look(), bench.watch.counts().active), (vec![], None));
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
    let report = bench.look().pop().unwrap();
    let blame = report.blame.unwrap();
    assert_eq!((blame.cause, blame.runs), (Cause::Microtask, 300));
    assert!(blame.culprit.starts_with("microtask again ("), "{}", blame.culprit);
    assert_eq!(bench.episodes(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_stall_between_two_looks_is_found_afterwards_and_counted_once() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Accept, "slow");
    bench.writer.unpark(1);
    bench.run(Kind::Accept, site, 150 * MS);
    bench.writer.park();
    let report = bench.look().pop().unwrap();
    assert_eq!((&report.event, report.age_ns), (&Event::StallMissed, 150 * MS));
    assert!(report.message().contains("accept slow ("), "{}", report.message());
    assert_eq!((bench.look(), bench.episodes()), (vec![], [0, 0, 0, 0, 0, 1]));
}

#[test]
fn every_stall_that_the_page_counts_is_counted_by_cause_once() {
    let mut bench = Bench::new();
    let site = bench.site(Kind::Timer, "t");
    let mut random = 88_172_645_463_325_252u64;
    for _ in 0..400 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bench.time.advance_ns(random % 7 * MS);
        if random.is_multiple_of(3) {
            bench.look();
        }
        bench.writer.unpark(1);
        bench.writer.begin(Kind::Timer, site, Life::UNKNOWN);
        for _ in 0..random % 9 {
            bench.time.advance_ns(20 * MS);
            if !random.is_multiple_of(5) {
                bench.look();
            }
        }
        bench.writer.end();
        bench.writer.park();
    }
    bench.look();
    let clock = bench.writer.clock().clone();
    let page_count = bench.writer.page().snapshot(&clock).blocked[0];
    assert!(page_count > 100, "{page_count}");
    assert_eq!(bench.episodes().iter().sum::<u64>(), page_count);
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
