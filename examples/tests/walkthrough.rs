//! The walkthrough of `docs/tokio.md`: each fault of the axum service is reported as the page says, by the log, the command and
//! `/metrics`, and what is no stall is none.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Waiting for longer than this is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// The service and what it says, in a runtime directory of its own.
struct Service {
    child: Child,
    command: PathBuf,
    directory: PathBuf,
    lines: Receiver<String>,
    /// Where the service and its agent are.
    address: String,
    agent: String,
}

impl Service {
    /// Starts it; `None` where the service or the command is not built.
    fn start() -> Option<Service> {
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().nth(2).unwrap_or(Path::new("."));
        let (program, command) = (built.join("examples/tokio_service"), built.join("loopscope"));
        if !program.exists() || !command.exists() {
            println!("skipped: the walkthrough on Tokio: the service or the command is not built");
            return None;
        }
        let directory = PathBuf::from(format!("/dev/shm/loopscope-walkthrough-{}", std::process::id()));
        let mut service = Command::new(program);
        service.arg("127.0.0.1:0").env("LOOPSCOPE_RUNTIME_DIR", &directory);
        service.env("LOOPSCOPE_LISTEN", "127.0.0.1:0").env("NO_COLOR", "1").stdout(Stdio::piped());
        let mut child = service.spawn().unwrap();
        let (tell, lines) = channel();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || printed.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let (address, agent) = (String::new(), String::new());
        let mut service = Service { child, command, directory, lines, address, agent };
        service.agent = host(&service.line_with(&["listening on http://"]));
        service.address = host(&service.line_with(&["curl http://"]));
        Some(service)
    }

    /// Waits for the next line that has all these parts.
    fn line_with(&self, parts: &[&str]) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE) else { panic!("no {parts:?} in {seen:#?}") };
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(&self.command);
        command.args(arguments).env("LOOPSCOPE_RUNTIME_DIR", &self.directory);
        let output = command.output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{arguments:?}: {out}{error}"))
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Requests a path until the command tells of an incident that is the one. Returns that one in full.
    fn incident_of(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            get(&self.address, path);
            let told = self.json(&["incidents", &self.pid(), "--json", "--last", "100"]);
            for incident in told["incidents"].as_array().unwrap() {
                let full = self.json(&["incidents", incident["id"].as_str().unwrap(), "--json"]);
                if is_it(&full) {
                    return full;
                }
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {told:#}");
        }
    }

    /// Requests a path again and again while the doctor watches, until that finds it.
    fn doctor_finds(&self, path: &'static str, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let address = self.address.clone();
            let asking = std::thread::spawn(move || (0..4).for_each(|_| _ = get(&address, path)));
            let told = self.json(&["doctor", &self.pid(), "--for", "1s", "--json"]);
            asking.join().unwrap();
            if let Some(found) = told["findings"].as_array().unwrap().iter().find(|finding| is_it(finding)) {
                return found.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {told:#}");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Returns the `host:port` of the URL in a line.
fn host(line: &str) -> String {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split(|c: char| !c.is_ascii_digit() && !".:".contains(c)).next().unwrap().to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Tells whether the incident is a block by this route whose guilty function has this name in one of its stacks.
fn is_of(incident: &Value, route: &str, guilty: &str) -> bool {
    let is_guilty = |stack: &Value| {
        let at = stack["guilty"].as_u64().map(|at| at as usize);
        at.is_some_and(|at| stack["frames"][at]["function"].as_str().unwrap_or_default().contains(guilty))
    };
    incident["culprit"]["name"] == route && incident["stacks"].as_array().unwrap().iter().any(is_guilty)
}

fn has(value: &Value, part: &str) -> bool {
    value.as_str().unwrap_or_default().contains(part)
}

#[test]
fn each_fault_of_the_service_is_reported_with_its_line_and_what_is_none_is_not() {
    let Some(service) = Service::start() else { return };
    // While it computes, the log says by which route and in which function.
    let invoice = "GET /invoice/{id}";
    get(&service.address, "/invoice/7");
    let line = service.line_with(&["WARN", " by poll "]);
    assert!(line.contains("worker web/") && line.contains(invoice), "{line}");
    let told = service.incident_of("/invoice/7", |one| is_of(one, invoice, "parse_invoice"));
    assert!(told["group"] == "web" && told["runtime"] == "tokio", "{told:#}");
    let places = |one: &Value| -> bool {
        let frames = one["stacks"].as_array().unwrap().iter().flat_map(|stack| stack["frames"].as_array());
        frames.flatten().any(|frame| has(&frame["file"], "tokio_service.rs") && frame["line"].is_u64())
    };
    assert!(places(&told), "no line of the service: {told:#}");
    let found = service.doctor_finds("/invoice/7", |finding| has(&finding["headline"], invoice));
    assert!(has(&found["remedy"], "spawn_blocking"), "{found:#}");

    let told = service.incident_of("/sleep", |one| {
        is_of(one, "GET /sleep", "sleep_the_wrong_way") && one["class"] == "waiting"
    });
    assert!(has(&told["waiting_in"], "nanosleep"), "{told:#}");
    let told = service
        .incident_of("/lock", |one| is_of(one, "GET /lock", "add_account") && one["class"] == "waiting");
    assert!(has(&told["waiting_in"], "futex"), "{told:#}");
    service.incident_of("/flood", |one| one["kind"] == "pool" && has(&one["loop"], "web"));

    // What it all was, by route, for Prometheus, and in `top`.
    let metrics = get(&service.agent, "/metrics");
    for family in ["loopscope_blocked_total", "loopscope_callback_duration_seconds_count"] {
        let is_it = |line: &str| line.starts_with(family) && line.contains("loop=\"web\"");
        assert!(metrics.lines().any(is_it), "{family}: {metrics}");
    }
    assert!(metrics.contains(invoice), "{metrics}");
    let top = service.json(&["top", "--once", "--json"]);
    assert!(top.to_string().contains("\"web\""), "{top:#}");

    // A task that wakes itself yields: it is no stall, however long it is.
    let mut spinning = TcpStream::connect(&service.address).unwrap();
    write!(spinning, "GET /spin HTTP/1.1\r\nHost: {}\r\n\r\n", service.address).unwrap();
    service.doctor_finds("/", |finding| {
        has(&finding["headline"], "GET /spin") && has(&finding["headline"], "waking itself")
    });
    let told = service.json(&["incidents", &service.pid(), "--json", "--last", "100"]);
    // But for a worker that had no processor.
    let is_spin = |one: &Value| one["culprit"]["name"] == "GET /spin" && one["class"] != "starved_of_cpu";
    assert!(!told["incidents"].as_array().unwrap().iter().any(is_spin), "{told:#}");
}
