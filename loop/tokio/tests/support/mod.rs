//! Runtimes of each kind, watched in each tier, and an agent that sees them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use loopscope_agent::{Agent, Incident, Listen};
use loopscope_probe::Clock;
use loopscope_probe::raw::registry::{self, LocalPage};
use loopscope_tokio::Watch;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};

/// Waiting for longer than this is a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A process has one agent: tests take turns.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts an agent with this warning threshold.
pub fn agent(warning_ms: u64) -> Agent {
    agent_with(Duration::from_millis(warning_ms), Duration::from_secs(30))
}

/// Starts an agent with these thresholds.
pub fn agent_with(warning: Duration, critical: Duration) -> Agent {
    Agent::builder()
        .listen(Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .thresholds(warning, critical)
        .reports_per_minute(10_000)
        .start()
        .unwrap()
}

/// Waits until `is_so`, and fails after a minute.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(DEADLINE, what, is_so);
}

/// [`until`], for what may take so long.
pub fn until_within(deadline: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Multi,
    Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Attach,
    Build,
}

pub const KINDS: [(Tier, Flavor); 4] = [
    (Tier::Attach, Flavor::Multi),
    (Tier::Attach, Flavor::Current),
    (Tier::Build, Flavor::Multi),
    (Tier::Build, Flavor::Current),
];

pub fn builder(flavor: Flavor) -> Builder {
    let mut builder = match flavor {
        Flavor::Multi => Builder::new_multi_thread(),
        Flavor::Current => Builder::new_current_thread(),
    };
    builder.worker_threads(2).enable_all();
    builder
}

/// Builds and watches a runtime.
pub fn watched(tier: Tier, flavor: Flavor, name: &str) -> (Runtime, Option<Watch>) {
    watched_with(tier, flavor, name, |_| {})
}

fn watched_with(
    tier: Tier,
    flavor: Flavor,
    name: &str,
    set: impl FnOnce(&mut Builder),
) -> (Runtime, Option<Watch>) {
    let mut builder = builder(flavor);
    set(&mut builder);
    match tier {
        Tier::Build => (loopscope_tokio::build(&mut builder, name).unwrap(), None),
        Tier::Attach => {
            let runtime = builder.build().unwrap();
            let watch = loopscope_tokio::attach(runtime.handle(), name);
            (runtime, Some(watch))
        }
    }
}

/// A watched runtime that runs on a thread of its own until it is dropped.
pub struct Running {
    pub handle: Handle,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(tier: Tier, flavor: Flavor, name: &str) -> Running {
        Running::start_with(tier, flavor, name, |_| {})
    }

    pub fn start_with(
        tier: Tier,
        flavor: Flavor,
        name: &str,
        set: impl FnOnce(&mut Builder) + Send + 'static,
    ) -> Running {
        let (tell, told) = channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let (runtime, _watch) = watched_with(tier, flavor, &name, set);
            tell.send(runtime.handle().clone()).unwrap();
            runtime.block_on(async {
                let _ = ended.await;
            });
        });
        Running { handle: told.recv_timeout(DEADLINE).unwrap(), end: Some(end), thread: Some(thread) }
    }

    /// Waits until each worker has a page: a visit is made while the runtime does something.
    pub fn wait_for_workers(&self, name: &str, count: usize) {
        until("a page for each worker", || {
            self.poke();
            workers(name).len() >= count
        });
    }

    /// Spawns so many tasks that compute for `poll_ns` and yield, again and again, until the result is dropped.
    pub fn yielding(&self, tasks: usize, poll_ns: u64) -> Yielding {
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..tasks {
            let is_over = is_over.clone();
            self.handle.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    spin(poll_ns);
                    tokio::task::yield_now().await;
                }
            });
        }
        Yielding { is_over }
    }

    /// Has a worker run something short.
    pub fn poke(&self) {
        self.handle.spawn(async {});
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Tasks that yield, until it is dropped.
#[must_use = "dropping it ends the tasks"]
pub struct Yielding {
    is_over: Arc<AtomicBool>,
}

impl Drop for Yielding {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Computes for so long.
pub fn spin(ns: u64) {
    let clock = Clock::real();
    let begun = clock.now();
    while clock.ns_between(begun, clock.now()) < ns {
        std::hint::spin_loop();
    }
}

/// Returns the page of what a runtime's workers share.
pub fn shared(name: &str) -> LocalPage {
    let label = format!("{name}/shared");
    registry::pages().into_iter().find(|page| page.label() == label).unwrap()
}

/// Returns the pages of a runtime's workers, without those that are retired, by label.
pub fn workers(name: &str) -> Vec<LocalPage> {
    let is_of = |page: &LocalPage| page.page().facts().group == name && !page.is_retired();
    let mut pages: Vec<LocalPage> = registry::pages().into_iter().filter(is_of).collect();
    pages.sort_by_key(|page| page.label().to_owned());
    pages
}

/// Returns how many incidents there are of a runtime's workers.
pub fn stalls(agent: &Agent, name: &str) -> usize {
    agent.incidents().iter().filter(|one| one.group == name).count()
}

/// Waits until an open incident of this runtime has a stack in a [`Block`]. On a busy machine the worker may have had no processor for a
/// threshold before its task began: one incident is of both then, and its first stack does not show the block.
pub fn until_block_is_told(agent: &Agent, name: &str) -> Arc<Incident> {
    let is_it = |one: &Arc<Incident>| one.group == name && !one.is_over && has_block(one);
    let begun = Instant::now();
    loop {
        let incidents = agent.incidents();
        if let Some(told) = incidents.iter().find(|one| is_it(one)) {
            return told.clone();
        }
        let pages: Vec<String> = workers(name).iter().map(|page| page.label().to_owned()).collect();
        assert!(begun.elapsed() < DEADLINE, "the block of {name} was not told; {pages:?}, {incidents:#?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until this incident is over, and all others. An agent that does not answer says nothing of either.
pub fn until_over(agent: &Agent, told: &Incident) {
    until("its end", || {
        let incidents = agent.incidents();
        incidents.iter().any(|one| one.id == told.id) && incidents.iter().all(|one| one.is_over)
    });
}

/// Tells whether a stack of the incident is that of a [`Block`].
pub fn has_block(incident: &Incident) -> bool {
    format!("{:?}", incident.stacks).contains("block_here")
}

/// A task that blocks its thread until it is let go.
pub struct Block {
    release: Sender<()>,
    begun: Receiver<()>,
}

impl Block {
    /// Returns the handle and what the task is to call.
    pub fn new() -> (Block, impl FnOnce() + Send + 'static) {
        let (release, released) = channel::<()>();
        let (begin, begun) = channel();
        let block = move || {
            begin.send(()).unwrap();
            block_here(&released);
        };
        (Block { release, begun }, block)
    }

    pub fn wait_until_begun(&self) {
        self.begun.recv_timeout(DEADLINE).unwrap();
    }

    pub fn release(self) {
        drop(self.release);
    }
}

/// The guilty function of the tests.
#[inline(never)]
fn block_here(released: &Receiver<()>) {
    let _ = std::hint::black_box(released.recv_timeout(DEADLINE));
}
