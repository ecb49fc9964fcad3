//! A plain `block_on` of a `current_thread` runtime that has returned: what its thread does then is no stall of the runtime, and
//! nothing that is not known is told.

mod support;

use loopscope_agent::Agent;
use loopscope_probe::raw::registry::{self, LocalPage};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use support::{Block, Flavor, Tier, agent_with, turn, until, watched};
use tokio::runtime::Runtime;

/// The critical threshold: its count is what `LoopBlocked` fires by. Names of a stack come before, also on a busy machine.
const CRITICAL: Duration = Duration::from_secs(8);
const WARNING: Duration = Duration::from_millis(60);

fn page(label: &str) -> LocalPage {
    registry::pages().into_iter().find(|page| page.label() == label).unwrap()
}

/// Runs something short, with timers of its own and of ours, and returns.
fn run_shortly(runtime: &Runtime, label: &str) {
    runtime.block_on(async {
        let begun = Instant::now();
        let beats = || page(label).page().snapshot(page(label).clock()).lag.count();
        let before = beats();
        while beats() < before + 2 && begun.elapsed() < support::DEADLINE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// What the thread does after its runtime.
#[derive(Clone, Copy, Debug)]
enum Outside {
    Waits,
    Computes,
}

#[inline(never)]
fn wait_outside(until_told: &Receiver<()>) {
    let _ = std::hint::black_box(until_told.recv_timeout(support::DEADLINE));
}

#[inline(never)]
fn compute_outside(until_told: &Receiver<()>) {
    while std::hint::black_box(until_told.try_recv()) == Err(std::sync::mpsc::TryRecvError::Empty) {
        std::hint::spin_loop();
    }
}

/// Tells for how long the runtime's worker seems to be blocked, in nanoseconds.
fn blocked_ns(page: &LocalPage) -> u64 {
    page.page().vitals_at(page.clock(), page.clock().now()).now.unexpected_ns()
}

/// Waits until the agent has seen that the thread is outside, and asserts that it seems blocked no more for as long as it stays
/// there.
fn is_seen_to_have_left(label: &str) {
    let page = page(label);
    let is_blocked = || blocked_ns(&page) > WARNING.as_nanos() as u64;
    until("what seems a block", is_blocked);
    until("that it is seen to be none", || !is_blocked());
    let begun = Instant::now();
    until("four thresholds", || {
        assert!(!is_blocked(), "{label}");
        begun.elapsed() > 4 * WARNING
    });
}

/// What is told of one: each row says what may be told and what may not.
fn check(agent: &Agent, name: &str, outside: Outside) {
    let case = format!("{name}, {outside:?}");
    let incidents = agent.incidents();
    let of_it: Vec<_> = incidents.iter().filter(|one| one.group == name).collect();
    // Allowed: that it is not known what the thread did, in an incident that is over.
    assert!(of_it.iter().all(|one| one.words.between.contains("outside block_on")), "{case}: {of_it:?}");
    let stacks = format!("{:?}", of_it.iter().map(|one| &one.stacks).collect::<Vec<_>>());
    assert!(stacks.contains("may have left it"), "{case}: {stacks}");
    // Forbidden: a loop that was blocked, and events that waited for it.
    let worker = page(&format!("{name}/0"));
    let blocked = worker.page().snapshot(worker.clock()).blocked;
    assert_eq!(blocked[1], 0, "{case}: LoopBlocked fires by this count");
    for label in [format!("{name}/0"), format!("{name}/shared")] {
        let page = page(&label);
        let snapshot = page.page().snapshot(page.clock());
        let longest = snapshot.lag.buckets.iter().rposition(|count| *count > 0);
        let limit = loopscope_probe::raw::histogram::slot(4 * WARNING.as_nanos() as u64);
        assert!(longest.is_none_or(|slot| slot <= limit), "{case}: lag of {label}");
    }
}

/// Has a thread outside its runtime for long, between two runs of it.
fn leave_it(tier: Tier, outside: Outside) {
    let agent = agent_with(WARNING, CRITICAL);
    let name = format!("left {tier:?} {outside:?}");
    let ((release, released), (tell, returned)): ((Sender<()>, _), _) = (channel(), channel());
    let of_thread = name.clone();
    let thread = std::thread::spawn(move || {
        let (runtime, watch) = watched(tier, Flavor::Current, &of_thread);
        let label = format!("{of_thread}/shared");
        run_shortly(&runtime, &label);
        tell.send(()).unwrap();
        match outside {
            Outside::Waits => wait_outside(&released),
            Outside::Computes => compute_outside(&released),
        }
        run_shortly(&runtime, &label);
        tell.send(()).unwrap();
        let _ = released.recv_timeout(support::DEADLINE);
        drop((runtime, watch));
    });
    returned.recv_timeout(support::DEADLINE).unwrap();
    is_seen_to_have_left(&format!("{name}/0"));
    release.send(()).unwrap();
    returned.recv_timeout(support::DEADLINE).unwrap();
    check(&agent, &name, outside);
    drop(release);
    thread.join().unwrap();
}

#[test]
fn what_a_thread_does_after_a_plain_block_on_is_neither_a_block_nor_lag() {
    let _turn = turn();
    for tier in [Tier::Build, Tier::Attach] {
        for outside in [Outside::Waits, Outside::Computes] {
            leave_it(tier, outside);
        }
    }
}

#[test]
fn a_block_in_a_plain_block_on_is_told_until_it_ends() {
    let _turn = turn();
    for tier in [Tier::Build, Tier::Attach] {
        let agent = agent_with(WARNING, CRITICAL);
        let name = format!("inside {tier:?}");
        let (block, act) = Block::new();
        let of_thread = name.clone();
        let thread = std::thread::spawn(move || {
            let (runtime, watch) = watched(tier, Flavor::Current, &of_thread);
            run_shortly(&runtime, &format!("{of_thread}/shared"));
            runtime.block_on(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                act();
            });
            drop((runtime, watch));
        });
        block.wait_until_begun();
        let is_named = || {
            let incidents = agent.incidents();
            let mut of_it = incidents.iter().filter(|one| one.group == name && !one.is_over);
            of_it.any(|one| support::has_block(one))
        };
        until("the block, with its line", is_named);
        let begun = Instant::now();
        until("ten thresholds", || {
            assert!(is_named(), "{name}: it lasts");
            begun.elapsed() > 10 * WARNING
        });
        block.release();
        thread.join().unwrap();
    }
}
