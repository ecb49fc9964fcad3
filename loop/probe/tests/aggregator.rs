//! Aggregated entry by entry, in batches, and with stamps that the loop took itself: the same numbers, on a virtual clock.
#![cfg(not(loom))]

use loopscope_probe::spans;
use loopscope_probe::{Clock, Kind, Phase, SiteId, Snapshot, TaskTimes, Ticks, VirtualClock, Writer};
use std::panic::Location;

const SECOND_NS: u64 = 1_000_000_000;

fn writer(time: &VirtualClock) -> Writer {
    let mut writer = Writer::builder("aggregated").private().clock(Clock::simulated(time.clone())).build();
    writer.resume();
    writer
}

fn snapshot(writer: &Writer) -> Snapshot {
    writer.page().snapshot(writer.clock())
}

/// Plays callbacks and jobs of two sites in all phases, and settles after as many as told.
fn played(settled_after: u64) -> Snapshot {
    let time = VirtualClock::starting_at(SECOND_NS);
    let mut writer = writer(&time);
    let sites = ["one", "other"].map(|name| writer.named_site(Location::caller(), Kind::Timer, name));
    let _installed = writer.install_spans();
    let span = spans::site("inside", "aggregator.rs", 1).unwrap();
    let kinds = [Kind::Timer, Kind::IoRead, Kind::Tick, Kind::Microtask];
    for turn in 0..200u64 {
        writer.phase(Phase::STANDARD[turn as usize / 40]);
        let (kind, site) = (kinds[turn as usize / 3 % 4], sites[turn as usize / 5 % 2]);
        let ready = if turn % 4 == 0 { Ticks::NONE } else { Ticks(SECOND_NS + turn) };
        writer.begin(kind, site, TaskTimes::ready_at(ready));
        time.advance_ns(turn * turn * 97);
        if turn % 7 == 0 {
            let entered = spans::enter(span, "").unwrap();
            time.advance_ns(turn);
            spans::leave(entered);
        }
        writer.end();
        if turn % settled_after == 0 {
            writer.settle();
        }
    }
    writer.suspend();
    snapshot(&writer)
}

/// What the paths hold, whatever their numbers: those are given in the order in which paths are met.
fn times(page: &Snapshot) -> Vec<(SiteId, u64, u64, u64)> {
    let mut times: Vec<_> =
        page.paths.iter().map(|path| (path.site, path.calls, path.self_ns, path.longest_ns)).collect();
    times.sort();
    times
}

#[test]
fn entries_aggregated_one_by_one_and_in_batches_give_the_same() {
    let all = played(u64::MAX);
    assert!(all.run[Kind::Timer.index()].count() > 40 && all.drained_jobs.iter().sum::<u64>() > 80);
    assert!(all.paths.iter().filter(|path| path.calls > 0).count() > 10, "{:?}", all.paths);
    for settled_after in [1, 2, 5] {
        let some = played(settled_after);
        assert_eq!((&some.run, &some.wait), (&all.run, &all.wait));
        assert_eq!((some.phase_callbacks, some.drained_jobs), (all.phase_callbacks, all.drained_jobs));
        assert_eq!(times(&some), times(&all));
    }
}

#[test]
fn a_loop_may_stamp_its_poll_itself() {
    let time = VirtualClock::starting_at(SECOND_NS);
    let mut writer = writer(&time);
    time.advance_ns(2_000);
    writer.phase(Phase::POLL);
    writer.settle();
    writer.park_at(writer.clock().now());
    time.advance_ns(500);
    let returned = writer.clock().now();
    // What the loop does between its reading and the call is no part of the poll.
    time.advance_ns(30);
    writer.unpark_at(returned, 1);
    assert_eq!(writer.last(), returned);
    let page = snapshot(&writer);
    assert_eq!((page.active_ns, page.idle_ns, page.now.busy_ns), (2_030, 500, 30));
    assert_eq!((page.poll_wait.count(), page.poll_wait.sum_ns), (1, 500));
}
