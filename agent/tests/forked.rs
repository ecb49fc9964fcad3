//! A program that forks after its agent started: an agent of the child watches the child's loops, with stacks, and sleeps
//! while they wait.

mod support;

#[path = "support/agent_sleeps.rs"]
mod agent_sleeps;

use agent_sleeps::agent_switches;
use loopscope_agent::{Agent, Incident};
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, TaskTimes, Writer};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::until;

fn start() -> Agent {
    Agent::builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap()
}

/// Has a loop of this thread work until its incident has a stack, and wait then. Returns the incident.
fn stall(agent: &Agent, writer: &mut Writer) -> Arc<Incident> {
    let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
    writer.resume();
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let mut found = None;
    until("an incident with a stack", || {
        found = agent.incidents().first().cloned();
        found.as_ref().is_some_and(|incident| !incident.stacks.is_empty())
    });
    writer.end();
    writer.park();
    found.unwrap()
}

fn child_has_an_agent_of_its_own(inherited: Agent) {
    drop(inherited);
    assert!(registry::pages().is_empty(), "the loops are the parent's");
    let agent = start();
    let mut writer = Writer::builder("child").build();
    let incident = stall(&agent, &mut writer);
    assert_eq!(incident.loop_words(), "child");
    let labels: Vec<String> = registry::pages().iter().map(|page| page.label().to_owned()).collect();
    assert_eq!(labels, ["child"]);
    // Idle is what nothing has happened to for a while.
    let period = Duration::from_secs(2);
    let (mut end, mut before) = (Instant::now() + period, agent_switches());
    until("two seconds with at most two wakes", || {
        let wakes = agent_switches() - before;
        if wakes > 2 {
            end = Instant::now() + period;
            before += wakes;
        }
        Instant::now() >= end
    });
    agent.stop();
}

#[test]
fn an_agent_of_a_forked_child_has_stacks_and_sleeps() {
    let agent = start();
    let mut writer = Writer::builder("parent").build();
    stall(&agent, &mut writer);
    // SAFETY: the child goes on with one thread, and leaves by `_exit`; glibc lets it allocate and start threads.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: ends the child where it waits for a lock that nobody lets go of.
        unsafe { libc::alarm(120) };
        let child = std::panic::AssertUnwindSafe(|| child_has_an_agent_of_its_own(agent));
        let is_good = std::panic::catch_unwind(child).is_ok();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_good)) };
    }
    let mut status = 0;
    // SAFETY: the child is ours, and the status is a live local.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "the child's agent is as good as its parent's");
    // The parent's goes on.
    writer.resume();
    writer.park();
    assert_eq!(registry::pages().len(), 1);
    assert_eq!(stall(&agent, &mut writer).loop_words(), "parent");
    agent.stop();
}
