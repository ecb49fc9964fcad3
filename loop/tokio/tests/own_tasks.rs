//! What tasks of loopscope's own do in a runtime is in none of its numbers.

mod support;

use loopscope_probe::raw::registry::LocalPage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Flavor, Running, Tier, agent, shared, spin, turn, until};

/// Returns a runtime of which it is known that it has timers, and the one task that it has, which sets one after the other.
fn with_timers(tier: Tier, workers: usize, name: &str) -> Running {
    let running = Running::start_with(tier, Flavor::Multi, name, move |builder| {
        builder.worker_threads(workers);
    });
    running.wait_for_workers(name, workers);
    running.handle.spawn(async {
        loop {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let page = shared(name);
    until("a timer of ours", || page.page().snapshot(page.clock()).lag.count() > 0);
    running
}

/// Returns how often a number of the runtime had each value, in so many looks a few milliseconds apart.
fn values(page: &LocalPage, gauge: &str, looks: usize) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..looks {
        let snapshot = page.page().snapshot(page.clock());
        let value = snapshot.gauges.iter().find(|one| &*one.name == gauge).unwrap().value;
        *seen.entry(value).or_default() += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    seen
}

#[test]
fn a_runtime_with_one_task_has_one() {
    let _turn = turn();
    let _agent = agent(1_000);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("one task {tier:?}");
        let running = with_timers(tier, 2, &name);
        let seen = values(&shared(&name), "tasks_alive", 400);
        // One that ends at the moment of a look may be in one of the two counts that are compared.
        assert!(seen.get(&1).is_some_and(|times| *times >= 392), "{name}: {seen:?}");
        drop(running);
    }
}

#[test]
fn tasks_that_ask_busy_workers_whether_they_go_on_do_not_queue_and_end_with_the_others() {
    let _turn = turn();
    let _agent = agent(1_000);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("no queue {tier:?}");
        let running = with_timers(tier, 2, &name);
        let busy = running.yielding(4, 20_000_000);
        let metrics = running.handle.metrics();
        until("a task of ours that waits", || metrics.global_queue_depth() > 0);
        let seen = values(&shared(&name), "global_queue_depth", 300);
        drop(busy);
        until("the end of all but the first", || metrics.num_alive_tasks() == 1);
        assert!(seen.get(&0).is_some_and(|times| *times >= 270), "{name}: {seen:?}");
    }
}

#[test]
fn a_timer_that_is_set_late_is_not_late() {
    let _turn = turn();
    let _agent = agent(5_000);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("backlog {tier:?}");
        let running = with_timers(tier, 1, &name);
        let (begun, left) = (Instant::now(), Arc::new(AtomicU64::new(20_000)));
        for _ in 0..20_000 {
            let left = left.clone();
            // Each new task of ours has to wait for all of them.
            running.handle.spawn(async move {
                spin(50_000);
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        until("the end of the queue", || left.load(Ordering::Relaxed) == 0);
        let took_ns = begun.elapsed().as_nanos() as u64;
        let page = shared(&name);
        let before = page.page().snapshot(page.clock()).lag.count();
        until("another timer", || page.page().snapshot(page.clock()).lag.count() > before);
        let longest_ns = page.page().snapshot(page.clock()).lag.longest_ns().unwrap();
        assert!(longest_ns < took_ns / 2, "{name}: {longest_ns} ns late, of a queue of {took_ns} ns");
    }
}
