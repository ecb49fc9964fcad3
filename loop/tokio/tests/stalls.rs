//! A task that blocks is told while it does, and one that yields is not: with both schedulers, in both tiers.

mod support;

use loopscope_agent::{Agent, Incident};
use loopscope_probe::Clock;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{
    Block, Flavor, KINDS, Running, Tier, agent, has_block, shared, spin, stalls, turn, until,
    until_block_is_told, until_over,
};

#[test]
fn a_block_is_told_while_it_lasts_with_its_line_and_then_is_over() {
    let _turn = turn();
    let agent = agent(40);
    for (tier, flavor) in KINDS {
        let name = format!("{tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        for round in 1..=3 {
            let (block, act) = Block::new();
            running.handle.spawn(async move { act() });
            block.wait_until_begun();
            let told = until_block_is_told(&agent, &name);
            block.release();
            until_over(&agent, &told);
            // Others use this machine: a thread that had no processor for so long is an incident, too, and not of this block.
            let incidents = agent.incidents();
            let of_blocks = incidents.iter().filter(|one| one.group == name);
            let of_blocks = of_blocks.filter(|one| has_block(one));
            assert_eq!(of_blocks.count(), round, "{name}: one block is one incident");
        }
    }
}

/// Before Tokio 1.54 a thread finds by the counters which worker it is, and finds nothing while two may be: here the other one has been
/// in its first task from the beginning.
#[test]
fn a_block_is_told_also_where_nobody_knows_which_worker_it_is() {
    let _turn = turn();
    let agent = agent(60);
    let hooks = loopscope_tokio::hooks("unknown");
    let (park, unpark, stop) = (hooks.clone(), hooks.clone(), hooks);
    let (start, started) = channel::<()>();
    let started = Mutex::new(started);
    let mut builder = support::builder(Flavor::Multi);
    builder
        .on_thread_start(move || {
            let _ = started.lock().unwrap().recv_timeout(support::DEADLINE);
        })
        .on_thread_park(move || park.park())
        .on_thread_unpark(move || unpark.unpark())
        .on_thread_stop(move || stop.stop());
    let runtime = builder.build().unwrap();
    // Dropped before the runtime, which waits for its workers.
    let (hold, held) = channel::<()>();
    runtime.spawn(async move {
        let _ = held.recv_timeout(support::DEADLINE);
    });
    drop(start);
    let metrics = runtime.metrics();
    until("the other one's wait", || (0..2).any(|worker| metrics.worker_park_unpark_count(worker) % 2 == 1));
    for _ in 0..2 {
        let (block, act) = Block::new();
        runtime.spawn(async move { act() });
        block.wait_until_begun();
        let told = until_block_is_told(&agent, "unknown");
        block.release();
        until_over(&agent, &told);
    }
    drop(hold);
}

/// Returns the kinds to run with: all, or those the environment names, as "Attach Multi", for the long runs.
fn kinds() -> Vec<(Tier, Flavor)> {
    let Ok(named) = std::env::var("LOOPSCOPE_TEST_KINDS") else { return KINDS.into() };
    let is_named = |(tier, flavor): &(Tier, Flavor)| named.contains(&format!("{tier:?} {flavor:?}"));
    let kinds: Vec<_> = KINDS.into_iter().filter(is_named).collect();
    assert!(!kinds.is_empty(), "no kind of LOOPSCOPE_TEST_KINDS={named} is known");
    kinds
}

/// Returns a number of the environment: the long runs are made by hand.
fn of_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn blocks_of_a_tenth_of_a_second_are_told_before_they_end() {
    const BLOCK_NS: u64 = 100_000_000;
    let _turn = turn();
    let agent = agent(50);
    let rounds = of_environment("LOOPSCOPE_TEST_BLOCKS", 4);
    for (tier, flavor) in kinds() {
        let name = format!("tenths {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        let mut missed = 0;
        for _ in 0..rounds {
            let (begin, begun) = std::sync::mpsc::channel();
            let task = running.handle.spawn(async move {
                begin.send(()).unwrap();
                spin(BLOCK_NS);
            });
            begun.recv_timeout(support::DEADLINE).unwrap();
            let mut was_told = false;
            until("the end of the block", || {
                // All before it are over.
                was_told |= agent.incidents().iter().any(|one| one.group == name && !one.is_over);
                task.is_finished()
            });
            missed += u64::from(!was_told);
            until("the end of what is told", || agent.incidents().iter().all(|one| one.is_over));
        }
        println!("{name}: {missed} of {rounds} missed");
        // On a machine with more work than processors the agent is late itself.
        assert!(missed <= rounds / 2, "{name}: {missed} of {rounds} missed");
    }
}

/// Returns the incidents of a runtime's workers that say that code blocks: a thread that was ready and had no processor cannot
/// yield, and that is what is told of it then.
fn told_of_code(agent: &Agent, name: &str) -> Vec<Arc<Incident>> {
    let of_it = agent.incidents().into_iter().filter(|one| one.group == name);
    of_it
        .filter(|one| one.class.name() != "starved_of_cpu" && one.runqueue_ns < one.duration_ns / 4)
        .collect()
}

#[test]
fn busy_tasks_that_yield_are_no_stall_and_a_block_beside_them_is() {
    let busy_ns = of_environment("LOOPSCOPE_TEST_BUSY_MS", 1_500) * 1_000_000;
    let _turn = turn();
    // Others use this machine: a thread that has no processor for so long is a stall.
    let agent = agent(250);
    for (tier, flavor) in kinds() {
        let name = format!("yields {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        let busy = running.yielding(3, 50_000);
        wait(busy_ns);
        let of_it = told_of_code(&agent, &name);
        println!("{name}: {} told", of_it.len());
        assert!(of_it.is_empty(), "{name}: {of_it:?}");
        let (block, act) = Block::new();
        running.handle.spawn(async move { act() });
        block.wait_until_begun();
        until("the block beside them", || stalls(&agent, &name) > 0);
        block.release();
        drop(busy);
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
    }
}

/// Runtimes in which tasks yield after polls of milliseconds: how many workers and such tasks, whether timers come in between, and
/// after how many polls Tokio counts one of the driver.
const LONG_POLLS: [(usize, usize, bool, u32); 5] = [
    (1, 1, true, 61),
    (1, 2, false, 61),
    (2, 4, true, 61),
    (2, 4, false, 61),
    // One is idle: docs/tokio.md says what to do.
    (2, 1, true, 8),
];

/// Where Tokio counts a poll of the driver after 61 polls of tasks, that is after some 500 ms here.
#[test]
fn tasks_whose_polls_take_milliseconds_are_no_stall_where_no_worker_is_idle_and_a_block_beside_them_is() {
    let busy_ns = of_environment("LOOPSCOPE_TEST_BUSY_MS", 1_200) * 1_000_000;
    let _turn = turn();
    // Others use this machine: the agent may look late.
    let agent = agent(250);
    for (tier, kind) in
        [Tier::Attach, Tier::Build].into_iter().flat_map(|tier| LONG_POLLS.map(|kind| (tier, kind)))
    {
        let (workers, tasks, has_timers, interval) = kind;
        let name = format!("long polls {tier:?} {kind:?}");
        let running = Running::start_with(tier, Flavor::Multi, &name, move |builder| {
            builder.worker_threads(workers).event_interval(interval);
        });
        running.wait_for_workers(&name, workers);
        if has_timers {
            running.handle.spawn(async {
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        let busy = running.yielding(tasks, 8_000_000);
        wait(busy_ns);
        let of_it = told_of_code(&agent, &name);
        println!("{name}: {} told", of_it.len());
        assert!(of_it.is_empty(), "{name}: {of_it:?}");
        let (block, act) = Block::new();
        running.handle.spawn(async move { act() });
        block.wait_until_begun();
        let newest = || agent.incidents().into_iter().find(|one| one.group == name && !one.is_over);
        until("the block beside them", || newest().is_some_and(|one| has_block(&one)));
        block.release();
        drop(busy);
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
    }
}

/// Waits for so long, whatever happens.
fn wait(ns: u64) {
    let clock = Clock::real();
    let begun = clock.now();
    let deadline = support::DEADLINE + Duration::from_nanos(ns);
    support::until_within(deadline, "a busy while", || clock.ns_between(begun, clock.now()) > ns);
}

#[test]
fn timers_that_wait_behind_many_tasks_are_lag_and_nobody_is_blocked() {
    const WARNING_NS: u64 = 250_000_000;
    let _turn = turn();
    let agent = agent(WARNING_NS / 1_000_000);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("crowd {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let label = format!("{name}/shared");
        let page = shared(&name);
        let lag = || page.page().snapshot(page.clock()).lag;
        // That it has timers is known once one was pending while it did nothing else.
        let pending = running.handle.spawn(async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        until("a timer of ours", || lag().count() > 0);
        pending.abort();
        // Each waits for half a second until it is polled again; a worker polls its driver every 30 ms.
        let busy = running.yielding(2_000, 500_000);
        until("timers that came late", || lag().sum_ns > 3 * WARNING_NS);
        let incidents = agent.incidents();
        drop(busy);
        let told: Vec<_> =
            incidents.iter().filter(|one| one.r#loop == label && one.cause != "pool").collect();
        // Others use this machine: a worker that has no processor for so long is blocked, and says so itself.
        let has_worker = incidents.iter().any(|one| one.group == name);
        assert!(told.is_empty() || has_worker, "{told:?}");
    }
}
