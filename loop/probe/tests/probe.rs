//! The probe for a loop that one has already: what its two verbs and its guards leave on the page, on a virtual clock.
#![cfg(not(loom))]

use loopscope_probe::{Clock, Kind, NamedSite, Phase, Probe, Snapshot, VirtualClock, Writer, site, spans};
use std::panic::{AssertUnwindSafe, catch_unwind};

const MS_NS: u64 = 1_000_000;

/// A loop of a program's own, whose busy period has just begun.
struct OwnLoop {
    time: VirtualClock,
    probe: Probe,
}

fn own_loop() -> OwnLoop {
    let time = VirtualClock::starting_at(1_000 * MS_NS);
    let writer = Writer::builder("own").clock(Clock::simulated(time.clone())).build();
    OwnLoop { time, probe: Probe::from(writer) }
}

impl OwnLoop {
    fn snapshot(&self) -> Snapshot {
        self.probe.snapshot()
    }

    /// A callback that lasts for a millisecond, and may go wrong.
    fn callback(&self, site: &'static NamedSite, text: &str) -> Result<u32, std::num::ParseIntError> {
        let _callback = self.probe.callback(site);
        self.time.advance_ns(MS_NS);
        assert!(text != "panic");
        text.parse()
    }

    fn poll(&self, ms: u64) {
        self.probe.park();
        self.time.advance_ns(ms * MS_NS);
        self.probe.unpark();
    }
}

#[test]
fn a_guard_ends_its_callback_by_return_by_question_mark_and_by_panic() {
    let own = own_loop();
    let runs = |own: &OwnLoop| own.snapshot().run[Kind::Timer.index()].count();
    assert!(own.callback(site!("parse", Timer), "1").is_ok());
    assert!(own.callback(site!("parse", Timer), "x").is_err());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(|| own.callback(site!("parse", Timer), "panic")));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    own.poll(1);
    let page = own.snapshot();
    assert_eq!((runs(&own), page.run[Kind::Timer.index()].sum_ns), (3, 3 * MS_NS));
    assert_eq!(page.errors[Kind::Timer.index()], 1, "a panic is an error, and `?` is none");
}

#[test]
fn what_runs_while_another_panic_passes_is_no_error() {
    struct Tidy<'a>(&'a OwnLoop);
    impl Drop for Tidy<'_> {
        fn drop(&mut self) {
            assert!(self.0.callback(site!("tidy", Timer), "1").is_ok());
        }
    }
    let own = own_loop();
    let passing = catch_unwind(AssertUnwindSafe(|| {
        let _tidy = Tidy(&own);
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(passing.is_err());
    own.poll(1);
    let page = own.snapshot();
    assert_eq!((page.run[Kind::Timer.index()].count(), page.errors[Kind::Timer.index()]), (1, 0));
}

#[test]
fn a_callback_inside_another_is_a_part_of_it() {
    let own = own_loop();
    {
        let _outer = own.probe.callback(site!("outer"));
        own.time.advance_ns(MS_NS);
        {
            let _inner = own.probe.callback(site!("inner"));
            own.time.advance_ns(2 * MS_NS);
        }
        own.time.advance_ns(4 * MS_NS);
    }
    own.poll(1);
    let page = own.snapshot();
    assert_eq!(page.run[Kind::Other.index()].count(), 1);
    let time_of = |name: &str| {
        let site = page.sites.iter().position(|site| site.name == name).unwrap();
        page.paths.iter().filter(|path| path.site.index() == site).map(|path| path.self_ns).sum::<u64>()
    };
    assert_eq!((time_of("outer"), time_of("inner")), (5 * MS_NS, 2 * MS_NS));
}

#[test]
fn two_verbs_give_stalls_and_lag() {
    let own = own_loop();
    own.poll(10);
    own.time.advance_ns(150 * MS_NS);
    own.poll(10);
    own.probe.events(3);
    let page = own.snapshot();
    assert_eq!(page.blocked, [1, 0], "150 ms is a stall");
    assert!(
        page.lag.count() >= 160 && page.lag.quantile_ns(0.99).unwrap() > 100 * MS_NS,
        "{:?}",
        page.lag.count()
    );
    assert_eq!((page.active_ns / MS_NS, page.idle_ns / MS_NS), (150, 20));
}

#[test]
fn said_twice_is_said_once() {
    let own = own_loop();
    own.time.advance_ns(MS_NS);
    for _ in 0..2 {
        own.probe.park();
        own.time.advance_ns(MS_NS);
    }
    for _ in 0..2 {
        own.probe.unpark();
        own.time.advance_ns(MS_NS);
    }
    own.probe.park();
    let page = own.snapshot();
    assert_eq!((page.active_ns, page.idle_ns), (3 * MS_NS, 2 * MS_NS));
}

#[test]
fn a_guard_that_outlives_its_callback_ends_no_other() {
    let own = own_loop();
    let late = own.probe.callback(site!("late"));
    own.time.advance_ns(MS_NS);
    own.poll(1);
    let now = own.probe.callback(site!("now", Timer));
    drop(late);
    own.time.advance_ns(5 * MS_NS);
    drop(now);
    own.poll(1);
    let page = own.snapshot();
    assert_eq!(page.run[Kind::Timer.index()].sum_ns, 5 * MS_NS);
    assert_eq!(page.run[Kind::Other.index()].sum_ns, MS_NS);
}

#[test]
fn a_site_is_known_by_its_name_kind_and_place() {
    let own = own_loop();
    let (timer, other, line) = (site!("parse", Timer), site!("parse"), line!());
    for site in [timer, timer, other] {
        assert!(own.callback(site, "1").is_ok());
    }
    let page = own.snapshot();
    let sites = page.sites.iter().filter(|site| site.name == "parse");
    let told: Vec<_> = sites.map(|site| (site.kind, site.file.as_str(), site.line)).collect();
    // Two on one line, of which each is one.
    assert_eq!(told, [(Kind::Timer, file!(), line), (Kind::Other, file!(), line)]);
}

#[test]
fn each_park_is_an_iteration_and_what_runs_after_it_is_of_its_poll() {
    let own = own_loop();
    assert!(own.callback(site!("first"), "1").is_ok());
    for _ in 0..3 {
        own.poll(2);
        assert!(own.callback(site!("next"), "1").is_ok());
    }
    own.probe.park();
    let page = own.snapshot();
    let of_phase = |phase: Phase| page.phase_callbacks[phase.index()];
    assert_eq!((page.iterations, of_phase(Phase::MAIN), of_phase(Phase::POLL)), (4, 1, 3));
    assert_eq!((page.poll_wait.count(), page.poll_wait.sum_ns), (3, 6 * MS_NS));
    // How many events a poll returned is known only where somebody says it.
    let events = |own: &OwnLoop| (own.snapshot().poll_events.count(), own.snapshot().poll_events.sum);
    assert_eq!(events(&own), (0, 0));
    own.probe.unpark();
    own.probe.events(3);
    assert_eq!(events(&own), (1, 3));
}

#[test]
fn a_callback_is_completed_where_it_ends_by_its_guard_and_by_the_poll() {
    let own = own_loop();
    assert!(own.callback(site!("ended"), "1").is_ok());
    own.poll(1);
    assert_eq!(own.snapshot().completed.count(), 1);
    let left = own.probe.callback(site!("left"));
    own.poll(1);
    assert_eq!(own.snapshot().completed.count(), 2, "the poll ended it");
    drop(left);
    own.poll(1);
    assert_eq!(own.snapshot().completed.count(), 2);
    for _ in 0..3 {
        assert!(own.callback(site!("several"), "1").is_ok());
    }
    own.poll(1);
    assert_eq!(own.snapshot().completed.count(), 5, "each by itself");
}

#[test]
fn the_loop_is_busy_from_the_first_moment_on() {
    let own = own_loop();
    own.time.advance_ns(150 * MS_NS);
    let page = own.snapshot();
    assert_eq!((page.now.busy_ns, page.blocked), (150 * MS_NS, [1, 0]));
    assert_eq!(page.now.running.map(|running| running.phase), Some(Phase::MAIN));
}

#[test]
fn spans_of_the_loop_s_thread_are_parts_of_its_callbacks_as_long_as_it_lives() {
    let own = own_loop();
    {
        let _callback = own.probe.callback(site!("outer"));
        let query = spans::enter(spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
        own.time.advance_ns(2 * MS_NS);
        spans::leave(query);
    }
    own.poll(1);
    let page = own.snapshot();
    let site = page.sites.iter().position(|site| site.name == "query").unwrap();
    let spent = page.paths.iter().filter(|path| path.site.index() == site).map(|path| path.self_ns);
    assert_eq!(spent.sum::<u64>(), 2 * MS_NS);
    drop(own);
    assert_eq!(spans::site("query", "db.rs", 3), None, "no loop is left");
}
