//! What the agent costs: CPU beside a busy loop, beside one that is always stalled, and when idle; wake-ups when
//! idle, resident memory, time to render a page with 1,000 histogram series. `agent SECONDS THRESHOLD_MS`: each state
//! for so long, at this threshold (10 and 40 where nothing is given).

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::{this_thread, thread_cpu_ns, thread_named};
use loopscope_benches::flipflop::Spread;
use loopscope_probe::{Kind, Phase, Queue, TaskTimes, Writer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let length = Duration::from_secs(seconds);
    let threshold = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(40);
    let before_kib = resident_kib();
    let thresholds = (Duration::from_millis(threshold), Duration::from_secs(1));
    let free_port = Listen::Exactly("127.0.0.1:0".parse().expect("an address"));
    let agent = Agent::builder()
        .listen(free_port)
        .thresholds(thresholds.0, thresholds.1)
        .start()
        .expect("a free port");
    let tid = thread_named("loopscope-agent").expect("the agent's thread is named");
    let mut writer = Writer::builder("bench").build();
    busy(&mut writer, Duration::from_millis(300));
    println!("page and agent resident: {} KiB\n", resident_kib() - before_kib);

    println!("| state | agent CPU, % of a core | agent wake-ups per second |\n|---|---|---|");
    let state = format!("busy loop, threshold {threshold} ms");
    row(&state, tid, length, |length| busy(&mut writer, length));
    let stalled = thresholds.0 * 3 / 2;
    row("each busy period a stall", tid, length, |length| busy_periods(&mut writer, stalled, length));
    floor(length, &mut writer);
    // The agent falls asleep 100 ms after the last work.
    std::thread::sleep(Duration::from_millis(500));
    row("all loops idle", tid, length, std::thread::sleep);
    wake_up(&mut writer);
    drop(writer);
    render(agent.address().expect("it listens"));
}

/// How long after a loop's first work the sleeping agent has looked at it.
fn wake_up(writer: &mut Writer) {
    let looked_at = |writer: &Writer| writer.page().control().tick_unix_ns();
    let mut all_us = Vec::new();
    for _ in 0..20 {
        // Longer than it takes to fall asleep; its heartbeat every 5 s hardly ever falls into the measured moment.
        std::thread::sleep(Duration::from_millis(300));
        let (before, start) = (looked_at(writer), Instant::now());
        writer.resume();
        while looked_at(writer) == before {
            std::hint::spin_loop();
        }
        all_us.push(start.elapsed().as_secs_f64() * 1e6);
        writer.suspend();
    }
    let slowest = all_us.iter().copied().fold(0.0, f64::max);
    let Spread { low, median, high, .. } = Spread::of(all_us);
    println!(
        "\nfirst work to the agent's look, 20 times: median {median:.0} us [{low:.0}, {high:.0}], slowest {slowest:.0} us"
    );
}

/// What a thread costs here that wakes every 10 ms and does nothing, beside the same busy loop.
fn floor(length: Duration, writer: &mut Writer) {
    let (is_over, tid) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    let (told, own) = (is_over.clone(), tid.clone());
    let sleeper = std::thread::spawn(move || {
        own.store(this_thread(), Ordering::SeqCst);
        while !told.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    while tid.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let tid = tid.load(Ordering::SeqCst);
    row("a thread that only sleeps 10 ms (floor)", tid, length, |length| busy(writer, length));
    is_over.store(true, Ordering::Relaxed);
    sleeper.join().expect("it only sleeps");
}

/// Keeps a loop turning: 1 ms of work, 1 ms in the poll.
fn busy(writer: &mut Writer, length: Duration) {
    busy_periods(writer, Duration::from_millis(1), length);
}

/// Keeps a loop turning: so much `work`, 1 ms in the poll.
fn busy_periods(writer: &mut Writer, work: Duration, length: Duration) {
    let site = writer.site(Location::caller(), Kind::Timer);
    let end = Instant::now() + length;
    writer.resume();
    while Instant::now() < end {
        writer.phase(Phase::TIMERS);
        let work_ends = Instant::now() + work;
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        while Instant::now() < work_ends {
            std::hint::spin_loop();
        }
        writer.end();
        writer.drained();
        writer.phase(Phase::POLL);
        writer.park();
        std::thread::sleep(Duration::from_millis(1));
        writer.unpark(0);
    }
    writer.suspend();
}

fn row(state: &str, tid: i32, length: Duration, work: impl FnOnce(Duration)) {
    let (cpu, wakes, start) = (thread_cpu_ns(tid), switches(tid), Instant::now());
    work(length);
    let seconds = start.elapsed().as_secs_f64();
    let share = (thread_cpu_ns(tid) - cpu) as f64 / 1e9 / seconds * 100.0;
    println!("| {state} | {share:.3} | {:.2} |", (switches(tid) - wakes) as f64 / seconds);
}

/// Scrapes a page with a thousand used histogram series, in every format.
fn render(address: SocketAddr) {
    let mut writers: Vec<Writer> = (0..17).map(|at| Writer::builder(&format!("loop{at}")).build()).collect();
    writers.iter_mut().for_each(use_everything);
    let formats = [
        ("text", "text/plain"),
        ("openmetrics", "application/openmetrics-text"),
        (
            "protobuf",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        ),
    ];
    let page = String::from_utf8(get(address, "text/plain")).expect("text is UTF-8");
    let series = page.lines().filter(|line| line.contains("le=\"+Inf\"")).count();
    println!("\n/metrics with {series} histogram series, scraped 50 times in each format:");
    for (name, accept) in formats {
        let (mut all_ms, mut bytes) = (Vec::new(), 0);
        for _ in 0..50 {
            let start = Instant::now();
            bytes = get(address, accept).len();
            all_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let page = String::from_utf8(get(address, "text/plain")).expect("text is UTF-8");
        let own = |part: &str| {
            number_after(
                &page,
                &format!("loopscope_agent_scrape_duration_seconds_{part}{{format=\"{name}\"}}"),
            )
        };
        let mean_ms = own("sum") / own("count") * 1e3;
        let Spread { low, median, high, fastest } = Spread::of(all_ms);
        println!(
            "- {name}, {} KiB: made in {mean_ms:.2} ms (mean, by the agent's clock, reading the pages included); \
             request to last byte: median {median:.2} ms [{low:.2}, {high:.2}], fastest {fastest:.2} ms",
            bytes / 1024
        );
    }
}

/// Returns the value of the first sample of a metric; not a number where it is missing.
fn number_after(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Runs callbacks of every kind in every phase, so that every histogram has something in it.
fn use_everything(writer: &mut Writer) {
    writer.resume();
    for phase in Phase::STANDARD {
        writer.phase(phase);
        for kind in &Kind::ALL[..Kind::CALLBACKS] {
            let site = writer.site(Location::caller(), *kind);
            let life = TaskTimes { submitted: writer.last(), ready: writer.last() };
            writer.begin(*kind, site, life);
            writer.end();
            for queue in Queue::ALL {
                let site = writer.site(Location::caller(), Kind::Tick);
                writer.drain_begin(*queue, 1);
                writer.begin(Kind::Tick, site, TaskTimes::UNKNOWN);
                writer.end();
                writer.drain_end(*queue, 1);
            }
            writer.drained();
        }
    }
    writer.suspend();
}

/// Returns the answer to a request for the page of metrics, head and all.
fn get(address: SocketAddr, accept: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the agent listens");
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .expect("the agent reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the agent answers");
    answer
}

fn resident_kib() -> u64 {
    status_number("/proc/self/status", "VmRSS:")
}

fn switches(tid: i32) -> u64 {
    status_number(&format!("/proc/self/task/{tid}/status"), "voluntary_ctxt_switches:")
}

fn status_number(path: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(path).expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel writes this field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number")
}
