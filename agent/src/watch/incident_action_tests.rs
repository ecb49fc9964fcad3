//! Actions on incidents: commands that fail, hang and do not read, and functions that panic.

use super::*;
use loopscope_report::incident::Record;
use std::sync::mpsc::channel;

fn incident(records: usize) -> Arc<Incident> {
    let records = vec![Record::default(); records];
    Arc::new(Incident { id: "7-1".parse().unwrap(), pid: 7, records, ..Incident::default() })
}

fn shell(script: &str) -> Vec<Action> {
    vec![Action::Command { program: "sh".into(), args: vec!["-c".into(), script.into()] }]
}

fn until(actor: &Actor, is_good: impl Fn(Outcomes) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_good(actor.outcomes()) {
        assert!(std::time::Instant::now() < deadline, "{:?}", actor.outcomes());
        std::thread::yield_now();
    }
}

#[test]
fn a_command_gets_the_incident_and_its_failure_is_told() {
    let path = std::env::temp_dir().join(format!("loopscope-action-{}", std::process::id()));
    let mut actor = Actor::start(shell(&format!("cat > {}", path.display()))).unwrap();
    actor.act(incident(5_000));
    until(&actor, |outcomes| outcomes.ok == 1);
    let read = Incident::parse(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read, *incident(5_000));
    for script in ["exit 3", "kill -9 $$"] {
        let mut actor = Actor::start(shell(script)).unwrap();
        actor.act(incident(5_000));
        until(&actor, |outcomes| outcomes.failed == 1);
        assert!(actor.notes()[0].starts_with("command sh, for incident 7-1: it failed"));
    }
    let mut actor =
        Actor::start(vec![Action::Command { program: "/nonexistent/x".into(), args: vec![] }]).unwrap();
    actor.act(incident(0));
    until(&actor, |outcomes| outcomes.failed == 1);
}

#[test]
fn a_command_that_hangs_is_killed_with_what_it_started() {
    let limit = Duration::from_millis(300);
    let path = std::env::temp_dir().join(format!("loopscope-hang-{}", std::process::id()));
    // Two processes that never read.
    let script = format!("sh -c 'echo $$ > {}; exec tail -f /dev/null'", path.display());
    let mut actor = Actor::start_with(shell(&format!("{script}; true")), limit).unwrap();
    actor.act(incident(5_000));
    until(&actor, |outcomes| outcomes.failed == 1);
    assert!(actor.notes()[0].contains("killed after"));
    let pid = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    while !state().is_empty() && !state().contains(") Z") {
        assert!(std::time::Instant::now() < deadline, "{}", state());
    }
}

#[test]
fn a_function_is_called_on_a_thread_of_its_own_and_may_panic() {
    let (say, told) = channel();
    let call: Action = Action::Call(Arc::new(move |incident: &Incident| {
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        let _ = say.send((incident.id, thread));
        assert!(incident.records.is_empty(), "it panics on purpose");
    }));
    let mut actor = Actor::start(vec![call]).unwrap();
    actor.act(incident(1));
    actor.act(incident(0));
    until(&actor, |outcomes| outcomes == Outcomes { ok: 1, failed: 1, dropped: 0 });
    assert_eq!(told.recv().unwrap(), ("7-1".parse().unwrap(), "loopscope-action".to_owned()));
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let (allow, allowed) = channel::<()>();
    let allowed = Mutex::new(allowed);
    let call = Action::Call(Arc::new(move |_: &Incident| {
        let _ = allowed.lock().unwrap().recv();
    }));
    let mut actor = Actor::start(vec![call]).unwrap();
    for _ in 0..WAITING_MAX + 10 {
        actor.act(incident(0));
    }
    assert!(actor.outcomes().dropped >= 9, "{:?}", actor.outcomes());
    drop(allow);
}
