//! Which thread has a page, from when to when: workers that come and go, runtimes that end, threads that go on.

mod support;

use loopscope_agent::{Agent, Incident};
use loopscope_probe::raw::registry::{self, LocalPage};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use support::{
    Block, DEADLINE, Flavor, KINDS, Running, Tier, agent, builder, stalls, turn, until, until_block_is_told,
    watched, workers,
};
use tokio::runtime::Runtime;

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
        expected.push(format!("{name}/shared"));
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
        until_block_is_told(&agent, &name);
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
            assert_eq!(labels(&name), [format!("{name}/0"), format!("{name}/shared")]);
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
    assert_eq!(labels("twin"), ["twin/0", "twin/0#2", "twin/shared", "twin/shared#2"]);
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

type Act = Box<dyn FnOnce() + Send>;

/// A thread that runs a runtime of its own each time it is told to, and waits to be told between two runs.
struct Runner {
    orders: Option<Sender<Act>>,
    returned: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    fn start(tier: Tier, flavor: Flavor, name: &str, run: fn(&Runtime, Act)) -> Runner {
        let ((orders, ordered), (tell, returned)) = (channel(), channel());
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let (runtime, _watch) = watched(tier, flavor, &name);
            wait_for_orders(&ordered, |act| {
                run(&runtime, act);
                tell.send(()).unwrap();
            });
        });
        Runner { orders: Some(orders), returned, thread: Some(thread) }
    }

    /// Has the runtime run something that blocks, until `is_told`, and waits until its `block_on` has returned.
    fn block(&self, what: &str, is_told: impl FnMut() -> bool) {
        let (block, act) = Block::new();
        self.orders.as_ref().unwrap().send(Box::new(act)).unwrap();
        block.wait_until_begun();
        until(what, is_told);
        block.release();
        self.returned.recv_timeout(DEADLINE).unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// What a program does that has nothing for its runtime.
#[inline(never)]
fn wait_for_orders(orders: &Receiver<Act>, mut take: impl FnMut(Act)) {
    while let Ok(act) = orders.recv() {
        take(act);
    }
}

/// Tells whether an incident of this page is going on, with the guilty line.
fn blocks_now(agent: &Agent, label: &str) -> bool {
    let of_it = |one: &Incident| one.r#loop == label && !one.is_over;
    agent.incidents().iter().any(|one| of_it(one) && support::has_block(one))
}

/// Waits for four thresholds, of 60 ms, in which this page is idle and nothing is told of it.
fn stays_idle(agent: &Agent, label: &str) {
    let page = registry::pages().into_iter().find(|page| page.label() == label).unwrap();
    until("it seems parked", || page.page().is_parked());
    let told = || agent.incidents().iter().filter(|one| one.r#loop == label).count();
    let (begun, before) = (page.clock().now(), told());
    until("four thresholds", || {
        assert!(page.page().is_parked());
        page.clock().ns_between(begun, page.clock().now()) > 240_000_000
    });
    assert_eq!(told(), before, "{:?}", agent.incidents());
}

#[test]
fn the_first_poll_of_each_run_is_watched_and_the_time_between_two_is_idle() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("runs {tier:?}");
        let run = |runtime: &Runtime, act: Act| loopscope_tokio::block_on(runtime, async move { act() });
        let runner = Runner::start(tier, Flavor::Current, &name, run);
        let label = format!("{name}/0");
        for _ in 0..3 {
            runner.block("a block in the first poll", || blocks_now(&agent, &label));
            stays_idle(&agent, &label);
        }
    }
}

#[test]
fn a_wrapped_future_of_block_on_beside_the_workers_is_idle_when_that_returned() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("beside {tier:?}");
        let runner = Runner::start(tier, Flavor::Multi, &name, |runtime, act| {
            runtime.block_on(loopscope_tokio::named("root", async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                act();
            }));
        });
        let label = format!("{name}/block_on");
        for _ in 0..2 {
            runner.block("a block in the future of block_on", || blocks_now(&agent, &label));
            stays_idle(&agent, &label);
        }
        assert_eq!(stalls(&agent, &name), 0, "no worker was blocked");
    }
}

#[test]
fn a_plain_run_after_an_announced_one_is_watched_and_code_after_it_is_told_as_such() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Build, Tier::Attach] {
        let name = format!("plain {tier:?}");
        let runner = Runner::start(tier, Flavor::Current, &name, |runtime, act| {
            loopscope_tokio::block_on(runtime, async { tokio::time::sleep(Duration::from_millis(1)).await });
            // Nobody is told when this one returns.
            runtime.block_on(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                act();
            });
        });
        let label = format!("{name}/0");
        runner.block("a block in a plain run", || blocks_now(&agent, &label));
        // Where the thread is nobody can know: that is what is said.
        until("what is told of the code after it", || {
            let incidents = agent.incidents();
            let all = incidents.iter().filter(|one| one.r#loop == label);
            let mut between = all.clone().map(|one| &one.words.between);
            assert!(between.all(|words| words.contains("outside block_on")));
            let mut stacks = all.flat_map(|one| &one.stacks).map(|stack| format!("{stack:?}"));
            stacks.any(|stack| stack.contains("wait_for_orders") && stack.contains("may have left it"))
        });
    }
}

#[test]
fn each_worker_has_its_page_before_the_program_goes_on() {
    const ROUNDS: usize = 20;
    let _turn = turn();
    for tier in [Tier::Build, Tier::Attach] {
        let is_whole = |round: &usize| {
            let name = format!("ready {tier:?} {round}");
            let (_runtime, _watch) = watched(tier, Flavor::Multi, &name);
            workers(&name).len() == 2
        };
        // On a machine with more work than processors, a moment may be too short.
        let whole = (0..ROUNDS).filter(is_whole).count();
        assert!(whole >= ROUNDS / 10, "{tier:?}: {whole} of {ROUNDS}");
    }
}
