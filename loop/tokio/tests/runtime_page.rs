//! What belongs to no worker: the runtime's timers and I/O, and its blocking pool.

mod support;

use loopscope_agent::Incident;
use loopscope_probe::WorkKind;
use std::sync::mpsc::channel;
use std::sync::{Arc, RwLock};
use support::{Block, Flavor, Running, Tier, agent, shared, turn, until, workers};

#[test]
fn a_full_blocking_pool_is_told_while_it_is_full_and_its_age_with_it() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("pool {tier:?}");
        let running = Running::start_with(tier, Flavor::Multi, &name, |builder| {
            builder.max_blocking_threads(2);
        });
        running.wait_for_workers(&name, 2);
        let blocks: Vec<Block> = (0..2)
            .map(|_| {
                let (block, act) = Block::new();
                // As a library would, which knows nothing of us.
                running.handle.spawn_blocking(act);
                block
            })
            .collect();
        blocks.iter().for_each(Block::wait_until_begun);
        let is_old =
            |one: &Incident| one.pool.as_ref().is_some_and(|pool| pool.oldest_wait_ns >= Some(60_000_000));
        until("the full pool, and the age of its oldest job", || {
            running.poke();
            let all = agent.incidents();
            let mut of_pool =
                all.iter().filter(|one| one.r#loop == format!("{name}/shared") && one.cause == "pool");
            of_pool.any(|one| !one.is_over && is_old(one))
        });
        blocks.into_iter().for_each(Block::release);
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
    }
}

/// Returns how many jobs that were sent to find out have come to a thread of this runtime's pool.
fn found_out(name: &str) -> u64 {
    let page = shared(name);
    let pool = page.page().snapshot(page.clock()).pool;
    pool.map_or(0, |pool| pool.wait[WorkKind::Other.index()].count())
}

#[test]
fn a_pool_that_fills_up_while_the_runtime_goes_quiet_is_told_and_one_that_does_not_is_not() {
    let _turn = turn();
    // Others use this machine: so long a thread may have no processor.
    let agent = agent(1_000);
    for tier in [Tier::Attach, Tier::Build] {
        for is_full in [false, true] {
            let name = format!("burst {tier:?} {is_full}");
            let running = Running::start_with(tier, Flavor::Multi, &name, move |builder| {
                builder.max_blocking_threads(if is_full { 2 } else { 8 });
            });
            running.wait_for_workers(&name, 2);
            let before = found_out(&name);
            // The next one is not sent before long, and all is quiet then.
            until("a job that finds out", || {
                running.poke();
                found_out(&name) > before
            });
            let gate = Arc::new(RwLock::new(()));
            let closed = gate.write().unwrap();
            let jobs = [(); 3].map(|()| gate.clone());
            running.handle.spawn(async move {
                for gate in jobs {
                    tokio::task::spawn_blocking(move || drop(gate.read()));
                }
            });
            let label = format!("{name}/shared");
            let is_told = || agent.incidents().iter().any(|one| one.r#loop == label && one.cause == "pool");
            let found = found_out(&name);
            match is_full {
                true => until("the full pool", is_told),
                false => {
                    until("the next job that finds out", || {
                        running.poke();
                        found_out(&name) > found
                    });
                    assert!(!is_told(), "{name}: there is a thread left");
                }
            }
            drop(closed);
            until("its end", || agent.incidents().iter().all(|one| one.is_over));
        }
    }
}

#[test]
fn jobs_that_go_through_us_are_told_exactly() {
    let _turn = turn();
    let agent = agent(1_000);
    let running = Running::start(Tier::Build, Flavor::Current, "jobs");
    running.wait_for_workers("jobs", 1);
    let (tell, told) = channel();
    running.handle.spawn(async move {
        for number in 0..5 {
            loopscope_tokio::spawn_blocking(move || number).await.unwrap();
        }
        assert!(loopscope_tokio::spawn_blocking(|| panic!("a job's own trouble")).await.is_err());
        tell.send(()).unwrap();
    });
    told.recv_timeout(support::DEADLINE).unwrap();
    let pool = || {
        let pages = loopscope_probe::raw::registry::pages();
        let page = pages.iter().find(|page| page.label() == "jobs/shared").unwrap();
        page.page().snapshot(page.clock()).pool
    };
    let user = loopscope_probe::WorkKind::User.index();
    until("what is told of the jobs", || {
        running.poke();
        pool().is_some_and(|pool| pool.completed[user] == 5 && pool.failed[user] == 1)
    });
    assert_eq!((pool().unwrap().wait[user].count(), pool().unwrap().run[user].count()), (6, 6));
    drop(agent);
}

/// Waits until it is known that a runtime has timers, for which one has to be pending again and again.
fn know_timers(running: &Running, name: &str) {
    let timers = running.handle.spawn(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    });
    let label = format!("{name}/shared");
    until("a timer of ours", || {
        let pages = loopscope_probe::raw::registry::pages();
        pages.iter().any(|page| page.label() == label && page.page().snapshot(page.clock()).lag.count() > 0)
    });
    timers.abort();
}

#[test]
fn a_blocked_worker_that_stops_the_timers_of_all_is_told_as_both() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("driver {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        know_timers(&running, &name);
        // A timer ends on the worker that holds the driver: who blocks right then holds it on. Which one comes first, and whether
        // the other is asleep, is chance.
        until("both incidents", || {
            let (block, act) = Block::new();
            running.handle.spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
                act();
            });
            block.wait_until_begun();
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(200) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let all = agent.incidents();
            let is_told = all.iter().any(|one| one.r#loop == format!("{name}/shared") && one.cause != "pool")
                && all.iter().any(|one| one.group == name);
            block.release();
            is_told
        });
        until("their end", || agent.incidents().iter().all(|one| one.is_over));
    }
}

#[test]
fn a_runtime_without_timers_is_watched_without_its_lag() {
    let _turn = turn();
    let agent = agent(40);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let watch = loopscope_tokio::attach(runtime.handle(), "untimed");
    until("its page", || {
        runtime.spawn(async {});
        !workers("untimed").is_empty()
    });
    let (block, act) = Block::new();
    runtime.spawn(async move { act() });
    until("the block", || agent.incidents().iter().any(|one| one.r#loop == "untimed/0"));
    block.release();
    drop((watch, runtime));
}

#[test]
fn a_watch_that_is_dropped_ends_and_a_new_one_may_begin() {
    let _turn = turn();
    let agent = agent(40);
    let runtime = support::builder(Flavor::Multi).build().unwrap();
    for name in ["first watch", "second watch"] {
        let watch = loopscope_tokio::attach(runtime.handle(), name);
        until("the pages", || {
            runtime.spawn(async {});
            workers(name).len() == 2
        });
        let (block, act) = Block::new();
        runtime.spawn(async move { act() });
        until("the block", || support::stalls(&agent, name) == 1);
        block.release();
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
        drop(watch);
        until("the end of the pages", || workers(name).is_empty());
    }
}
