//! A runtime of several workers is one: in the metrics, the live view, the incidents and the thresholds.

mod support;

use loopscope_agent::Agent;
use loopscope_probe::observer::{Observer, Sighting};
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, TaskTimes, Ticks, Writer};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{builder, get, request, turn, until, value};

/// Says once it is told to that the thread has ceased to run the loop.
#[derive(Debug, Default)]
struct Leaving(AtomicBool);

impl Observer for Leaving {
    fn look(&self, _at: Ticks) -> Sighting {
        let sighting = Sighting::nothing().again_within(2_000_000);
        if self.0.load(Ordering::Acquire) { sighting.retired() } else { sighting }
    }
}

/// Begins worker `number` of a runtime, and runs a callback of the site that all workers have.
fn worker(runtime: &str, number: u32, observer: Option<Arc<Leaving>>) -> Writer {
    let mut builder = Writer::builder(&format!("{runtime}/{number}")).worker(runtime, number);
    if let Some(observer) = observer {
        builder = builder.observer(observer);
    }
    let mut writer = builder.build();
    let site = writer.named_site(Location::caller(), Kind::Task, "route");
    writer.resume();
    writer.begin(Kind::Task, site, TaskTimes::UNKNOWN);
    writer.end();
    writer.park();
    writer
}

fn metrics(agent: &Agent) -> String {
    get(agent, "/metrics").body
}

/// Returns the calls of the only site of a runtime.
fn calls(page: &str, runtime: &str) -> Option<f64> {
    let begin = format!("loopscope_callback_site_calls_total{{loop=\"{runtime}\",");
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(&begin)).collect();
    assert!(lines.len() <= 1, "{lines:?}");
    lines.first()?.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn a_runtime_has_one_of_each_series_and_a_few_for_each_worker() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let workers: Vec<Writer> = (0..3).map(|number| worker("pool", number, None)).collect();
    until("the workers", || calls(&metrics(&agent), "pool") == Some(3.0));
    let page = metrics(&agent);
    assert_eq!(page.matches("loopscope_loop_info{loop=\"pool\"").count(), 1);
    assert_eq!(page.matches("loopscope_worker_stall_seconds{loop=\"pool\",worker=").count(), 3);
    assert!(!page.contains("pool/0"), "no worker has series of a loop");
    let view: serde_json::Value = serde_json::from_str(&get(&agent, "/debug/loopscope/live").body).unwrap();
    let rows = view["processes"][0]["loops"].as_array().unwrap();
    let pool = rows.iter().find(|row| row["name"] == "pool").unwrap();
    assert_eq!((rows.len(), pool["workers"].as_array().unwrap().len()), (1, 3));
    drop(workers);
}

#[test]
fn a_worker_that_moves_to_another_thread_lets_no_counter_fall() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let leaving = Arc::new(Leaving::default());
    let first = worker("moving", 0, Some(leaving.clone()));
    until("the worker", || calls(&metrics(&agent), "moving") == Some(1.0));
    leaving.0.store(true, Ordering::Release);
    until("its end", || calls(&metrics(&agent), "moving").is_none());
    let second = worker("moving", 0, None);
    until("the sum of both", || calls(&metrics(&agent), "moving").is_some());
    let page = metrics(&agent);
    assert_eq!(calls(&page, "moving"), Some(2.0));
    assert_eq!(page.matches("loopscope_worker_info{loop=\"moving\",worker=\"0\"").count(), 1);
    drop((first, second));
}

#[test]
fn an_incident_says_which_worker_of_which_runtime_it_is_of() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    let quiet = worker("told", 0, None);
    let mut busy = worker("told", 1, None);
    busy.unpark(1);
    until("the incident", || !agent.incidents().is_empty());
    let incident = agent.incidents().remove(0);
    let told = (&*incident.r#loop, &*incident.group, incident.worker, incident.loop_words());
    assert_eq!(told, ("told/1", "told", Some(1), "told/1".to_owned()));
    assert!(incident.is_of("told") && !incident.is_of("told/0"));
    let stall = |number: u32| {
        value(
            &metrics(&agent),
            &format!("loopscope_worker_stall_seconds{{loop=\"told\",worker=\"{number}\"}}"),
        )
    };
    assert!(stall(0) == Some(0.0) && stall(1) > Some(0.02), "{:?} {:?}", stall(0), stall(1));
    assert!(value(&metrics(&agent), "loopscope_loop_stall_seconds{loop=\"told\"}") > Some(0.02));
    busy.park();
    drop((quiet, busy));
}

#[test]
fn thresholds_of_a_runtime_are_those_of_all_its_workers() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let workers: Vec<Writer> = (0..2).map(|number| worker("set", number, None)).collect();
    until("the workers", || calls(&metrics(&agent), "set") == Some(2.0));
    let post = "POST /debug/loopscope/thresholds?loop=set&warning=30ms HTTP/1.1\r\n\
                Host: localhost\r\nX-Loopscope: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = request(&agent, post);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let told: Vec<_> = list["loops"].as_array().unwrap().iter().map(|entry| &entry["warning_ns"]).collect();
    assert_eq!(told, [30_000_000, 30_000_000]);
    for page in registry::pages() {
        assert_eq!(page.page().control().warning_ns(), 30_000_000);
    }
    drop(workers);
}
