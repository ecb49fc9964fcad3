//! The list of a host's incidents, where an agent tells its server nothing: what the page tells stands in, and the log says
//! why, once for each process.

#[path = "../agent/tests/support/mod.rs"]
mod support;

use loopscope_host::Host;
use loopscope_probe::Kind;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{HandLoop, any_port, builder, turn, until};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const INCIDENTS: &str = "/debug/loopscope/incidents";
const FAILURES: &str = "loopscope_host_forwards_total{result=\"failed\"} ";

/// Keeps the lines of the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

#[test]
fn an_agent_that_refuses_the_server_does_not_shorten_its_list() {
    let _turn = turn();
    let token = std::env::temp_dir().join(format!("loopscope-host-incidents-{}", std::process::id()));
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let looped = HandLoop::start("asked");
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(60)).token_file(&token);
    let agent = agent.start().unwrap();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    // It has no token, so the agent refuses it.
    let host =
        tracing::subscriber::with_default(subscriber, || Host::builder().listen(any_port()).start().unwrap());
    let client = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let ask = |path: &str| client.get(format!("{}{path}", host.url())).call().unwrap();
    let json = |path: &str| -> Value {
        serde_json::from_str(&ask(path).body_mut().read_to_string().unwrap()).unwrap()
    };
    looped.block(Kind::Timer, "held");
    until("the incident on the page", || json(INCIDENTS).as_array().unwrap().len() == 1);
    let listed = &json(INCIDENTS)[0];
    assert_eq!((&listed["loop"], &listed["culprit"]["name"]), (&"asked".into(), &"held".into()));
    let note = listed["notes"][0].as_str().unwrap();
    assert!(note.contains("without its agent") && note.contains("requires a token"), "{note}");
    let id = listed["id"].as_str().unwrap();
    assert_eq!(json(&format!("{INCIDENTS}/{id}"))["culprit"]["name"], "held", "what is listed can be had");
    assert_eq!(ask(&format!("{INCIDENTS}/{}-7", std::process::id())).status().as_u16(), 502);
    let failures = || {
        let page = ask("/metrics").body_mut().read_to_string().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(FAILURES)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let before = failures();
    let of_process = json(&format!("/process/{}{INCIDENTS}", std::process::id()));
    assert_eq!((&of_process[0]["id"], &of_process[0]["notes"]), (&listed["id"], &listed["notes"]));
    assert_eq!(failures(), before + 1, "its agent is asked once");
    let said = || {
        let lines = kept.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("read from its page only")).cloned().collect::<Vec<_>>()
    };
    until("the line in the log", || !said().is_empty());
    drop(host);
    let said = said();
    assert!(said.len() == 1 && said[0].contains("requires a token"), "{said:#?}");
    looped.park();
    agent.stop();
    fs::remove_file(token).unwrap();
}
