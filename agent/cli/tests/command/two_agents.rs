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
    // The newest, where several are called so.
    let called = registry::pages().into_iter().filter(|page| page.is_called(name));
    (writer, called.map(|page| page.number()).max().unwrap())
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

/// Answers one question as an agent with this incident does. One that refuses changes no threshold.
fn answer(mut stream: impl Read + Write, incident: &Value, refuses: bool) {
    let mut asked = String::new();
    // Who only looks whether somebody listens asks nothing.
    if BufReader::new(&mut stream).read_line(&mut asked).unwrap_or(0) == 0 {
        return;
    }
    let (status, body) = told(&asked, incident, refuses);
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
}

/// What an agent with this incident answers to a request that begins with this line.
fn told(asked: &str, incident: &Value, refuses: bool) -> (&'static str, String) {
    let (path, query) = asked
        .split(' ')
        .nth(1)
        .and_then(|target| target.split_once('?'))
        .unwrap_or_else(|| (asked.split(' ').nth(1).unwrap_or_default(), ""));
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.replace("%20", " "))
    };
    let name = incident["loop"].as_str().unwrap();
    if parameter("loop").is_some_and(|asked| asked != name) {
        return ("404 Not Found", format!("parameter loop: there is no such loop; valid are: {name}"));
    }
    if let Some(id) = path.strip_prefix("/debug/loopscope/incidents/") {
        let loop_id: LoopId = incident["loop_id"].as_str().unwrap().parse().unwrap();
        let number = incident["id"].as_str().unwrap().parse::<IncidentId>().unwrap().number();
        let is_known = |id: IncidentId| id.agrees_with(IncidentId::of_loop(loop_id, number));
        return match id.parse().is_ok_and(is_known) {
            true => ("200 OK", incident.to_string()),
            false => ("404 Not Found", "no such incident".to_owned()),
        };
    }
    match path {
        "/debug/loopscope/incidents" => ("200 OK", json!([incident]).to_string()),
        "/debug/loopscope/thresholds" if refuses && asked.starts_with("POST") => {
            ("400 Bad Request", "warning: not here".to_owned())
        }
        "/debug/loopscope/thresholds" => {
            let changed = parameter("warning").and_then(|text| text.strip_suffix("us")?.parse::<u64>().ok());
            let warning_ns = changed.map_or(100_000_000, |us| us * 1_000);
            let one =
                json!({"loop": name, "name": name, "warning_ns": warning_ns, "critical_ns": 1_000_000_000});
            let all = json!({"warning_ns": 100_000_000, "critical_ns": 1_000_000_000, "loops": [one]});
            ("200 OK", all.to_string())
        }
        _ => ("200 OK", format!("{path} of {name}")),
    }
}

/// Blocks a loop, and returns when that is a stall.
fn block(writer: &mut Writer) {
    writer.resume();
    let site = writer.site(Location::caller(), Kind::Timer);
    writer.phase(Phase::TIMERS);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let since = writer.last();
    until(|| (writer.clock().ns_between(since, writer.clock().now()) > 150_000_000).then_some(()));
}

/// An agent of this process that watches one loop, told on its page: at an address, and at a socket file where it has one.
fn agent(ordinal: u32, file: Option<&Path>, incident: Value) -> Controller {
    agent_that(ordinal, file, incident, false)
}

/// As [`agent`]; one that refuses changes no threshold.
fn agent_that(ordinal: u32, file: Option<&Path>, incident: Value, refuses: bool) -> Controller {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = registry::pages().into_iter().find(|page| page.number() == ordinal).unwrap();
    let control = page.take_control().unwrap();
    control.set_address(Some(&AgentAddress::Tcp(listener.local_addr().unwrap())));
    if let Some(path) = file {
        control.set_socket(Some(&AgentAddress::SocketFile(SocketPath::new(path).unwrap())));
        let (listener, incident) = (UnixListener::bind(path).unwrap(), incident.clone());
        std::thread::spawn(move || {
            listener.incoming().for_each(|stream| answer(stream.unwrap(), &incident, refuses));
        });
    }
    std::thread::spawn(move || {
        listener.incoming().for_each(|stream| answer(stream.unwrap(), &incident, refuses));
    });
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
    block(&mut writer);

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
    an_ambiguous_id_is_refused_by_a_server(scratch, &address, newest_first);
    each_loop_is_asked_of_its_own_agent(scratch, &address, names);
    let targets = json("/sd");
    let loops = |target: &Value| target["labels"]["__meta_loopscope_loops"].as_str().unwrap().to_owned();
    let told: Vec<String> = targets.as_array().unwrap().iter().map(loops).collect();
    assert_eq!(told, names.iter().map(|name| format!(",{name},")).collect::<Vec<_>>(), "{targets:#}");
}

/// The status and the body of what a server answers.
fn status_and_body(address: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("Host: {address}\r\nX-Loopscope: 1\r\nConnection: close\r\nContent-Length: 0");
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Which of several incidents is meant is not guessed.
fn an_ambiguous_id_is_refused_by_a_server(scratch: &Scratch, address: &str, ids: &[String]) {
    let pid = std::process::id();
    for folder in [String::new(), format!("/process/{pid}")] {
        for query in ["", "?format=folded"] {
            let path = format!("{folder}/debug/loopscope/incidents/{pid}-1{query}");
            let (status, told) = status_and_body(address, "GET", &path);
            assert!(status == 409 && ids.iter().all(|id| told.contains(id)), "{path}: {status} {told}");
        }
        let path = format!("{folder}/debug/loopscope/incidents/{pid}-7");
        assert_eq!(status_and_body(address, "GET", &path).0, 404, "{path}");
    }
    for target in [format!("http://{address}"), format!("http://{address}/process/{pid}")] {
        let done = scratch.run(&["flame", "--incident", &format!("{pid}-1"), &target]);
        let names_all = ids.iter().all(|id| done.stderr.contains(id));
        assert!(done.code == Some(2) && names_all, "{target}: {:?} {}", done.code, done.stderr);
    }
}

/// What is said of a loop goes to the agent that watches it, and what is said of none is not guessed.
fn each_loop_is_asked_of_its_own_agent(scratch: &Scratch, address: &str, names: &[&str]) {
    let pid = std::process::id();
    let folder = format!("/process/{pid}");
    for name in names {
        let of_loop = format!("loop={}", name.replace(' ', "%20"));
        for path in [
            format!("/debug/loopscope/flamegraph?pid={pid}&of=cpu&{of_loop}"),
            format!("{folder}/debug/loopscope/flamegraph?of=cpu&{of_loop}"),
            format!("/debug/pprof/profile?{of_loop}&pid={pid}"),
        ] {
            let (status, told) = status_and_body(address, "GET", &path);
            assert!(status == 200 && told.ends_with(&format!(" of {name}")), "{path}: {status} {told}");
        }
        let path = format!("{folder}/debug/loopscope/thresholds?{of_loop}&warning=41000us");
        let (status, told) = status_and_body(address, "POST", &path);
        let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{status} {told}"));
        assert_eq!(
            (&told["loops"][0]["loop"], &told["loops"][0]["warning_ns"]),
            (&json!(name), &json!(41_000_000))
        );
        let target = format!("http://{address}{folder}");
        let changed =
            value(&scratch.run(&["threshold", &target, "--loop", name, "--warning", "41ms", "--json"]));
        assert_eq!(changed["loops"][0]["warning_ns"], 41_000_000, "{changed:#}");
    }
    let (status, told) = status_and_body(address, "GET", &format!("{folder}/debug/loopscope/thresholds"));
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{status} {told}"));
    let loops = told["loops"].as_array().unwrap().iter().map(|one| one["loop"].as_str().unwrap());
    assert_eq!(loops.collect::<Vec<_>>(), names, "{told:#}");
    for (method, path) in [
        ("GET", format!("/debug/loopscope/flamegraph?pid={pid}&of=cpu")),
        ("GET", format!("{folder}/debug/loopscope/live")),
        ("GET", format!("{folder}/metrics")),
        ("POST", format!("{folder}/debug/loopscope/thresholds?warning=41ms")),
    ] {
        let (status, told) = status_and_body(address, method, &path);
        assert!(status == 409 && told.matches("http://127.0.0.1:").count() == 3, "{path}: {status} {told}");
    }
    for name in ["nowhere", "two%20agents%20blocked"] {
        let path = format!("/debug/loopscope/flamegraph?pid={pid}&of=cpu&loop={name}");
        let (status, told) = status_and_body(address, "GET", &path);
        assert!(status == 404 && names.iter().all(|name| told.contains(name)), "{path}: {status} {told}");
    }
    assert_eq!(status_and_body(address, "GET", &format!("{folder}/-/healthy")).0, 200);
}

/// An agent that has ended without a word: nobody listens where the page says.
fn silent_agent(ordinal: u32) -> (Controller, String) {
    let page = registry::pages().into_iter().find(|page| page.number() == ordinal).unwrap();
    let control = page.take_control().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    control.set_address(Some(&AgentAddress::Tcp(address)));
    (control, format!("http://{address}"))
}

#[test]
fn the_stalls_of_an_agent_that_does_not_answer_are_read_from_its_pages() {
    let scratch = Scratch::new("silent-agent");
    let pid = std::process::id().to_string();
    let (_first, ordinal) = a_loop(&scratch, "silent: answers");
    let file = agent_socket(&scratch.runtime(), Owner::this_process());
    let _agent = agent(ordinal, Some(&file), incident("silent: answers", ordinal, 1_000));
    let (mut writer, blocked) = a_loop(&scratch, "silent: blocked");
    let (_control, url) = silent_agent(blocked);
    block(&mut writer);
    let told = value(&scratch.run(&["incidents", &pid, "--json"]));
    let loops = told["incidents"].as_array().unwrap().iter().map(|one| one["loop"].as_str().unwrap());
    assert_eq!(loops.collect::<Vec<_>>(), ["silent: blocked", "silent: answers"], "{told:#}");
    let note = told["notes"][0].as_str().unwrap();
    assert!(note.contains("cannot ask one of its agents (of silent: blocked only stalls"), "{told:#}");
    // The agent that does not answer may have it, so it is not said to be nowhere.
    let done = scratch.run(&["flame", "--incident", &format!("{pid}-7"), &pid]);
    assert!(done.code == Some(1) && done.stderr.contains(&url), "{:?} {}", done.code, done.stderr);
}

#[test]
fn a_loop_that_two_agents_have_is_not_sampled_by_one_of_them_unasked() {
    let scratch = Scratch::new("same-name");
    let pid = std::process::id().to_string();
    let names = ["same name", "same name", "another name"];
    let agents: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let (writer, ordinal) = a_loop(&scratch, name);
            let file = further_agent_socket(&scratch.runtime(), Owner::this_process(), at as u32 + 2);
            (writer, agent(ordinal, Some(&file), incident(name, ordinal, 1_000)), file)
        })
        .collect();
    let sample = |name: &str| {
        scratch.run(&["flame", &pid, "--of", "cpu", "--for", "1s", "--loop", name, "-o", "x.svg"])
    };
    let done = sample("same name");
    let names_both = agents[..2].iter().all(|(_, _, file)| done.stderr.contains(&*file.to_string_lossy()));
    assert!(done.code == Some(2) && names_both, "{:?} {}", done.code, done.stderr);
    assert!(!done.stderr.contains(&*agents[2].2.to_string_lossy()), "{}", done.stderr);
    let done = sample("another name");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(scratch.read("x.svg").ends_with(" of another name"));
}

#[test]
fn a_change_that_one_agent_refuses_says_what_another_has_changed() {
    let scratch = Scratch::new("half-made");
    let pid = std::process::id().to_string();
    let names = ["half one", "half refuses"];
    let files = [2, 3].map(|number| further_agent_socket(&scratch.runtime(), Owner::this_process(), number));
    let loops = names.map(|name| a_loop(&scratch, name));
    let _agents: Vec<_> = (0..2)
        .map(|at| agent_that(loops[at].1, Some(&files[at]), incident(names[at], loops[at].1, 1_000), at == 1))
        .collect();
    let change = |more: &[&str]| scratch.run(&[&["threshold", &pid, "--warning", "41ms"], more].concat());
    let done = change(&[]);
    let is_told = done.stderr.contains("not here") && done.stderr.contains("changed before that");
    assert!(
        done.code == Some(1) && is_told && done.stderr.contains("half one"),
        "{:?} {}",
        done.code,
        done.stderr
    );
    let done = change(&["--loop", "half refuses"]);
    let is_told = done.stderr.contains("not here") && !done.stderr.contains("changed before that");
    assert!(done.code == Some(1) && is_told, "{:?} {}", done.code, done.stderr);
    let done = change(&["--loop", "half one"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}
