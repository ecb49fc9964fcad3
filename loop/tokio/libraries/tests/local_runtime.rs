//! A `LocalRuntime`, which Tokio has from 1.51 on, with hooks and with an attached watch.

#[path = "../../tests/support/mod.rs"]
mod support;

use loopscope_agent::Agent;
use loopscope_probe::raw::registry;
use std::time::Duration;
use support::{Block, Flavor, Tier, agent, builder, turn, until, workers};
use tokio::runtime::{LocalOptions, LocalRuntime};

/// Waits on another thread until a block is told with its line, while it lasts, and lets it go.
fn wait_for(block: Block, agent: Agent, name: &'static str) -> std::thread::JoinHandle<Agent> {
    std::thread::spawn(move || {
        block.wait_until_begun();
        until(&format!("the stall of {name}, with its line"), || {
            let incidents = agent.incidents();
            let mut now = incidents.iter().filter(|one| one.group == name && !one.is_over);
            now.any(|one| format!("{:?}", one.stacks).contains("block_here"))
        });
        block.release();
        agent
    })
}

/// Builds one and watches it; it is not to leave its thread.
fn watched(tier: Tier, name: &str) -> (LocalRuntime, Option<loopscope_tokio::Watch>) {
    let mut builder = builder(Flavor::Current);
    if tier == Tier::Build {
        let hooks = loopscope_tokio::hooks(name);
        let (park, unpark, stop) = (hooks.clone(), hooks.clone(), hooks);
        builder.on_thread_park(move || park.park()).on_thread_unpark(move || unpark.unpark());
        builder.on_thread_stop(move || stop.stop());
        return (builder.build_local(LocalOptions::default()).unwrap(), None);
    }
    let runtime = builder.build_local(LocalOptions::default()).unwrap();
    let watch = loopscope_tokio::attach(runtime.handle(), name);
    (runtime, Some(watch))
}

#[test]
fn a_block_in_a_local_task_of_a_local_runtime_is_told_and_the_time_between_two_runs_is_idle() {
    let _turn = turn();
    let mut agent = agent(60);
    for (tier, name) in [(Tier::Attach, "local attach"), (Tier::Build, "local build")] {
        let (runtime, watch) = watched(tier, name);
        for round in 0..2 {
            let (block, act) = Block::new();
            let told = wait_for(block, agent, name);
            let running = loopscope_tokio::running(runtime.handle());
            runtime.block_on(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                tokio::task::spawn_local(async move { act() }).await.unwrap();
            });
            drop(running);
            agent = told.join().unwrap();
            let page = workers(name).remove(0);
            until("it seems parked", || page.page().is_parked());
            let (begun, before) = (page.clock().now(), agent.incidents().len());
            until("four thresholds", || {
                assert!(page.page().is_parked(), "round {round}");
                page.clock().ns_between(begun, page.clock().now()) > 240_000_000
            });
            assert_eq!(agent.incidents().len(), before, "{:?}", agent.incidents());
        }
        drop((runtime, watch));
        let is_of = |label: &str| label.starts_with(name);
        until("the end of its pages", || {
            registry::pages().iter().all(|page| !is_of(page.label()) || page.is_retired())
        });
    }
}
