//! Polls of wrapped futures: under their place or name, parts of each other, and whole where something goes wrong.

mod support;

use loopscope_probe::{Kind, Snapshot};
use std::future::{pending, poll_fn};
use std::panic::Location;
use std::task::Poll;
use support::{Flavor, KINDS, Running, Tier, agent, turn, until, workers};

fn snapshots(name: &str) -> Vec<Snapshot> {
    workers(name).iter().map(|page| page.page().snapshot(page.clock())).collect()
}

/// Returns how often a site was called on all workers, by a part of its label.
fn calls(name: &str, label: &str) -> u64 {
    let of_page = |snapshot: &Snapshot| {
        let is_it = |path: &&loopscope_probe::raw::paths::PathStat| {
            snapshot.site(path.site).is_some_and(|site| site.label().contains(label))
        };
        snapshot.paths.iter().filter(is_it).map(|path| path.calls).sum::<u64>()
    };
    snapshots(name).iter().map(of_page).sum()
}

#[test]
fn each_poll_is_told_once_and_one_inside_another_is_a_part_of_it() {
    let _turn = turn();
    // Workers that the first visit did not meet are visited again by an agent.
    let _agent = agent(1_000);
    for (tier, flavor) in KINDS {
        let name = format!("probed {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        let line = Location::caller().line() + 1;
        let task = running.handle.spawn(loopscope_tokio::probed(async {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            loopscope_tokio::named("inner", async { tokio::task::yield_now().await }).await;
        }));
        until("the end of the task", || task.is_finished());
        // Where Tokio tells of each poll, one is told by where its task was spawned, and the wrapped one inside it.
        let each = if cfg!(tokio_unstable) && tier == Tier::Build { 2 } else { 1 };
        // The page is settled when the worker parks; an observed one when it is polled on.
        until("what is told of it", || {
            running.handle.spawn(loopscope_tokio::named("later", pending::<()>()));
            calls(&name, &format!("probed.rs:{line}")) >= each * 1_002 && calls(&name, "inner") >= 2
        });
        assert_eq!(calls(&name, &format!("probed.rs:{line}")), each * 1_002, "{name}: polls, each once");
        let polls: u64 =
            snapshots(&name).iter().map(|snapshot| snapshot.run[Kind::Task.index()].count()).sum();
        assert!(polls >= 1_002);
    }
}

#[test]
fn a_poll_that_panics_ends_and_the_worker_goes_on() {
    let _turn = turn();
    let running = Running::start(Tier::Build, Flavor::Multi, "panics");
    running.wait_for_workers("panics", 2);
    for _ in 0..3 {
        let task = running.handle.spawn(loopscope_tokio::named("bad", async { panic!("planted") }));
        until("its end", || task.is_finished());
    }
    until("no frame is left open", || {
        running.poke();
        workers("panics").iter().all(|page| page.page().is_parked())
    });
    let task = running.handle.spawn(loopscope_tokio::named("good", async {}));
    until("its end", || task.is_finished());
    until("both are told", || {
        running.poke();
        calls("panics", "bad") == 3 && calls("panics", "good") == 1
    });
}

#[test]
fn thousands_of_names_are_bounded_and_threads_outside_cost_nothing_but_a_look() {
    let _turn = turn();
    let running = Running::start(Tier::Build, Flavor::Current, "names");
    running.wait_for_workers("names", 1);
    let tasks: Vec<_> = (0..2_000)
        .map(|number| {
            let name: &'static str = Box::leak(format!("name {number}").into_boxed_str());
            running.handle.spawn(loopscope_tokio::named(name, async {}))
        })
        .collect();
    until("their end", || tasks.iter().all(|task| task.is_finished()));
    let snapshot = &snapshots("names")[0];
    assert!(snapshot.sites.len() <= 512 && snapshot.sites_overflow > 1_000, "{}", snapshot.sites_overflow);
    drop(running);
    // Nobody's thread, and a runtime that is not watched.
    let polled = || futures_now(loopscope_tokio::probed(poll_fn(|_| Poll::Ready(7))));
    assert_eq!(polled(), Poll::Ready(7));
    assert_eq!(tokio::runtime::Runtime::new().unwrap().block_on(async { polled() }), Poll::Ready(7));
    assert!(workers("names").is_empty());
}

fn futures_now<F: Future>(future: F) -> Poll<F::Output> {
    std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
