//! Profiles of a hand-driven loop in virtual time.

use super::*;
use crate::profiles::FlameError;
use crate::profiles::Totals;
use loopscope_probe::Queue;
use loopscope_probe::{Clock, SiteId, TaskTimes, VirtualClock, Writer, spans};
use std::panic::Location;

const MS: u64 = 1_000_000;

struct Bench {
    time: VirtualClock,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        let time = VirtualClock::starting_at(1_000_000);
        let mut writer = Writer::builder("main").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        Bench { time, writer }
    }

    fn run(&mut self, phase: Phase, kind: Kind, site: SiteId, ms: u64) {
        self.writer.phase(phase);
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
        self.time.advance_ns(ms * MS);
        self.writer.end();
    }

    /// Copies the page after a poll: the loop counts its callbacks before one.
    fn settled(&mut self) -> Vec<Snapshot> {
        self.writer.park();
        self.writer.unpark(0);
        self.copy()
    }

    fn copy(&self) -> Vec<Snapshot> {
        vec![self.writer.page().snapshot(self.writer.clock())]
    }
}

#[test]
fn stacks_go_from_the_loop_to_the_span() {
    let mut bench = Bench::new();
    let flush = bench.writer.named_site(Location::caller(), Kind::Timer, "flush; all");
    let then = bench.writer.foreign_site(place(Kind::Microtask, "src/a.rs", 9));
    let _spans = bench.writer.install_spans();
    let earlier = bench.copy();
    bench.writer.phase(Phase::TIMERS);
    bench.writer.begin(Kind::Timer, flush, TaskTimes::UNKNOWN);
    bench.time.advance_ns(3 * MS);
    let span = spans::enter(spans::site("query", "db.rs", 1).unwrap(), "").unwrap();
    bench.time.advance_ns(4 * MS);
    spans::leave(span);
    bench.writer.end();
    bench.writer.drain_begin(Queue::Microtask, 1);
    bench.writer.begin(Kind::Microtask, then, TaskTimes::UNKNOWN);
    bench.time.advance_ns(2 * MS);
    bench.writer.end();
    bench.writer.drain_end(Queue::Microtask, 1);
    bench.writer.drained();
    let read = bench.writer.foreign_site(place(Kind::IoRead, "src/b.rs", 7));
    bench.run(Phase::POLL, Kind::IoRead, read, 1);
    let folded = Profile::between(&earlier, &bench.settled()).folded();
    let lines: Vec<&str> = folded.lines().collect();
    assert_eq!(lines.len(), 4, "{folded}");
    assert_eq!(lines[0], "main;poll;io_read src/b.rs:7 1000");
    assert!(lines[1].starts_with("main;timers;flush: all (") && lines[1].ends_with(" 3000"), "{folded}");
    assert!(lines[2].contains(";microtask src/a.rs:9 2000") && lines[3].contains(";query 4000"), "{folded}");
}

fn place(kind: Kind, file: &str, line: u32) -> loopscope_probe::Site {
    loopscope_probe::Site { kind, name: String::new(), file: file.into(), line, column: 1 }
}

#[test]
fn a_profile_is_the_difference_of_two_copies() {
    let mut bench = Bench::new();
    let site = bench.writer.foreign_site(place(Kind::Timer, "t.rs", 1));
    bench.run(Phase::TIMERS, Kind::Timer, site, 50);
    let earlier = bench.settled();
    assert!(Profile::between(&earlier, &bench.settled()).is_empty());
    bench.run(Phase::TIMERS, Kind::Timer, site, 20);
    assert_eq!(Profile::between(&earlier, &bench.settled()).folded(), "main;timers;timer t.rs:1 20000\n");
    assert_eq!(Profile::between(&[], &bench.settled()).folded(), "main;timers;timer t.rs:1 70000\n");
}

#[test]
fn what_still_runs_is_counted_for_the_period_only() {
    let mut bench = Bench::new();
    let site = bench.writer.foreign_site(place(Kind::Timer, "t.rs", 1));
    bench.writer.phase(Phase::TIMERS);
    bench.writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    bench.time.advance_ns(9_000 * MS);
    let earlier = bench.copy();
    bench.time.advance_ns(1_000 * MS);
    let in_the_middle = bench.copy();
    assert_eq!(Profile::between(&earlier, &in_the_middle).folded(), "main;timers;timer t.rs:1 1000000\n");
    bench.time.advance_ns(500 * MS);
    bench.writer.end();
    assert_eq!(
        Profile::between(&in_the_middle, &bench.settled()).folded(),
        "main;timers;timer t.rs:1 500000\n"
    );
}

#[test]
fn the_drawing_is_the_same_for_the_same_profile_and_none_for_nothing() {
    let mut bench = Bench::new();
    let site = bench.writer.foreign_site(place(Kind::Timer, "<t&\".rs", 1));
    let earlier = bench.copy();
    assert!(matches!(Profile::between(&earlier, &earlier).svg("x"), Err(FlameError::Empty)));
    bench.run(Phase::TIMERS, Kind::Timer, site, 20);
    let profile = Profile::between(&earlier, &bench.settled());
    let (first, second) = (profile.svg("a <b>").unwrap(), profile.svg("a <b>").unwrap());
    assert_eq!(first, second);
    let text = String::from_utf8(first).unwrap();
    assert!(text.contains("timer &lt;t&amp;") && text.contains("20,000 µs"), "{text}");
    assert!(text.contains("id=\"legend\"") && text.contains(">timers</text>"), "{text}");
    assert!(!text.contains(crate::profiles::colour_mark::is_mark), "private characters are left");
}

#[test]
fn calls_are_counted_and_sites_have_their_place() {
    let mut bench = Bench::new();
    let site = bench.writer.foreign_site(place(Kind::Timer, "t.rs", 12));
    let earlier = bench.copy();
    for _ in 0..3 {
        bench.run(Phase::TIMERS, Kind::Timer, site, 2);
    }
    let profile = Profile::between(&earlier, &bench.settled());
    assert_eq!(profile.total_count(), 3);
    let frames: Vec<&ProfileFrame> = profile.frames_of(profile.stack(0)).collect();
    assert_eq!((frames[2].file.as_deref(), frames[2].line), (Some("t.rs"), 12));
}

#[test]
fn a_difference_tells_what_its_colours_mean() {
    let before = Profile::parse_folded("a;poll;x 100\na;poll;y 100\n").unwrap();
    let after = Profile::parse_folded("a;poll;x 300\na;poll;y 100\n").unwrap();
    let draw = |totals| String::from_utf8(after.diff_svg(&before, totals, "t").unwrap()).unwrap();
    let as_measured = draw(Totals::AsMeasured);
    // Of the larger total, 400 µs, 200 are new.
    assert!(as_measured.contains("x +50.0% (300 µs, 75.00%)"), "{as_measured}");
    assert!(as_measured.contains("y (100 µs, 25.00%)") && as_measured.contains("10% more of all time"));
    // The frames above have changed as well, by all that is below them.
    assert!(as_measured.contains("poll +50.0% (400 µs, 100.00%)"), "{as_measured}");
    assert!(!as_measured.contains(crate::profiles::colour_mark::is_mark), "private characters are left");
    assert!(draw(Totals::Equal).contains("y -25.0% (100 µs, 25.00%)"));
    let empty = Profile::new(Of::Callbacks);
    assert!(matches!(after.diff_svg(&empty, Totals::Equal, "t"), Err(FlameError::Empty)));
    assert!(matches!(empty.diff_svg(&before, Totals::Equal, "t"), Err(FlameError::Empty)));
}
