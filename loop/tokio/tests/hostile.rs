//! What nobody should do, or what goes wrong: it costs what is told of it at most, and never the program.

mod support;

use loopscope_probe::raw::registry;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use support::{Block, Flavor, KINDS, Running, Tier, agent, builder, stalls, turn, until, workers};

#[test]
fn hooks_that_run_twice_and_a_second_watch_tell_everything_once() {
    let _turn = turn();
    let agent = agent(40);
    let hooks = [loopscope_tokio::hooks("twice"), loopscope_tokio::hooks("again")];
    let [park, unpark] = [(); 2].map(|()| hooks.clone());
    let mut builder = builder(Flavor::Current);
    // Those of one runtime, twice, and those of another name.
    builder.on_thread_park(move || [&park[0], &park[0], &park[1]].iter().for_each(|hooks| hooks.park()));
    builder.on_thread_unpark(move || {
        [&unpark[0], &unpark[1], &unpark[0]].iter().for_each(|hooks| hooks.unpark())
    });
    let runtime = builder.build().unwrap();
    let watch = loopscope_tokio::attach(runtime.handle(), "third");
    let (block, act) = Block::new();
    let told = std::thread::spawn(move || {
        block.wait_until_begun();
        until("the block", || agent.incidents().iter().any(|one| !one.is_over));
        let count = agent.incidents().len();
        block.release();
        (agent, count)
    });
    runtime.block_on(async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        act();
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    let (agent, count) = told.join().unwrap();
    assert_eq!(count, 1, "{:?}", agent.incidents());
    let names = ["twice", "again", "third"];
    assert_eq!(names.iter().map(|name| workers(name).len()).sum::<usize>(), 1, "one page of the one worker");
    drop((watch, runtime));
}

#[test]
fn a_builder_that_is_used_twice_makes_two_runtimes_with_pages_of_their_own() {
    let _turn = turn();
    let _agent = agent(1_000);
    let mut builder = builder(Flavor::Multi);
    let first = loopscope_tokio::build(&mut builder, "first use").unwrap();
    let second = loopscope_tokio::build(&mut builder, "second use").unwrap();
    for (runtime, name) in [(&first, "first use"), (&second, "second use")] {
        until("two pages each", || {
            runtime.spawn(async {});
            workers(name).len() == 2
        });
    }
    drop((first, second));
    until("their end", || workers("first use").is_empty() && workers("second use").is_empty());
}

#[test]
fn thousands_of_places_are_bounded_and_the_rest_is_told_together() {
    let _turn = turn();
    let (count, done) = (5_000, Arc::new(AtomicU64::new(0)));
    let running = Running::start(Tier::Build, Flavor::Current, "places");
    running.wait_for_workers("places", 1);
    for number in 0..count {
        let (name, done) = (format!("place {number}").leak(), done.clone());
        running.handle.spawn(loopscope_tokio::named(name, async move {
            tokio::task::yield_now().await;
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    until("the end of all tasks", || done.load(Ordering::Relaxed) == count);
    let page = &workers("places")[0];
    let polls = || page.page().snapshot(page.clock()).run[loopscope_probe::Kind::Task.index()].count();
    until("all polls, told once", || {
        running.poke();
        polls() >= 2 * count
    });
    let sites = page.page().sites().read().len();
    assert!(sites <= 1_024, "{sites} sites");
}

#[test]
fn panics_in_tasks_jobs_and_at_the_end_of_threads_leave_the_watch_whole() {
    /// Polls a wrapped future when its thread ends, after the thread's other variables.
    struct PollAtEnd;
    impl Drop for PollAtEnd {
        fn drop(&mut self) {
            let mut future = Box::pin(loopscope_tokio::probed(pending::<()>()));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
    }
    thread_local! {
        static AT_END: PollAtEnd = const { PollAtEnd };
    }
    use std::future::Future;
    let _turn = turn();
    let agent = agent(40);
    for (tier, flavor) in KINDS {
        let name = format!("panics {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        for _ in 0..10 {
            let task =
                running.handle.spawn(loopscope_tokio::probed(async { panic!("a task's own trouble") }));
            until("the end of the task", || task.is_finished());
            running.handle.spawn_blocking(|| AT_END.with(|_| {}));
            running.handle.spawn(async { AT_END.with(|_| {}) });
        }
        let (block, act) = Block::new();
        running.handle.spawn(async move { act() });
        block.wait_until_begun();
        until("a block afterwards", || stalls(&agent, &name) > 0);
        block.release();
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
    }
}

#[test]
fn a_runtime_that_is_shut_down_with_blocked_pool_threads_ends_its_pages() {
    let _turn = turn();
    let _agent = agent(1_000);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("left {tier:?}");
        let (runtime, watch) = support::watched(tier, Flavor::Multi, &name);
        until("the pages", || {
            runtime.spawn(async {});
            workers(&name).len() == 2
        });
        let (block, act) = Block::new();
        let _job = {
            let _context = runtime.enter();
            loopscope_tokio::spawn_blocking(act)
        };
        block.wait_until_begun();
        runtime.shutdown_timeout(Duration::from_millis(1));
        let is_of = |page: &registry::LocalPage| page.page().loop_name().starts_with(&name);
        until("the end of the pages", || {
            registry::pages().iter().all(|page| !is_of(page) || page.is_retired())
        });
        block.release();
        drop(watch);
    }
}

#[test]
fn futures_that_move_between_threads_while_these_are_captured_are_told_where_they_were() {
    const ROUNDS: u64 = 30;
    let _turn = turn();
    let agent = agent(5);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("moves {tier:?}");
        let running = Running::start(tier, Flavor::Multi, &name);
        running.wait_for_workers(&name, 2);
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..4 {
            let done = done.clone();
            running.handle.spawn(loopscope_tokio::named("mover", async move {
                for _ in 0..ROUNDS {
                    let begun = std::time::Instant::now();
                    while begun.elapsed() < Duration::from_millis(12) {
                        std::hint::spin_loop();
                    }
                    tokio::task::yield_now().await;
                    poll_fn(|_| Poll::Ready(())).await;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }));
        }
        until("the end of all", || done.load(Ordering::Relaxed) == 4);
        until("what is told of them", || {
            running.poke();
            agent.incidents().iter().all(|one| one.is_over)
        });
        let told = agent.incidents();
        let of_it = told.iter().filter(|one| one.group == name);
        assert!(of_it.clone().count() > 0, "{name}");
        // A stack of another thread would have another function.
        let stacks: Vec<String> =
            of_it.flat_map(|one| &one.stacks).map(|stack| format!("{stack:?}")).collect();
        assert!(stacks.iter().any(|stack| stack.contains("hostile")), "{name}: {stacks:?}");
    }
}

#[test]
fn a_worker_that_is_blocked_before_anybody_met_it_is_told_of_the_runtime() {
    let _turn = turn();
    let agent = agent(60);
    let runtime = builder(Flavor::Multi).build().unwrap();
    // Its workers have parked once: they are there.
    let parked = || {
        let metrics = runtime.metrics();
        (0..2).all(|index| metrics.worker_park_unpark_count(index) > 0)
    };
    until("its workers", parked);
    let (block, act) = Block::new();
    runtime.spawn(async move { act() });
    block.wait_until_begun();
    let watch = loopscope_tokio::attach(runtime.handle(), "unmet");
    until("the incident of the runtime", || {
        let incidents = agent.incidents();
        incidents.iter().any(|one| one.r#loop == "unmet/shared" && !one.is_over)
    });
    let told = agent.incidents().into_iter().find(|one| one.r#loop == "unmet/shared").unwrap();
    assert!(told.stacks.is_empty(), "{told:?}");
    assert!(format!("{told:?}").contains("a blocked worker"), "{told:?}");
    block.release();
    until("its end", || {
        runtime.spawn(async {});
        agent.incidents().iter().all(|one| one.is_over)
    });
    drop((watch, runtime));
}

/// Only that of a `current_thread` runtime can: a worker of a `multi_thread` one that panics outside a task is the end of the
/// process, by Tokio itself.
#[test]
fn a_worker_that_dies_has_no_page_and_another_thread_takes_its_work() {
    let _turn = turn();
    let agent = agent(60);
    for tier in [Tier::Attach, Tier::Build] {
        let name = format!("dies {tier:?}");
        let (runtime, watch) = support::watched(tier, Flavor::Current, &name);
        let runtime = Arc::new(runtime);
        let run = |dies: bool| {
            let runtime = runtime.clone();
            std::thread::spawn(move || {
                runtime.block_on(async move {
                    for _ in 0..20 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    assert!(!dies, "the program's own trouble");
                    pending::<()>().await;
                });
            })
        };
        assert!(run(true).join().is_err());
        until("the end of its page", || workers(&name).is_empty());
        until("the end of what is told of it", || agent.incidents().iter().all(|one| one.is_over));
        drop(run(false));
        until("the page of the other thread", || {
            runtime.handle().spawn(async {});
            workers(&name).len() == 1
        });
        let (block, act) = Block::new();
        runtime.handle().spawn(async move { act() });
        until("its block", || stalls(&agent, &name) > 0);
        block.release();
        until("its end", || agent.incidents().iter().all(|one| one.is_over));
        drop(watch);
        // The thread waits for ever: so does the runtime.
        std::mem::forget(runtime);
    }
}

/// Returns what the kernel says of this process's threads with this name: which signals they have blocked.
fn blocked_signals(thread: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    texts
        .filter(|text| field(text, "Name:").is_some_and(|name| name == thread))
        .filter_map(|text| field(&text, "SigBlk:"))
        .collect()
}

#[test]
fn threads_that_the_pool_starts_for_our_jobs_have_the_signals_of_the_host() {
    let _turn = turn();
    let _agent = agent(1_000);
    let host = std::thread::Builder::new().name("mask-of-host".to_owned()).spawn(|| {
        let mut builder = builder(Flavor::Multi);
        let runtime = builder.worker_threads(1).thread_name("mask-pool").build().unwrap();
        let watch = loopscope_tokio::attach(runtime.handle(), "mask");
        // One thread is the worker's: the other one was started for a job of ours.
        until("a thread of the pool", || {
            runtime.spawn(async {});
            blocked_signals("mask-pool").len() > 1
        });
        let ours = blocked_signals("mask-of-host").remove(0);
        // The C library blocks all of them on a thread that is being started.
        until("the signals of the host on each of them", || {
            blocked_signals("mask-pool").iter().all(|blocked| *blocked == ours)
        });
        drop((watch, runtime));
    });
    host.unwrap().join().unwrap();
}
