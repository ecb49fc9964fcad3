//! What a runtime's observer tells is what the agent knows, and nothing of it can harm.

mod support;

use loopscope_probe::observer::{Observed, Observer, Sighting};
use loopscope_probe::raw::registry;
use loopscope_probe::{Ticks, Writer};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{builder, get, turn, until, value};

/// Says what the test says.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Sighting>>);

impl Told {
    fn say(&self, sighting: Sighting) {
        *self.0.lock().unwrap() = Some(sighting.again_within(2_000_000));
    }
}

impl Observer for Told {
    fn look(&self, _at: Ticks) -> Sighting {
        self.0.lock().unwrap().expect("a test that says nothing wants a panic")
    }
}

fn page_of(name: &str) -> registry::LocalPage {
    registry::pages().into_iter().find(|page| page.page().loop_name() == name).unwrap()
}

#[test]
fn a_busy_loop_that_turns_is_no_stall_and_one_that_ceases_to_is() {
    let _turn = turn();
    let told = Arc::new(Told::default());
    told.say(Sighting::nothing().turn(1));
    let mut writer = Writer::builder("turning").observer(told.clone()).build();
    writer.resume();
    let agent = builder().thresholds(Duration::from_millis(60), Duration::from_secs(9)).start().unwrap();
    let page = page_of("turning");
    let mut number = 1;
    let of_it = |is_over: bool| {
        let incidents = agent.incidents();
        incidents.iter().filter(|one| one.r#loop == "turning" && one.is_over == is_over).count()
    };
    // Until it has been busy for five thresholds, and turned all the time. A machine that does not let this thread run for 60 ms makes
    // a loop that did not turn, until it does again.
    until("300 ms of turns", || {
        number += 1;
        told.say(Sighting::nothing().turn(number));
        page.clock().ns_between(writer.last(), page.clock().now()) > 300_000_000 && of_it(false) == 0
    });
    let before = of_it(true);
    assert!(before <= 1, "{before} incidents of a loop that turned");
    until("the stall", || of_it(false) > 0);
    writer.suspend();
    drop(writer);
}

#[test]
fn a_thread_that_was_seen_busy_is_told_as_its_own_words_would_be() {
    let _turn = turn();
    let told = Arc::new(Told::default());
    told.say(Sighting::nothing());
    let writer = Writer::builder("seen").observed().observer(told.clone()).build();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    let page = page_of("seen");
    let began = page.clock().now();
    told.say(Sighting::nothing().observed(Observed { busy_since: began, ..Observed::default() }));
    until("the stall", || agent.incidents().iter().any(|one| one.r#loop == "seen"));
    let parked = page.clock().now();
    let active_ticks = parked.since(began);
    let parked = Observed { parked_since: parked, active_ticks, ..Observed::default() };
    told.say(Sighting::nothing().observed(parked));
    until("its end", || page.page().is_parked() && agent.incidents().iter().all(|one| one.is_over));
    let metrics = get(&agent, "/metrics").body;
    assert_eq!(value(&metrics, "loopscope_blocked_total{loop=\"seen\",severity=\"warning\"}"), Some(1.0));
    let active =
        value(&metrics, "loopscope_loop_time_seconds_total{loop=\"seen\",state=\"active\"}").unwrap();
    assert!((active - page.clock().scale().ns(active_ticks) as f64 / 1e9).abs() < 1e-6, "{active}");
    drop(writer);
}

#[test]
fn a_retired_loop_is_gone_for_everybody_and_its_label_is_free() {
    let _turn = turn();
    let told = Arc::new(Told::default());
    told.say(Sighting::nothing());
    let mut writer = Writer::builder("moves").observer(told.clone()).build();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    writer.resume();
    until("the stall", || agent.incidents().iter().any(|one| one.r#loop == "moves"));
    told.say(Sighting::nothing().retired());
    until("its end", || agent.incidents().iter().all(|one| one.is_over));
    assert!(!get(&agent, "/metrics").body.contains("loop=\"moves\""));
    assert_eq!(get(&agent, "/-/ready").status, 200);
    let successor = Writer::builder("moves").build();
    let labels: Vec<String> = registry::pages()
        .iter()
        .filter(|page| !page.is_retired())
        .map(|page| page.label().to_owned())
        .collect();
    assert!(
        labels.contains(&"moves".to_owned()) && !labels.iter().any(|label| label.contains('#')),
        "{labels:?}"
    );
    until("the successor", || get(&agent, "/metrics").body.contains("loop=\"moves\""));
    drop((writer, successor));
}

#[test]
fn an_observer_that_panics_is_not_asked_again_and_costs_nobody_anything() {
    let _turn = turn();
    let mut writer = Writer::builder("panics").observer(Arc::new(Told::default())).build();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    writer.resume();
    until("the stall", || agent.incidents().iter().any(|one| one.r#loop == "panics"));
    assert_eq!(value(&get(&agent, "/metrics").body, "loopscope_agent_panics_total"), Some(0.0));
    writer.suspend();
}

#[test]
fn the_stall_of_a_loop_that_ends_in_the_middle_of_it_ends_with_it() {
    let _turn = turn();
    let mut writer = Writer::builder("ends stalled").build();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    writer.resume();
    until("the stall", || agent.incidents().iter().any(|one| one.r#loop == "ends stalled"));
    drop(writer);
    until("its end", || agent.incidents().iter().all(|one| one.is_over));
}

#[test]
fn the_stall_of_a_loop_that_was_seen_busy_when_it_ended_ends_with_it() {
    let _turn = turn();
    let told = Arc::new(Told::default());
    told.say(Sighting::nothing());
    let writer = Writer::builder("gone busy").observed().observer(told.clone()).build();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    let began = page_of("gone busy").clock().now();
    told.say(Sighting::nothing().observed(Observed { busy_since: began, ..Observed::default() }));
    until("the stall", || agent.incidents().iter().any(|one| one.r#loop == "gone busy"));
    drop(writer);
    until("its end", || agent.incidents().iter().all(|one| one.is_over));
}

/// Counts how often it is asked, and wants to be asked so often.
#[derive(Debug, Default)]
struct Counted {
    looks: AtomicU64,
    again_ns: u64,
}

impl Observer for Counted {
    fn look(&self, _at: Ticks) -> Sighting {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Sighting::nothing().again_within(self.again_ns)
    }
}

#[test]
fn an_observer_is_asked_as_often_as_it_wants_and_pages_are_not_read_as_often() {
    let _turn = turn();
    let observer = Arc::new(Counted { again_ns: 2_000_000, ..Counted::default() });
    let writer = Writer::builder("asked").observer(observer.clone()).build();
    let agent = builder().thresholds(Duration::from_millis(100), Duration::from_secs(9)).start().unwrap();
    let counts = || {
        let ticks = value(&get(&agent, "/metrics").body, "loopscope_agent_ticks_total").unwrap() as u64;
        (observer.looks.load(Ordering::Relaxed), ticks)
    };
    // On an overloaded machine the agent looks later. A request for the metrics asks the observer, too, so none is made
    // in between.
    until("ten looks for each tick", || {
        let before = counts();
        until("fifty looks", || observer.looks.load(Ordering::Relaxed) - before.0 >= 50);
        let after = counts();
        after.0 - before.0 >= 10 * (after.1 - before.1)
    });
    drop(writer);
}

#[test]
fn a_loop_that_waits_is_looked_at_by_its_own_threshold_beside_a_busy_one_with_a_longer() {
    let _turn = turn();
    let observer = Arc::new(Counted::default());
    let short = Writer::builder("short").observer(observer.clone()).build();
    let mut long = Writer::builder("long").build();
    let agent = builder().thresholds(Duration::from_secs(20), Duration::from_secs(30));
    let agent = agent.loop_thresholds("short", Duration::from_millis(20), Duration::from_secs(9)).start();
    long.resume();
    let clock = short.clock();
    let (mut begun, mut before) = (clock.now(), 0);
    // By the longer one it would be eight times.
    until("forty looks in two seconds", || {
        if clock.ns_between(begun, clock.now()) > 2_000_000_000 {
            (begun, before) = (clock.now(), observer.looks.load(Ordering::Relaxed));
        }
        observer.looks.load(Ordering::Relaxed) - before >= 40
    });
    long.suspend();
    drop(agent.unwrap());
}
