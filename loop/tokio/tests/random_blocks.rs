//! Tasks that block in random ways, for random times, at random places: whoever is named for one is who has blocked.

mod support;

use loopscope_agent::{Agent, Incident, Listen};
use std::collections::HashMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::{Flavor, KINDS, Running, turn, until};
use tokio::task::yield_now;

/// A function that blocks for about so long, and its name, which is to be told.
type NamedBlock = (&'static str, fn(Duration));

const BLOCKS: [NamedBlock; 8] = [
    ("block_computes", block_computes),
    ("block_sleeps", block_sleeps),
    ("block_sorts", block_sorts),
    ("block_formats", block_formats),
    ("block_collects", block_collects),
    ("block_locks", block_locks),
    ("block_executes", block_executes),
    ("block_receives", block_receives),
];

/// Calls it again and again for so long.
#[inline(always)]
fn again(time: Duration, mut f: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        f();
    }
}

#[inline(never)]
fn block_computes(time: Duration) {
    let mut number = 0_u64;
    again(time, || number = black_box(number).wrapping_mul(31).wrapping_add(1));
}

#[inline(never)]
fn block_sleeps(time: Duration) {
    std::thread::sleep(time);
    // Not a tail call.
    black_box(());
}

#[inline(never)]
fn block_sorts(time: Duration) {
    again(time, || {
        let mut numbers: Vec<u64> =
            (0..5_000_u64).map(|number| number.wrapping_mul(7919) % 100_003).collect();
        numbers.sort_unstable();
        black_box(numbers);
    });
}

#[inline(never)]
fn block_formats(time: Duration) {
    again(time, || drop(black_box(format!("{time:?} {:?}", Some("text")))));
}

#[inline(never)]
fn block_collects(time: Duration) {
    again(time, || {
        let map: HashMap<u64, String> = (0..500).map(|number| (number, number.to_string())).collect();
        black_box(map);
    });
}

/// Waits for a lock that another thread holds.
#[inline(never)]
fn block_locks(time: Duration) {
    let lock = Mutex::new(());
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let guard = lock.lock().unwrap();
            tell.send(()).unwrap();
            std::thread::sleep(time);
            drop(guard);
        });
        told.recv().unwrap();
        drop(black_box(lock.lock().unwrap()));
    });
}

#[inline(never)]
fn block_executes(time: Duration) {
    let _ = black_box(std::process::Command::new("sleep").arg(time.as_secs_f64().to_string()).status());
}

#[inline(never)]
fn block_receives(time: Duration) {
    let (_keep, ends) = channel::<()>();
    let _ = black_box(ends.recv_timeout(time));
}

/// Runs before and after those that block, and beside them.
#[inline(never)]
fn innocent() {
    black_box(());
}

/// What has blocked: its place in `BLOCKS`, and from when to when, in nanoseconds since 1970.
type Blocked = (usize, [u64; 2]);

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// Blocks, at one of several places in a task.
async fn task(block: usize, way: u64, time: Duration, all: Arc<Mutex<Vec<Blocked>>>) {
    let block = move || {
        let begin = unix_ns();
        BLOCKS[block].1(time);
        all.lock().unwrap().push((block, [begin, unix_ns()]));
    };
    innocent();
    match way {
        0 => block(),
        1 => {
            tokio::time::sleep(Duration::from_millis(2)).await;
            innocent();
            block();
        }
        2 => {
            yield_now().await;
            block();
            yield_now().await;
            innocent();
        }
        3 => {
            let before = async {
                yield_now().await;
                innocent();
            };
            tokio::join!(before, async { block() }, async { innocent() });
        }
        _ => tokio::spawn(async move { block() }).await.unwrap(),
    }
}

/// Returns random numbers below so many, from one number on.
fn random(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn keep(seen: &mut HashMap<String, Arc<Incident>>, agent: &Agent, name: &str) {
    let of_it = agent.incidents().into_iter().filter(|one| one.group == name);
    seen.extend(of_it.map(|one| (one.id.to_string(), one)));
}

/// Returns which block is most of an incident.
fn most_of(incident: &Incident, blocked: &[Blocked]) -> Option<usize> {
    let end = incident.begin_unix_ns + incident.duration_ns;
    let common = |[from, to]: [u64; 2]| to.min(end).saturating_sub(from.max(incident.begin_unix_ns));
    let (block, ns) =
        blocked.iter().map(|(block, time)| (*block, common(*time))).max_by_key(|(_, ns)| *ns)?;
    (ns > 0).then_some(block)
}

/// With `LOOPSCOPE_TEST_BLOCKS` so many of each kind of runtime, from `LOOPSCOPE_TEST_SEED` on: the long runs are made by hand.
#[test]
fn whoever_is_named_for_a_block_has_blocked() {
    let of_environment = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let rounds = of_environment("LOOPSCOPE_TEST_BLOCKS").unwrap_or(8);
    let mut random = random(of_environment("LOOPSCOPE_TEST_SEED").unwrap_or(0x5eed).max(1));
    let _turn = turn();
    let (warning, critical) = (Duration::from_millis(50), Duration::from_secs(30));
    let agent = Agent::builder()
        .listen(Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .thresholds(warning, critical)
        .reports_per_minute(100_000)
        .captures_per_second(1_000)
        .start()
        .unwrap();
    for (tier, flavor) in KINDS {
        let name = format!("random {tier:?} {flavor:?}");
        let running = Running::start(tier, flavor, &name);
        running.wait_for_workers(&name, if flavor == Flavor::Multi { 2 } else { 1 });
        let all: Arc<Mutex<Vec<Blocked>>> = Arc::default();
        let mut seen = HashMap::new();
        for _ in 0..rounds {
            let (block, way, ms) = (random(BLOCKS.len() as u64) as usize, random(5), 60 + random(150));
            let task = running.handle.spawn(task(block, way, Duration::from_millis(ms), all.clone()));
            until("its end", || task.is_finished());
            until("the end of what is told", || agent.incidents().iter().all(|one| one.is_over));
            keep(&mut seen, &agent, &name);
        }
        let blocked = all.lock().unwrap();
        let mut right = 0;
        for incident in seen.values() {
            let Some(guilty) = incident.guilty_frame() else { continue };
            let expected = most_of(incident, &blocked).map(|block| BLOCKS[block].0);
            // A capture that comes late may find who has called it.
            let is_other = |function: &str| guilty.function.contains(function) && Some(function) != expected;
            let is_wrong = is_other("innocent")
                || BLOCKS.iter().any(|(function, _)| is_other(function))
                || !guilty.function.contains("random_blocks::");
            assert!(!is_wrong, "{name}: {} is named for {expected:?}: {incident:#?}", guilty.function);
            right += usize::from(expected.is_some_and(|function| guilty.function.contains(function)));
        }
        println!("{name}: {} blocks, {} incidents, {right} with their function", blocked.len(), seen.len());
        assert!(right * 4 >= blocked.len(), "{name}: {seen:#?}");
    }
}
