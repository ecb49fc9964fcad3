//! What a runtime's observer tells is what the agent knows, and nothing of it can harm.

mod support;

use loopscope_probe::observer::{Observed, Observer, Sighting};
use loopscope_probe::raw::registry;
use loopscope_probe::{Ticks, Writer};
use std::sync::Arc;
use std::sync::Mutex;
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
    // Until it has been busy for five thresholds, and turned all the time.
    until("300 ms of turns", || {
        number += 1;
        told.say(Sighting::nothing().turn(number));
        page.clock().ns_between(writer.last(), page.clock().now()) > 300_000_000
    });
    let of_it = |agent: &loopscope_agent::Agent| {
        agent.incidents().iter().filter(|one| one.r#loop == "turning").count()
    };
    // A machine that does not let this thread run for 60 ms makes a loop that did not turn.
    let before = of_it(&agent);
    assert!(before <= 1, "{before} incidents of a loop that turned");
    until("the stall", || of_it(&agent) > before);
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
