//! Which thread has a page, from when to when: workers that come and go, runtimes that end, threads that go on.

mod support;

use loopscope_probe::registry::{self, LocalPage};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{
    Block, DEADLINE, Flavor, KINDS, Running, Tier, agent, builder, stalls, turn, until, watched, workers,
};

/// Returns the labels of all pages of a runtime, its own and those of its workers.
fn labels(name: &str) -> Vec<String> {
    let is_of = |page: &LocalPage| page.page().loop_name().starts_with(name) && !page.is_retired();
    let mut labels: Vec<String> =
        registry::pages().iter().filter(|page| is_of(page)).map(|page| page.label().to_owned()).collect();
    labels.sort();
    labels
}

#[test]
fn each_worker_has_one_page_and_the_runtime_its_own_until_it_ends() {
    let _turn = turn();
    let _agent = agent(1_000);
    for (tier, flavor) in KINDS {
        let name = format!("lanes {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        let count = if flavor == Flavor::Multi { 2 } else { 1 };
        running.wait_for_workers(&name, count);
        let mut expected: Vec<String> = (0..count).map(|number| format!("{name}/{number}")).collect();
        expected.push(format!("{name}/runtime"));
        assert_eq!(labels(&name), expected);
        let page = &workers(&name)[0];
        let facts = page.page().facts();
        assert_eq!((&*facts.runtime, facts.worker), ("tokio", Some(0)));
        assert_eq!(facts.description.callback().of(2), "polls");
        drop(running);
        until(&format!("the end of the pages of {name}"), || labels(&name).is_empty());
    }
}

#[test]
fn a_worker_that_hands_its_work_over_is_retired_and_is_no_endless_stall() {
    let _turn = turn();
    let agent = agent(100);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("in place {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let (block, act) = Block::new();
        running.handle.spawn(async move { tokio::task::block_in_place(act) });
        block.wait_until_begun();
        // Another thread does the work, and says so at its first hook, or when it is visited.
        until("a page of the thread that took over", || {
            running.poke();
            labels(&name).contains(&format!("{name}/2"))
        });
        let before = stalls(&agent, &name);
        until("the end of what was told meanwhile", || agent.incidents().iter().all(|one| one.is_over));
        until("the end of the page of the thread that handed over", || {
            running.poke();
            workers(&name).len() == 2
        });
        block.release();
        // What is called a stall from now on is one.
        let (block, act) = Block::new();
        running.handle.spawn(async move { act() });
        block.wait_until_begun();
        until("a block afterwards", || stalls(&agent, &name) > before);
        block.release();
    }
}

#[test]
fn a_current_thread_runtime_between_two_runs_is_not_busy_and_ends_with_itself() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("between {tier:?}");
        let (runtime, watch) = watched(tier, Flavor::Current, &name);
        for _ in 0..2 {
            loopscope_tokio::block_on(&runtime, async {
                for _ in 0..30 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            assert_eq!(labels(&name), [format!("{name}/0"), format!("{name}/runtime")]);
            until("it seems parked", || workers(&name)[0].page().is_parked());
            let page = &workers(&name)[0];
            let begun = page.clock().now();
            until("four thresholds", || {
                assert!(page.page().is_parked());
                page.clock().ns_between(begun, page.clock().now()) > 240_000_000
            });
        }
        assert_eq!(stalls(&agent, &name), 0);
        drop(runtime);
        drop(watch);
        until(&format!("the end of the pages of {name}"), || labels(&name).is_empty());
    }
}

#[test]
fn a_runtime_that_is_dropped_in_the_middle_of_its_busy_period_is_noticed() {
    let _turn = turn();
    let _agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("dropped {tier:?}");
        let (runtime, watch) = watched(tier, Flavor::Current, &name);
        // Nobody is told that this returns.
        runtime.block_on(async {
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        drop(runtime);
        until(&format!("the end of the pages of {name}"), || labels(&name).is_empty());
        drop(watch);
    }
}

#[test]
fn threads_that_end_and_runtimes_of_one_name_keep_their_pages_apart() {
    let _turn = turn();
    let _agent = agent(1_000);
    for _ in 0..3 {
        let ended = std::thread::spawn(|| {
            let (runtime, _) = watched(Tier::Build, Flavor::Current, "ends");
            runtime.block_on(loopscope_tokio::probed(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }));
            assert!(labels("ends").contains(&"ends/0".to_owned()), "{:?}", labels("ends"));
        });
        ended.join().unwrap();
        until("the end of its pages", || labels("ends").is_empty());
    }
    let twins = [(); 2].map(|()| Running::start(Tier::Build, Flavor::Current, "twin"));
    for twin in &twins {
        let (tell, told) = channel();
        twin.handle.spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tell.send(()).unwrap();
        });
        told.recv_timeout(DEADLINE).unwrap();
    }
    until("four pages", || labels("twin").len() == 4);
    assert_eq!(labels("twin"), ["twin/0", "twin/0#2", "twin/runtime", "twin/runtime#2"]);
}

#[test]
fn hooks_of_the_users_own_and_local_sets_are_watched_too() {
    let _turn = turn();
    let agent = agent(60);
    let hooks = loopscope_tokio::hooks("local");
    let mut builder = builder(Flavor::Current);
    let (park, unpark) = (hooks.clone(), hooks);
    builder.on_thread_park(move || park.park()).on_thread_unpark(move || unpark.unpark());
    let runtime = builder.build().unwrap();
    let (block, act) = Block::new();
    let watcher = std::thread::spawn(move || {
        block.wait_until_begun();
        until("the block in a local task", || stalls(&agent, "local") > 0);
        block.release();
        agent
    });
    let local = tokio::task::LocalSet::new();
    local.spawn_local(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        act();
    });
    runtime.block_on(local);
    drop(watcher.join().unwrap());
}
