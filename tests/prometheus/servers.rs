//! The real servers: each starts on a free port, says in its log which one, and ends with its value.

use super::http::{encoded, get};
use loopscope_dashboards::durations::Durations;
use loopscope_dashboards::output::RUNBOOKS;
use loopscope_dashboards::{alerts, recorded, yaml};
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Only to fail: what is waited for comes within half a minute on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Servers that scrape once a second need not be asked more often.
pub const BETWEEN: Duration = Duration::from_millis(250);

/// Asks again until it is well; the error says what was waited for.
pub fn until(mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(what) = look() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(BETWEEN);
    }
}

/// A folder that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("loopscope-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that is left over is in the folder for such files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that runs until this is dropped.
struct Server {
    child: Child,
    address: String,
    /// Keeps the log's pipe open: a program must not die of its log.
    _log: Receiver<String>,
}

impl Server {
    /// Starts `command`, and waits for the line of its log that tells its address: what `find` makes of a line.
    /// `None`, with a word about it, where there is no such program.
    fn start(command: &mut Command, package: &str, find: impl Fn(&str) -> Option<String>) -> Option<Server> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let file = Path::new(&name).file_name().unwrap_or_default().display();
                    println!("skipped: against a real {file}: not installed; it is in {package}");
                    return None;
                }
                Err(error) => panic!("{name}: {error}"),
            };
        let (send, log) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let send = send.clone();
            std::thread::spawn(move || {
                // Reads on when nobody listens any more.
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| {
                    let _ = send.send(line);
                });
            });
        }
        drop(send);
        let mut seen = Vec::new();
        let address = loop {
            let Ok(line) = log.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("{name} told no address: {seen:#?}");
            };
            if let Some(address) = find(&line) {
                break address;
            }
            seen.push(line);
        };
        Some(Server { child, address, _log: log })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Prometheus and Alertmanager log once they listen.
fn listening(line: &str) -> Option<String> {
    if !line.contains("msg=\"Listening on\"") {
        return None;
    }
    line.split("address=").nth(1).map(|address| address.trim().to_owned())
}

/// What is scraped.
pub struct Target<'a> {
    pub job: &'a str,
    pub address: &'a str,
}

/// How a Prometheus keeps histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A series for each bucket.
    Classic,
    /// One series for a histogram, where the target offers that.
    Native,
}

impl Storage {
    /// Returns the label `storage` of what such a server sends.
    pub fn name(self) -> &'static str {
        match self {
            Storage::Classic => "classic",
            Storage::Native => "native",
        }
    }
}

pub struct Prometheus {
    server: Server,
    pub storage: Storage,
}

impl Prometheus {
    /// Starts one that scrapes `targets` every second and sends its alerts to `alertmanager`.
    pub fn start(
        scratch: &Scratch,
        storage: Storage,
        targets: &[Target<'_>],
        alertmanager: Option<&str>,
    ) -> Option<Prometheus> {
        let pace = Durations::Hurried;
        scratch.write("rules.yml", &yaml::recording(&recorded::groups(pace)));
        scratch.write("alerts.yml", &yaml::alerts(&alerts::groups(pace), pace, RUNBOOKS));
        let mut configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{ storage: {} }} }}\n\
             rule_files: [rules.yml, alerts.yml]\n",
            storage.name()
        );
        if let Some(address) = alertmanager {
            configuration.push_str(&format!(
                "alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{address}'] }}] }}] }}\n"
            ));
        }
        configuration.push_str("scrape_configs:\n");
        for Target { job, address } in targets {
            configuration.push_str(&format!(
                "  - {{ job_name: {job}, static_configs: [{{ targets: ['{address}'] }}] }}\n"
            ));
        }
        let file = scratch.write("prometheus.yml", &configuration);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.0.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0");
        if storage == Storage::Native {
            command.arg("--enable-feature=native-histograms");
        }
        let server = Server::start(&mut command, "the Debian package prometheus", listening)?;
        Some(Prometheus { server, storage })
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&get(&self.server.address, path)?).ok()
    }

    /// Tells whether a query has a value that is a number, now.
    pub fn has_value(&self, query: &str) -> bool {
        let Some(answer) = self.ask(&format!("/api/v1/query?query={}", encoded(query))) else { return false };
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        // A native histogram as a whole is an answer, too: heatmaps ask for it.
        let is_value = |series: &Value| {
            series["histogram"].is_array() || series["value"][1].as_str().is_some_and(|value| value != "NaN")
        };
        result.iter().any(is_value)
    }

    /// Returns the one value that a query has now; `None` where it has none.
    pub fn value(&self, query: &str) -> Option<f64> {
        let answer = self.ask(&format!("/api/v1/query?query={}", encoded(query)))?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Fails where a rule could not be evaluated.
    pub fn assert_rules_are_healthy(&self) {
        let answer = self.ask("/api/v1/rules").expect("Prometheus answers");
        let groups = answer["data"]["groups"].as_array().expect("a list of groups").clone();
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        let ill: Vec<&&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        assert!(rules.len() > 30 && ill.is_empty(), "{} rules, of which not well: {ill:#?}", rules.len());
    }
}

pub struct Alertmanager(Server);

impl Alertmanager {
    /// Starts one that sends everything to `webhook` at once.
    pub fn start(scratch: &Scratch, webhook: &str) -> Option<Alertmanager> {
        let file = scratch.write(
            "alertmanager.yml",
            &format!(
                "route: {{ receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h }}\n\
                 receivers: [{{ name: hook, webhook_configs: [{{ url: 'http://{webhook}/', send_resolved: true }}] }}]\n"
            ),
        );
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", scratch.0.join("alertmanager").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
        Server::start(&mut command, "the Debian package prometheus-alertmanager", listening).map(Alertmanager)
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }
}

/// `loopscope demo --trouble mixed`.
pub struct Demo(Server);

impl Demo {
    /// Starts the command that was built together with this test.
    pub fn start() -> Option<Demo> {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("loopscope");
        let mut command = Command::new(&program);
        command.args([
            "demo",
            "--trouble",
            "mixed",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ]);
        let metrics = |line: &str| {
            let (before, _) = line.split_once("/metrics")?;
            before.rsplit("http://").next().filter(|address| address.contains(':')).map(str::to_owned)
        };
        Server::start(&mut command, "this workspace: cargo build -p loopscope", metrics).map(Demo)
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }
}
