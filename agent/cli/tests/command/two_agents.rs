//! A program with several versions of loopscope in it has as many agents. Each numbers its incidents from 1, and all are asked.

use crate::child::{Running, get, until};
use crate::scratch::{Done, Scratch};
use loopscope_probe::raw::agent_address::{AgentAddress, SocketPath};
use loopscope_probe::raw::directory::{Owner, agent_socket, further_agent_socket};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_probe::raw::registry::{self, Controller};
use loopscope_probe::{Clock, Kind, Phase, TaskTimes, Writer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::panic::Location;
use std::path::Path;

/// A loop of this process, and its number.
fn a_loop(scratch: &Scratch, name: &str) -> (Writer, u32) {
    let writer = Writer::builder(name).clock(Clock::monotonic()).directory(&scratch.runtime()).build();
    let page = registry::pages().into_iter().find(|page| page.is_called(name)).unwrap();
    (writer, page.number())
}

/// Incident 1 of the agent of a loop.
fn incident(name: &str, ordinal: u32, begin_s: u64) -> Value {
    let process = ProcessId::this_process();
    json!({
        "id": format!("{}-1", process.pid()), "loop_id": LoopId::new(process, ordinal).to_string(), "pid": process.pid(),
        "process": "web", "loop": name, "begin_unix_ns": begin_s * 1_000_000_000, "duration_ns": 302_000_000,
        "threshold_ns": 100_000_000, "is_over": true, "class": "computing", "summary": format!("stands still in {name}"),
    })
}

/// Answers one question as an agent with this incident does.
fn answer(mut stream: impl Read + Write, incident: &Value) {
    let (mut asked, mut line) = (String::new(), String::new());
    // Who only looks whether somebody listens asks nothing.
    if BufReader::new(&mut stream).read_line(&mut asked).unwrap_or(0) == 0 {
        return;
    }
    std::mem::swap(&mut asked, &mut line);
    let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let id = path.strip_prefix("/debug/loopscope/incidents/").and_then(|id| id.parse::<IncidentId>().ok());
    let loop_id: LoopId = incident["loop_id"].as_str().unwrap().parse().unwrap();
    let (status, body) = match id {
        Some(id) if id.agrees_with(IncidentId::of_loop(loop_id, 1)) => ("200 OK", incident.to_string()),
        Some(_) => ("404 Not Found", "no such incident".to_owned()),
        None => ("200 OK", json!([incident]).to_string()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
}

/// An agent of this process that watches one loop, told on its page: at an address, and at a socket file where it has one.
fn agent(ordinal: u32, file: Option<&Path>, incident: Value) -> Controller {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = registry::pages().into_iter().find(|page| page.number() == ordinal).unwrap();
    let control = page.take_control().unwrap();
    control.set_address(Some(&AgentAddress::Tcp(listener.local_addr().unwrap())));
    if let Some(path) = file {
        control.set_socket(Some(&AgentAddress::SocketFile(SocketPath::new(path).unwrap())));
        let (listener, incident) = (UnixListener::bind(path).unwrap(), incident.clone());
        std::thread::spawn(move || {
            listener.incoming().for_each(|stream| answer(stream.unwrap(), &incident));
        });
    }
    std::thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), &incident)));
    control
}

fn value(done: &Done) -> Value {
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

fn ids(told: &Value) -> Vec<String> {
    told.as_array().unwrap().iter().map(|incident| incident["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_agents_of_a_process_are_asked_and_incidents_of_one_number_are_told_apart() {
    let scratch = Scratch::new("two-agents");
    let pid = std::process::id();
    let names = ["two agents one", "two agents two", "two agents three"];
    let loops = names.map(|name| a_loop(&scratch, name));
    let owner = Owner::this_process();
    let files = [
        Some(agent_socket(&scratch.runtime(), owner)),
        Some(further_agent_socket(&scratch.runtime(), owner, 2)),
        // Of a version that has no file where another has one.
        None,
    ];
    let _agents: Vec<Controller> = (0..3)
        .map(|at| {
            let ordinal = loops[at].1;
            agent(ordinal, files[at].as_deref(), incident(names[at], ordinal, 1_000 + at as u64))
        })
        .collect();
    // A loop that no agent watches, blocked.
    let (mut writer, ordinal) = a_loop(&scratch, "two agents blocked");
    writer.resume();
    let site = writer.site(Location::caller(), Kind::Timer);
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let since = writer.last();
    until(|| (writer.clock().ns_between(since, writer.clock().now()) > 150_000_000).then_some(()));

    let told = value(&scratch.run(&["incidents", &pid.to_string(), "--json"]));
    let newest_first = [2, 1, 0].map(|at: usize| format!("{pid}-1.{}", loops[at].1));
    let listed = ids(&told["incidents"]);
    assert_eq!((listed.len(), &listed[1..]), (4, &newest_first[..]), "{told:#}");
    assert_eq!(told["incidents"][0]["loop"], "two agents blocked");
    assert!(told["notes"][0].as_str().unwrap().contains("two agents blocked has no agent"), "{told:#}");
    for (id, name) in newest_first.iter().zip(names.iter().rev()) {
        let one = value(&scratch.run(&["incidents", id, "--json"]));
        assert_eq!((&one["loop"], &one["id"]), (&json!(name), &json!(id)));
    }
    let short = format!("{pid}-1");
    for arguments in [&["incidents", &short][..], &["flame", "--incident", &short, &pid.to_string()]] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.stderr);
        assert!(newest_first.iter().all(|id| done.stderr.contains(id)), "{arguments:?}: {}", done.stderr);
    }
    let doctor = value(&scratch.run(&["doctor", &pid.to_string(), "--for", "200ms", "--json"]));
    let mut earlier = serde_json::from_value::<Vec<String>>(doctor["earlier_incidents"].clone()).unwrap();
    earlier.sort();
    let mut expected = newest_first.to_vec();
    expected.sort();
    assert_eq!(earlier, expected, "{doctor:#}");
    told_by_a_server(&scratch, &newest_first, &names, ordinal);
}

/// A server of the host tells the same, and where each agent is.
fn told_by_a_server(scratch: &Scratch, newest_first: &[String], names: &[&str], blocked: u32) {
    let pid = std::process::id();
    let mut serve = Running::start(scratch, &["serve", "--listen", "127.0.0.1:0"]);
    let address = serve.address("metrics");
    let json = |path: &str| -> Value {
        let answer = get(&address, path);
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1)
            .unwrap_or_else(|error| panic!("{error}: {answer}"))
    };
    for path in ["/debug/loopscope/incidents", &format!("/process/{pid}/debug/loopscope/incidents")] {
        let told = json(path);
        let listed = ids(&told);
        assert_eq!((listed.len(), &listed[1..]), (4, newest_first), "{path}: {told:#}");
        let of_page: LoopId = told[0]["loop_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(of_page.ordinal(), blocked);
    }
    for (id, name) in newest_first.iter().zip(names.iter().rev()) {
        for folder in [String::new(), format!("/process/{pid}")] {
            let one = json(&format!("{folder}/debug/loopscope/incidents/{id}"));
            assert_eq!(one["loop"], *name, "{folder} {id}");
        }
        let one = value(&scratch.run(&["incidents", &format!("http://{address}"), id, "--json"]));
        assert_eq!(one["loop"], *name, "{id}");
    }
    let targets = json("/sd");
    let loops = |target: &Value| target["labels"]["__meta_loopscope_loops"].as_str().unwrap().to_owned();
    let told: Vec<String> = targets.as_array().unwrap().iter().map(loops).collect();
    assert_eq!(told, names.iter().map(|name| format!(",{name},")).collect::<Vec<_>>(), "{targets:#}");
}
