//! While all is parked nothing of ours runs, neither on the workers nor in the agent; and what comes after that is not missed.

#[path = "../../../agent/tests/support/agent_sleeps.rs"]
mod agent_sleeps;
mod support;

use agent_sleeps::agent_switches;
use loopscope_agent::Agent;
use loopscope_probe::Clock;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{
    Block, DEADLINE, Flavor, KINDS, Running, Tier, agent, turn, until, until_block_is_told, until_over,
    workers,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

/// For so long nothing is to happen.
const PERIOD: Duration = Duration::from_secs(2);
/// Wake-ups of the agent in that time: one a second, and one for each end of it.
const WAKES_MAX: u64 = 4;

/// Returns how often the workers of a runtime parked and unparked.
fn parks(handle: &Handle) -> u64 {
    let metrics = handle.metrics();
    (0..metrics.num_workers()).map(|index| metrics.worker_park_unpark_count(index)).sum()
}

/// Waits until the agent and the workers were silent for so long.
fn wait_for_silence(handle: &Handle, period: Duration, wakes_max: u64) {
    let (mut begun, mut before) = (Instant::now(), (agent_switches(), parks(handle)));
    until("silence", || {
        std::thread::sleep(period / 20);
        let now = (agent_switches(), parks(handle));
        if now.0 - before.0 > wakes_max || now.1 != before.1 {
            (begun, before) = (Instant::now(), now);
        }
        begun.elapsed() >= period
    });
}

#[test]
fn nobody_wakes_while_all_is_parked() {
    let _turn = turn();
    let _agent = agent(100);
    for (tier, flavor) in KINDS {
        let name = format!("silent {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        wait_for_silence(&running.handle, PERIOD, WAKES_MAX);
    }
}

/// What wakes a runtime: the first thing that a worker does then is to block.
#[derive(Clone, Copy, Debug)]
enum By {
    AnotherThread,
    Socket,
    Timer,
}

/// Lets the runtime fall asleep, and wakes it with something that blocks. Returns how much later than it began the agent saw it
/// busy, in nanoseconds.
fn block_after_silence(agent: &Agent, running: &Running, name: &str, by: By) -> u64 {
    let (block, act) = Block::new();
    let (tell, told) = std::sync::mpsc::channel();
    let act = move || {
        tell.send(Clock::real().now()).unwrap();
        act();
    };
    let (mut asks, answers) = pair();
    match by {
        By::AnotherThread => {
            wait_for_silence(&running.handle, Duration::from_millis(300), 2);
            running.handle.spawn(async move { act() });
        }
        By::Socket => {
            running.handle.spawn(async move {
                let mut answers = tokio::net::TcpStream::from_std(answers).unwrap();
                answers.read_u8().await.unwrap();
                act();
            });
            wait_for_silence(&running.handle, Duration::from_millis(300), 2);
            asks.write_all(&[1]).unwrap();
        }
        By::Timer => {
            running.handle.spawn(async move {
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                act();
            });
        }
    }
    let begun = told.recv_timeout(DEADLINE).unwrap();
    block.wait_until_begun();
    let told = until_block_is_told(agent, name);
    let clock = Clock::real();
    let seen = workers(name)
        .iter()
        .map(|page| {
            let at = page.clock().now();
            let busy_ns = page.page().vitals_at(page.clock(), at).now.unexpected_ns();
            at.0.saturating_sub(clock.scale().ticks(busy_ns))
        })
        .min()
        .unwrap();
    block.release();
    until_over(agent, &told);
    clock.ns_between(begun, loopscope_probe::Ticks(seen.max(begun.0)))
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asks = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (answers, _) = listener.accept().unwrap();
    answers.set_nonblocking(true).unwrap();
    (asks, answers)
}

#[test]
fn the_first_block_after_a_silence_is_seen_from_its_beginning() {
    /// Rounds; and how many of them may be late, on a machine with more work than processors.
    const ROUNDS: usize = 4;
    const LATE_MAX: usize = 2;
    /// Half of how long the agent sleeps: who did not ring would be seen later than that half of the time.
    const LATE_NS: u64 = 300_000_000;
    let _turn = turn();
    let agent = agent(40);
    for flavor in [Flavor::Multi, Flavor::Current] {
        let name = format!("asleep {flavor:?}");
        let running = Running::start(Tier::Attach, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        for by in [By::AnotherThread, By::Socket, By::Timer] {
            let late =
                (0..ROUNDS).filter(|_| block_after_silence(&agent, &running, &name, by) > LATE_NS).count();
            assert!(late <= LATE_MAX, "{name}, by {by:?}: {late} of {ROUNDS} were seen late");
        }
    }
}
