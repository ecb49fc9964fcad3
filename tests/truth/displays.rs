//! The displays: what the command prints, what agents and a server of the host answer.

use super::program::{DEADLINE, Program};
use loopscope_probe::raw::clock::unix_ns;
use serde_json::Value;
use std::fs::DirBuilder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory for pages, and the server that tells of them.
pub struct Displays {
    program: PathBuf,
    pub runtime: PathBuf,
    server: Child,
    /// Its `host:port`.
    address: String,
}

/// A page of metrics.
pub struct Metrics(String);

impl Displays {
    /// Starts the server; `None` where the command is not built.
    pub fn open() -> Option<Displays> {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("loopscope");
        if !program.exists() {
            return None;
        }
        let runtime = PathBuf::from(format!("/dev/shm/loopscope-truth-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&runtime).unwrap();
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("LOOPSCOPE_RUNTIME_DIR", &runtime);
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("  metrics  ")).unwrap();
        let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Some(Displays { program, runtime, server, address })
    }

    /// Runs the command and returns what it printed.
    pub fn text(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LOOPSCOPE_RUNTIME_DIR", &self.runtime).env("COLUMNS", "200");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let code = output.status.code();
        let (out, error) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        // 4 says that something is wrong with the program.
        assert!(matches!(code, Some(0 | 4)), "{arguments:?} ended with {code:?}: {out}{error}");
        out
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Returns the metrics of an agent.
    pub fn metrics_of(&self, agent: &str) -> Metrics {
        Metrics(get(agent, "/metrics"))
    }

    /// Returns the metrics of all processes.
    pub fn metrics(&self) -> Metrics {
        Metrics(get(&self.address, "/metrics"))
    }

    /// Returns each display's entry of a process: with its name, and whether its figures are of the loops' whole lives.
    pub fn processes(&self, pid: u32) -> Vec<(&'static str, bool, Value)> {
        let views = [
            ("ls --json", true, self.json(&["ls", "--json"])),
            ("top --json", false, self.json(&["top", "--once", "--json", "--every", "100ms"])),
            ("serve's list", false, self.list_with(pid)),
        ];
        let own = views.map(|(name, is_whole, view)| {
            let processes = view["processes"].as_array().unwrap();
            let own = processes.iter().find(|process| process["pid"] == pid);
            (name, is_whole, own.unwrap_or_else(|| panic!("{name} has no {pid}: {view}")).clone())
        });
        own.to_vec()
    }
}

impl Displays {
    /// Starts a program, and waits until the server follows it: it looks for new ones once a second.
    pub fn start(&self, case: &str) -> Program {
        let program = Program::start(case, &self.runtime);
        self.list_with(program.pid);
        program
    }

    /// Returns a list of the server that is newer than this call and has the process.
    fn list_with(&self, pid: u32) -> Value {
        let (deadline, asked_ns) = (Instant::now() + DEADLINE, unix_ns());
        loop {
            // With too many viewers at once it says that.
            let live = get(&self.address, "/debug/loopscope/live");
            let live: Value = serde_json::from_str(&live).unwrap_or_default();
            let processes = live["processes"].as_array();
            let is_there = processes.is_some_and(|all| all.iter().any(|process| process["pid"] == pid));
            let is_new = live["unix_ns"].as_u64() > Some(asked_ns);
            if is_there && is_new || Instant::now() > deadline {
                return live;
            }
            // It is made anew twice a second, and each question takes a connection.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Displays {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.runtime);
    }
}

impl Metrics {
    /// Returns the sum of the series of this name with all these labels; `None` where there is none. A value that ends with
    /// `(` is that of a site without its place.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let of_line = |line: &str| {
            let (own, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("\"} ")?;
            let has = |(name, wanted): &(&str, &str)| {
                own.split("\",").filter_map(|label| label.split_once("=\"")).any(|(own, value)| {
                    own == *name && (value == *wanted || wanted.ends_with('(') && value.starts_with(wanted))
                })
            };
            labels.iter().all(has).then(|| value.split(' ').next()?.parse::<f64>().ok()).flatten()
        };
        self.0.lines().filter_map(of_line).reduce(|sum, value| sum + value)
    }
}

/// Returns the body of an answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-Loopscope: 1\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}")).1.to_owned()
}
