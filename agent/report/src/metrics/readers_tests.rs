//! The page as others read it: Prometheus with and without native histograms, and Python's OpenMetrics parser. Each
//! runs where its program is installed.

use super::format::MetricsFormat;
use super::program_families::{ProgramFamilies, ProgramValue};
use super::recorder_tests::RENDERED;
use super::render::tests::{full_agent, full_view};
use super::render::{Rendered, render};
use crate::model::exemplar::Exemplar;
use loopscope_probe::raw::clock::unix_ns;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Every format of one and the same page: two loops that did everything, exemplars, and the host's own metrics.
struct Pages([Vec<u8>; MetricsFormat::COUNT]);

impl Pages {
    fn write() -> Pages {
        let mut loops = [full_view("main"), full_view("b\\\"\n\u{e4}\u{1}")];
        let value_ns = 300_000_000;
        let exemplar = Exemplar { incident_id: "4711-3".to_owned(), value_ns, unix_ns: unix_ns() };
        loops[0].stalls.blocked_exemplars.note(exemplar);
        let agent = full_agent();
        let body = |format| {
            let Rendered { body, left_out, .. } = render(format, &loops, &agent, RENDERED);
            assert_eq!(left_out, 0);
            body
        };
        Pages(MetricsFormat::ALL.map(body))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0[MetricsFormat::Text as usize].clone()).unwrap()
    }
}

/// Returns a Python that has the parser. Debian's package of it is for Debian's Python, which need not be the first one
/// on the path.
fn python() -> Option<&'static str> {
    let has_parser = |program: &&str| {
        let mut import = Command::new(program);
        import.args(["-c", "import prometheus_client.openmetrics.parser"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has_parser)
}

#[test]
fn python_s_openmetrics_parser_takes_the_page() {
    let Some(python) = python() else {
        return println!("skipped: Python reading a page: install the package python3-prometheus-client");
    };
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                  families = list(parse(sys.stdin.buffer.read().decode()))\n\
                  print(len(families), sum(1 for f in families for s in f.samples if s.exemplar))\n";
    let mut python = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pages = Pages::write();
    // One that fails early says why only on its own output.
    let written = python.stdin.take().unwrap().write_all(&pages.0[MetricsFormat::OpenMetrics as usize]);
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    written.unwrap();
    let families = pages.text().matches("# TYPE ").count();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), format!("{families} 1"));
}

/// Answers every request with the page, in the format it asks for.
fn serve(pages: Arc<Pages>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().skip(1).map_while(Result::ok);
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let accepts = |media: &str| {
                let accept = headers.iter().filter(|line| line.to_ascii_lowercase().starts_with("accept:"));
                accept.into_iter().any(|line| line.contains(media))
            };
            let format = match () {
                () if accepts("application/vnd.google.protobuf") => MetricsFormat::Protobuf,
                () if accepts("application/openmetrics-text") => MetricsFormat::OpenMetrics,
                () => MetricsFormat::Text,
            };
            let body = &pages.0[format as usize];
            let (kind, length) = (format.content_type(), body.len());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            // A scraper that has gone away is no matter.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

/// A running Prometheus, ended when dropped.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes `target`; `None` where it is not installed.
    fn start(target: SocketAddr, features: &str) -> Option<Prometheus> {
        let folder = std::env::temp_dir().join(format!(
            "loopscope-prometheus-{}-{}",
            std::process::id(),
            target.port()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: page\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let spawned = Command::new("prometheus")
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--web.listen-address=127.0.0.1:0",
            ])
            .arg(format!("--enable-feature={features}"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: Prometheus reading a page: install the package prometheus");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut said) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "{said}");
            said.push_str(&line);
            let listens = line.contains("msg=\"Listening on\"");
            if let Some(address) = line.split("address=").nth(1).filter(|_| listens) {
                break address.trim().parse().unwrap();
            }
        };
        // What it says from now on must not fill its pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Prometheus { child, folder, address })
    }

    fn raw(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.raw(&format!("/api/v1/{path}"));
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].clone()
    }

    fn until_scraped(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.raw("/-/ready").starts_with("HTTP/1.0 200") {
            assert!(Instant::now() < deadline, "Prometheus does not get ready");
        }
        // A target is healthy a moment before its samples can be asked for.
        while self.query("count(up{job=\"page\"} == 1)").is_empty() {
            let target = self.get("targets")["activeTargets"][0].clone();
            assert_ne!(target["health"], "down", "{}", target["lastError"]);
            assert!(Instant::now() < deadline, "{target}");
        }
    }

    /// Asks for a vector: values by name and labels.
    fn query(&self, query: &str) -> BTreeMap<String, f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.get(&format!("query?query={escaped}"));
        let series = data["result"].as_array().unwrap().iter().map(|one| {
            let labels = one["metric"].as_object().unwrap().iter();
            let labels: Vec<(&str, &str)> =
                labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            (key(&labels), one["value"][1].as_str().map_or(f64::NAN, |value| value.parse().unwrap()))
        });
        series
            .filter(|(key, _)| !key.contains("__name__=\"scrape_") && !key.contains("__name__=\"up\""))
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Names a series in one way, whatever the format made of its labels' order, bounds and empty values.
fn key(labels: &[(&str, &str)]) -> String {
    let kept = labels.iter().filter(|(name, value)| !["job", "instance"].contains(name) && !value.is_empty());
    let parts: BTreeMap<&str, String> = kept
        .map(|(name, value)| match *name {
            "le" => (*name, format!("{:?}", value.parse::<f64>().unwrap())),
            _ => (*name, format!("{value:?}")),
        })
        .collect();
    parts.iter().map(|(name, value)| format!("{name}={value},")).collect()
}

/// The samples of a page of text, as Prometheus should have them.
#[derive(Default)]
struct Expected {
    numbers: BTreeMap<String, f64>,
    /// Parts of histograms that the page has as native ones, too.
    native: BTreeMap<String, f64>,
    /// Names of those.
    native_names: Vec<String>,
}

impl Expected {
    fn of(text: &str) -> Expected {
        let mut expected = Expected::default();
        for family in ProgramFamilies::read(text, |_| false).families {
            let is_native = family.name.starts_with("loopscope_");
            if is_native && matches!(family.series[0].value, ProgramValue::Histogram(_)) {
                expected.native_names.push(family.name.clone());
            }
            for series in &family.series {
                let labels: Vec<(&str, &str)> =
                    series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let keyed = |suffix: &str, more: &[(&str, &str)]| {
                    let name = format!("{}{suffix}", family.name);
                    key(&[&[("__name__", name.as_str())], &labels[..], more].concat())
                };
                match &series.value {
                    ProgramValue::Number(number) => {
                        expected.numbers.insert(keyed("", &[]), number.value());
                    }
                    ProgramValue::Histogram(values) => {
                        let into = if is_native { &mut expected.native } else { &mut expected.numbers };
                        into.insert(keyed("_sum", &[]), values.sum);
                        into.insert(keyed("_count", &[]), values.count as f64);
                        for (bound, count) in values.bounds.iter().chain([&(f64::INFINITY, values.count)]) {
                            into.insert(keyed("_bucket", &[("le", &format!("{bound:?}"))]), *count as f64);
                        }
                    }
                }
            }
        }
        expected
    }
}

fn assert_same(found: &BTreeMap<String, f64>, expected: &BTreeMap<String, f64>) {
    let lacking: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).take(5).collect();
    let unknown: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).take(5).collect();
    assert!(lacking.is_empty() && unknown.is_empty(), "lacking {lacking:?}\nunknown {unknown:?}");
    for (key, value) in expected {
        let is_same = found[key] == *value || (found[key] - value).abs() <= value.abs() * 1e-12;
        assert!(is_same, "{key}: {} is not {value}", found[key]);
    }
}

#[test]
fn prometheus_reads_from_openmetrics_what_the_text_says() {
    let pages = Arc::new(Pages::write());
    let Some(server) = Prometheus::start(serve(pages.clone()), "exemplar-storage") else { return };
    server.until_scraped();
    let Expected { mut numbers, native, .. } = Expected::of(&pages.text());
    numbers.extend(native);
    assert_same(&server.query("{job=\"page\"}"), &numbers);
    let now = unix_ns() / 1_000_000_000;
    let found = server.get(&format!(
        "query_exemplars?query=loopscope_blocked_duration_seconds_bucket&start={}&end={}",
        now - 600,
        now + 600
    ));
    assert_eq!(found[0]["seriesLabels"]["le"], "0.35355339", "{found}");
    assert_eq!(found[0]["exemplars"][0]["labels"]["incident_id"], "4711-3", "{found}");
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[test]
fn prometheus_reads_native_histograms_that_add_up_to_the_text_s() {
    let pages = Arc::new(Pages::write());
    let Some(server) = Prometheus::start(serve(pages.clone()), "native-histograms") else { return };
    server.until_scraped();
    let Expected { numbers, native, native_names } = Expected::of(&pages.text());
    // Native series have no value of their own in the answer of 2.42, so they are asked for one by one.
    let found = server.query("{job=\"page\"}");
    let is_native = |key: &String| native_names.iter().any(|name| key.contains(&format!("=\"{name}\"")));
    let (histograms, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        found.into_iter().partition(|(key, _)| is_native(key));
    assert_same(&others, &numbers);
    assert_eq!(histograms.len(), native.keys().filter(|key| key.contains("_count\"")).count());
    for name in &native_names {
        for part in ["count", "sum"] {
            let query = format!(
                "label_replace(histogram_{part}({name}), \"__name__\", \"{name}_{part}\", \"\", \"\")"
            );
            let name_of_part = format!("=\"{name}_{part}\"");
            let wanted = native.iter().filter(|(key, _)| key.contains(&name_of_part));
            let wanted: BTreeMap<_, _> = wanted.map(|(key, value)| (key.clone(), *value)).collect();
            assert_same(&server.query(&query), &wanted);
        }
    }
    // Three callbacks of 1 ms, 300 ms and 2 s: the middle one's bucket is a twelfth of an octave wide.
    let timer = "loopscope_callback_duration_seconds{loop=\"main\",kind=\"timer\"}";
    let median = server.query(&format!("histogram_quantile(0.5, {timer})"));
    let median = *median.values().next().unwrap();
    assert!((0.27..=0.33).contains(&median), "{median}");
    let within = server.query(&format!("histogram_fraction(0, 0.5, {timer})"));
    let within = *within.values().next().unwrap();
    assert!((within - 2.0 / 3.0).abs() < 1e-9, "{within}");
}
