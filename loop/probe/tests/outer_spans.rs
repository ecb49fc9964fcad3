//! Spans that are entered between two callbacks, on a virtual clock: what a runtime runs without telling has them, and a callback
//! that begins inside them, too.
#![cfg(not(loom))]

use loopscope_probe::{Clock, Kind, Phase, SiteId, Snapshot, TaskTimes, VirtualClock, Writer, spans};
use std::panic::Location;

const MS_NS: u64 = 1_000_000;

/// A loop that is played by hand.
struct Play {
    time: VirtualClock,
    writer: Writer,
    site: SiteId,
}

impl Play {
    fn running() -> Play {
        let time = VirtualClock::starting_at(MS_NS);
        let mut writer = Writer::builder("played").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        let site = writer.named_site(Location::caller(), Kind::Timer, "callback");
        Play { time, writer, site }
    }

    fn pass(&self, ns: u64) {
        self.time.advance_ns(ns);
    }

    /// A callback begins now.
    fn begin(&mut self) {
        let now = self.writer.clock().now();
        self.writer.begin_at(now, Kind::Timer, self.site, TaskTimes::UNKNOWN);
    }

    /// The names of the spans that are open.
    fn open(&self) -> Vec<String> {
        let page = self.writer.page();
        page.open_spans().into_iter().map(|span| page.sites().read_one(span.site).unwrap().name).collect()
    }

    /// The own time and the calls of the node below the root that these names lead to.
    fn path(&self, names: &[&str]) -> (u64, u64) {
        let page: Snapshot = self.writer.page().snapshot(self.writer.clock());
        let mut node = Phase::MAIN.index() + 1;
        for name in names {
            let is_child = |(number, stat): &(usize, &loopscope_probe::raw::paths::PathStat)| {
                *number > 0 && usize::from(stat.parent) == node && page.sites[stat.site.index()].name == *name
            };
            node = page.paths.iter().enumerate().find(is_child).unwrap_or_else(|| panic!("no {names:?}")).0;
        }
        (page.paths[node].self_ns, page.paths[node].calls)
    }
}

/// Enters a span of that name.
fn enter(name: &str) -> spans::Entered {
    spans::enter(spans::site(name, "span.rs", 1).unwrap(), "").unwrap()
}

#[test]
fn spans_between_callbacks_are_open_until_they_are_left_and_take_no_time() {
    assert_eq!(spans::site("nowhere", "span.rs", 1), None);
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let (one, two) = (enter("one"), enter("two"));
    play.pass(MS_NS);
    assert_eq!(play.open(), ["one", "two"]);
    spans::leave(two);
    assert_eq!(play.open(), ["one"]);
    // What runs now began at the last stamp, before them: nobody says that it is inside.
    play.writer.begin(Kind::Timer, play.site, TaskTimes::UNKNOWN);
    play.pass(MS_NS);
    play.writer.end();
    assert_eq!(play.open(), [""; 0]);
    let three = enter("three");
    assert_eq!(play.open(), ["three"]);
    // It was on a stack that is no more: what is open at its depth now is another.
    spans::leave(one);
    assert_eq!(play.open(), ["three"]);
    spans::leave(three);
    assert_eq!(play.open(), [""; 0]);
    play.writer.suspend();
    assert_eq!(play.path(&["callback"]), (2 * MS_NS, 1));
    let page = play.writer.page().snapshot(play.writer.clock());
    let names: Vec<&str> =
        page.paths.iter().filter_map(|path| Some(&*page.sites.get(path.site.index())?.name)).collect();
    assert!(!names.contains(&"one") && !names.contains(&"three"), "{names:?}");
}

#[test]
fn a_callback_that_begins_inside_spans_has_them_as_its_outermost() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let request = enter("request");
    play.begin();
    assert_eq!(play.open(), ["request"]);
    play.pass(2 * MS_NS);
    let inner = enter("inner");
    play.pass(3 * MS_NS);
    assert_eq!(play.open(), ["request", "inner"]);
    spans::leave(inner);
    assert_eq!(play.open(), ["request"]);
    // One that is left open goes with its callback, and those around it stay.
    enter("left open");
    play.writer.end();
    assert_eq!(play.open(), ["request"]);
    // A call that is told with the callback that comes next.
    play.begin();
    play.pass(MS_NS);
    assert!(play.writer.end_untold());
    assert_eq!(play.open(), ["request"]);
    let call = play.writer.last();
    play.writer.begin_at(call, Kind::Timer, play.site, TaskTimes::UNKNOWN);
    assert_eq!(play.open(), ["request"]);
    play.pass(MS_NS);
    // With spans in it, it is told by itself.
    spans::leave(enter("inner"));
    assert!(!play.writer.end_untold());
    // One that is left inside the callback is gone when that ends.
    spans::leave(request);
    play.writer.end();
    assert_eq!(play.open(), [""; 0]);
    play.begin();
    assert_eq!(play.open(), [""; 0]);
    play.writer.end();
    play.writer.drained();
    play.writer.suspend();
    assert_eq!(play.path(&["callback"]), (4 * MS_NS, 3));
    assert_eq!(play.path(&["callback", "inner"]), (3 * MS_NS, 2));
}

#[test]
fn spans_stay_open_over_a_poll_and_a_phase_only_where_the_loop_says_so() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    for is_kept in [true, false] {
        let (request, query) = (enter("request"), enter("query"));
        let outer = play.writer.outer_spans();
        play.pass(MS_NS);
        play.writer.phase(Phase::POLL);
        play.writer.park();
        play.writer.unpark(1);
        play.writer.phase(Phase::MAIN);
        assert_eq!(play.open(), [""; 0]);
        if is_kept {
            play.writer.keep_outer_spans(outer);
        }
        let expected: &[&str] = if is_kept { &["request", "query"] } else { &[] };
        assert_eq!(play.open(), expected);
        play.begin();
        assert_eq!(play.open(), expected);
        play.writer.end();
        // They are the same that were entered.
        spans::leave(query);
        assert_eq!(play.open(), expected[..expected.len() / 2]);
        spans::leave(request);
        assert_eq!(play.open(), [""; 0]);
    }
    play.writer.suspend();
}

#[test]
fn spans_that_were_left_or_followed_by_others_are_not_kept() {
    let mut play = Play::running();
    let _installed = play.writer.install_spans();
    let nothing = play.writer.outer_spans();
    let request = enter("request");
    // There were none when it was asked.
    play.writer.phase(Phase::TIMERS);
    play.writer.keep_outer_spans(nothing);
    assert_eq!(play.open(), [""; 0]);
    spans::leave(request);
    let request = enter("request");
    let outer = play.writer.outer_spans();
    spans::leave(request);
    play.pass(MS_NS);
    play.writer.phase_at(play.writer.clock().now(), Phase::MAIN);
    play.writer.keep_outer_spans(outer);
    assert_eq!(play.open(), [""; 0]);
    let other = enter("other");
    play.writer.phase(Phase::TIMERS);
    play.writer.keep_outer_spans(outer);
    assert_eq!(play.open(), [""; 0]);
    spans::leave(other);
    // Those of a callback are its own.
    play.begin();
    let inner = enter("inner");
    assert_eq!(play.writer.outer_spans(), nothing);
    play.writer.keep_outer_spans(outer);
    assert_eq!(play.open(), ["inner"]);
    spans::leave(inner);
    play.writer.end();
    play.writer.suspend();
}
