//! An idle agent sleeps, and a loop's first work wakes it.

#[path = "support/agent_sleeps.rs"]
mod agent_sleeps;
mod support;

use agent_sleeps::agent_switches;
use loopscope_probe::Kind;
use std::time::{Duration, Instant};
use support::{HandLoop, builder, get, turn, until, value};

#[test]
fn an_idle_agent_wakes_less_than_once_a_second() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    hand.park();
    // Idle is what nothing has happened to for a while.
    let period = Duration::from_secs(2);
    let (mut deadline, mut before) = (Instant::now() + period, agent_switches());
    until("two seconds with at most two wakes", || {
        let wakes = agent_switches() - before;
        if wakes > 2 {
            deadline = Instant::now() + period;
            before += wakes;
        }
        Instant::now() >= deadline
    });
    assert!(agent.address().is_some());
}

#[test]
fn the_first_work_wakes_the_agent() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(5), Duration::from_secs(9)).start().unwrap();
    let hand = HandLoop::start("main");
    let ticks = || value(&get(&agent, "/metrics").body, "loopscope_agent_ticks_total").unwrap();
    for _ in 0..5 {
        let mut last = ticks();
        until("the agent to sleep", || {
            let before = std::mem::replace(&mut last, ticks());
            // Only the scrape's own look.
            last - before <= 1.0
        });
        let asleep = agent_switches();
        hand.block(Kind::Timer, "work");
        // Nothing is asked of the agent here: the loop's ring alone wakes it, and it goes on looking.
        until("the agent to look", || agent_switches() > asleep + 3);
        hand.park();
    }
}

#[test]
fn asking_is_no_look_of_the_agent_s_own() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    hand.park();
    let told = || {
        let page = get(&agent, "/metrics").body;
        let of = |name: &str| value(&page, &format!("loopscope_agent_{name}")).unwrap();
        (of("ticks_total"), of("last_tick_timestamp_seconds"))
    };
    // While all loops idle it looks every five seconds, however often it is asked.
    until("ten questions between two looks", || {
        let before = told();
        (0..10).all(|_| told() == before)
    });
}
