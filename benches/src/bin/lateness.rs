//! Whether who asks the agent makes it late: how much later than planned its ticks begin, alone, and while three scrapers, a
//! drawing of an incident and the live page are answered without a pause. `lateness SECONDS`: each state for so long (10).

use loopscope_agent::{Agent, Listen};
use loopscope_probe::{Kind, Phase, TaskTimes, Writer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// Loops of the process, each with so many sites: pages as full as those of large programs.
const LOOPS: usize = 8;
const SITES: usize = 200;

const LATENESS: &str = "loopscope_agent_tick_lateness_seconds_bucket{le=\"";

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let length = Duration::from_secs(seconds);
    let free_port = Listen::Exactly("127.0.0.1:0".parse().expect("an address"));
    let agent = Agent::builder()
        .listen(free_port)
        .thresholds(Duration::from_millis(20), Duration::from_secs(1))
        .start()
        .expect("a free port");
    let address = agent.address().expect("it listens");
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    println!(
        "| state | ticks | lateness p50 | p99 | p99.9 | largest | answers a second |\n|---|---|---|---|---|---|---|"
    );
    std::thread::scope(|scope| {
        (0..LOOPS).for_each(|number| {
            drop(scope.spawn({
                let is_over = &is_over;
                move || turn(number, is_over)
            }))
        });
        std::thread::sleep(Duration::from_secs(2));
        row("alone", address, length, &answers);
        ask_all(scope, address, &is_over, &answers);
        std::thread::sleep(Duration::from_millis(500));
        row("asked without a pause", address, length, &answers);
        is_over.store(true, Relaxed);
    });
}

/// Keeps a loop turning: 1 ms of work in one of many callbacks, 4 ms in the poll, and a stall of 30 ms every two seconds.
fn turn(number: usize, is_over: &AtomicBool) {
    let mut writer = Writer::builder(&format!("loop-{number}")).build();
    let name = |site: usize| format!("callback {site} of a program with many");
    let sites: Vec<_> =
        (0..SITES).map(|site| writer.named_site(Location::caller(), Kind::Timer, &name(site))).collect();
    let (begin, mut stalls) = (Instant::now(), 0);
    writer.resume();
    for site in sites.iter().cycle() {
        writer.phase(Phase::TIMERS);
        writer.begin(Kind::Timer, *site, TaskTimes::UNKNOWN);
        let is_stall = begin.elapsed().as_secs() / 2 > stalls;
        stalls += u64::from(is_stall);
        std::thread::sleep(Duration::from_millis(if is_stall { 30 } else { 1 }));
        writer.end();
        writer.drained();
        writer.phase(Phase::POLL);
        writer.park();
        std::thread::sleep(Duration::from_millis(4));
        writer.unpark(1);
        if is_over.load(Relaxed) {
            break;
        }
    }
    writer.suspend();
}

/// Three scrapers of three formats, all with gzip, the picture of an incident, and the live page.
fn ask_all<'a>(
    scope: &'a Scope<'a, '_>,
    address: SocketAddr,
    is_over: &'a AtomicBool,
    answers: &'a AtomicU64,
) {
    let list = get(address, "/debug/loopscope/incidents", "");
    let id =
        list.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a stall was found");
    let picture = format!("/debug/loopscope/incidents/{id}?format=svg");
    let gzip = "Accept-Encoding: gzip\r\n";
    let open = format!("Accept: application/openmetrics-text;version=1.0.0\r\n{gzip}");
    let protobuf = format!(
        "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n{gzip}"
    );
    let asked = [
        ("/metrics".to_owned(), gzip.to_owned()),
        ("/metrics".to_owned(), open),
        ("/metrics".to_owned(), protobuf),
        (picture, String::new()),
        ("/debug/loopscope/live".to_owned(), String::new()),
    ];
    for (path, headers) in asked {
        scope.spawn(move || {
            while !is_over.load(Relaxed) {
                get(address, &path, &headers);
                answers.fetch_add(1, Relaxed);
            }
        });
    }
}

fn row(state: &str, address: SocketAddr, length: Duration, answers: &AtomicU64) {
    let (before, asked, start) = (lateness(address), answers.load(Relaxed), Instant::now());
    std::thread::sleep(length);
    let (after, answered) = (lateness(address), answers.load(Relaxed) - asked);
    let a_second = answered as f64 / start.elapsed().as_secs_f64();
    let counts: Vec<(f64, f64)> = after
        .iter()
        .map(|(bound, count)| {
            let earlier =
                before.iter().rfind(|(earlier, _)| earlier <= bound).map_or(0.0, |(_, count)| *count);
            (*bound, count - earlier)
        })
        .collect();
    let total = counts.last().map_or(0.0, |(_, count)| *count);
    let quantile = |part: f64| {
        let bound = counts.iter().find(|(_, count)| *count >= total * part).map_or(0.0, |(bound, _)| *bound);
        format!("<= {:.2} ms", bound * 1e3)
    };
    let [p50, p99, p999, largest] = [0.5, 0.99, 0.999, 1.0].map(quantile);
    println!("| {state} | {total:.0} | {p50} | {p99} | {p999} | {largest} | {a_second:.0} |");
}

/// Reads the buckets of the agent's lateness: bound in seconds, count up to it.
fn lateness(address: SocketAddr) -> Vec<(f64, f64)> {
    let page = get(address, "/metrics", "");
    let bucket = |line: &str| {
        let (bound, count) = line.strip_prefix(LATENESS)?.split_once("\"} ")?;
        Some((bound.replace("+Inf", "inf").parse().ok()?, count.split(' ').next()?.parse().ok()?))
    };
    page.lines().filter_map(bucket).collect()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the agent listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the agent reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the agent answers");
    String::from_utf8_lossy(&answer).into_owned()
}
