//! What is told once: stalls of a runtime that has hooks and a watch, pages of a thread that is no worker any more, and, where Tokio
//! tells polls, those of a runtime within a task of another.

mod support;

use loopscope_probe::raw::registry;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Block, Flavor, Running, Tier, agent, builder, stalls, turn, until, workers};
use tokio::runtime::Handle;

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn hooks_beside_a_watch_by_counters_tell_nothing_again() {
    let _turn = turn();
    let agent = agent(60);
    let hooks = loopscope_tokio::hooks("twice");
    let (park, unpark, stop) = (hooks.clone(), hooks.clone(), hooks);
    let mut builder = builder(Flavor::Current);
    builder
        .on_thread_park(move || park.park())
        .on_thread_unpark(move || unpark.unpark())
        .on_thread_stop(move || stop.stop());
    let runtime = builder.build().unwrap();
    let (block, act) = Block::new();
    let releasing = std::thread::spawn(move || {
        block.wait_until_begun();
        until("the block", || stalls(&agent, "twice") > 0);
        block.release();
        agent
    });
    let (counted, parks) = runtime.block_on(async {
        let _watch = loopscope_tokio::attach(&Handle::current(), "twice");
        for _ in 0..30 {
            tokio::time::sleep(SHORT).await;
        }
        act();
        let page = workers("twice").remove(0);
        let snapshot = || page.page().snapshot(page.clock());
        while snapshot().blocked == [0; 2] {
            tokio::time::sleep(SHORT).await;
        }
        (snapshot().blocked.iter().sum::<u64>(), snapshot().iterations)
    });
    let agent = releasing.join().unwrap();
    // A busy machine may make others of its own.
    assert!(counted <= stalls(&agent, "twice") as u64, "{counted}");
    assert_eq!(parks, 0, "a watch by counters knows of none");
}

#[test]
fn a_thread_that_gave_its_worker_away_makes_no_page_for_each_poll() {
    let _turn = turn();
    let _agent = agent(10_000);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("given away {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let (of, notes, handle) = (name.clone(), seen.clone(), running.handle.clone());
        let looks = async move {
            for _ in 0..60 {
                let pages =
                    registry::pages().into_iter().filter(|page| page.page().loop_name().starts_with(&of));
                notes.lock().unwrap().extend(pages.map(|page| page.number()));
                tokio::time::sleep(SHORT).await;
            }
        };
        let inside = move || handle.block_on(loopscope_tokio::named("inner", looks));
        let task = running.handle.spawn(async move { tokio::task::block_in_place(inside) });
        until("its end", || {
            running.poke();
            task.is_finished()
        });
        let count = seen.lock().unwrap().len();
        // Two workers and who took over, what they share, and the thread that is none any more.
        assert!((3..=6).contains(&count), "{tier:?}: {count} pages");
    }
}

/// Tokio tells each poll: the one of the outer task goes on while those of the inner runtime come and go.
#[cfg(tokio_unstable)]
#[test]
fn polls_go_on_to_be_told_after_another_runtime_ran_within_one() {
    let _turn = turn();
    let _agent = agent(10_000);
    let outer = Running::start_with(Tier::Build, Flavor::Multi, "outer", |builder| {
        // Nobody takes the worker over.
        builder.worker_threads(1).max_blocking_threads(1);
    });
    outer.wait_for_workers("outer", 1);
    let (busy, act) = Block::new();
    outer.handle.spawn_blocking(act);
    busy.wait_until_begun();
    let inner = loopscope_tokio::build(&mut builder(Flavor::Current), "inner").unwrap();
    let run_inner = move || {
        inner.block_on(async {
            let _ = tokio::spawn(async { tokio::time::sleep(SHORT).await }).await;
        });
        inner
    };
    let nested = outer.handle.spawn(async move { tokio::task::block_in_place(run_inner) });
    until("the nested run", || nested.is_finished());
    let page = workers("outer").remove(0);
    let polls =
        || page.page().snapshot(page.clock()).run.iter().map(|durations| durations.count()).sum::<u64>();
    let before = polls();
    until("polls afterwards", || {
        outer.poke();
        polls() > before + 50
    });
    busy.release();
    drop(nested);
}
