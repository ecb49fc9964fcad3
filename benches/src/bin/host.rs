//! What `loopscope serve` costs with 200 processes of one loop each: time of a scrape in every format, memory, and
//! processor time while all loops idle, and while all of them are stalled.
//!
//! The processes are 200 that sleep, and their pages copies of one that a busy server wrote: reading and writing them is
//! the same as if loops were behind them, and no loop takes the processor from what is measured.

use loopscope_agent::Listen;
use loopscope_benches::cputime::{thread_cpu_ns, thread_named};
use loopscope_benches::flipflop::Spread;
use loopscope_host::Host;
use loopscope_probe::raw::directory::{Owner, page_files, process_start};
use loopscope_probe::{Kind, Phase, Queue, TaskTimes, WorkKind, Writer};
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PROCESSES: usize = 200;

const SCRAPES: usize = 30;

fn main() {
    let directory = PathBuf::from(format!("/dev/shm/loopscope-bench-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&directory).expect("/dev/shm is there");
    let (page, stalled) = busy_pages(&directory);
    let before_kib = status_number("VmRSS:");
    let host = Host::builder()
        .listen(Listen::Exactly("127.0.0.1:0".parse().expect("an address")))
        .directory(&directory)
        .start()
        .expect("a free port");
    let address = host.address().expect("it has one");
    let sleepers = sleepers(&directory, &page);
    while series(&get(address, "text/plain", ""), "loopscope_loop_info{") < PROCESSES {
        std::thread::sleep(Duration::from_millis(100));
    }
    scrapes(address);
    let resident_kib = status_number("VmRSS:");
    println!("\nresident for it: {} MiB after these scrapes", (resident_kib - before_kib) >> 10);
    follow("idle");
    stall_all(&directory, &stalled);
    follow("stalled");
    drop(host);
    for mut sleeper in sleepers {
        sleeper.kill().expect("it is our child");
        sleeper.wait().expect("it was killed");
    }
    fs::remove_dir_all(directory).expect("it is our own");
}

/// Returns the bytes of the page of a server that did everything there is: four phases, eight kinds, both queues, 40
/// sites, and a pool with three kinds of jobs; polling, and in the middle of a callback.
fn busy_pages(directory: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut writer = Writer::builder("web").runtime("mio").backend("epoll").directory(directory).build();
    let mut pool = writer.take_pool().expect("nobody took it");
    pool.threads(4);
    let kinds = [
        Kind::Timer,
        Kind::Immediate,
        Kind::IoRead,
        Kind::IoWrite,
        Kind::Accept,
        Kind::Async,
        Kind::WorkDone,
        Kind::Close,
    ];
    writer.resume();
    for number in 0..4_000 {
        let kind = kinds[number % kinds.len()];
        let name: &'static str = ["parse", "flush", "render", "accept", "query"][number % 5];
        let site = writer.named_site(Location::caller(), kind, name);
        writer.phase([Phase::TIMERS, Phase::POLL, Phase::CHECK, Phase::CLOSE][number % 4]);
        let now = writer.last();
        writer.begin(kind, site, TaskTimes { submitted: now, ready: now });
        let until = Instant::now() + Duration::from_micros(1 << (number % 9));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        writer.end();
        for queue in Queue::ALL {
            writer.drain_begin(*queue, 2);
            writer.drain_end(*queue, 2);
        }
        writer.drained();
        let kind = [WorkKind::Fs, WorkKind::Dns, WorkKind::User][number % 3];
        let submitted = pool.clock().now();
        pool.submitted(kind, submitted);
        let started = pool.started(kind, submitted, None);
        let finished = pool.clock().now();
        pool.finished(kind, started, finished, true);
        writer.delivered(finished);
        if number % 10 == 0 {
            writer.park();
            writer.unpark(1);
        }
    }
    writer.suspend();
    let path = page_files(directory).expect("it is our own")[0].path.clone();
    let polling = fs::read(&path).expect("the writer has made it");
    writer.resume();
    let site = writer.named_site(Location::caller(), Kind::Timer, "parse");
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    (polling, fs::read(path).expect("the writer has made it"))
}

/// Writes this page over all pages, whose files stay the same.
fn stall_all(directory: &Path, page: &[u8]) {
    for file in page_files(directory).expect("it is our own") {
        let named = named_after(page, file.owner);
        let mut file = File::options().write(true).open(file.path).expect("it is our own");
        file.write_all(&named).expect("it has this length already");
    }
    // So that the beginning of the stalls, which is looked at more closely, is over.
    std::thread::sleep(Duration::from_secs(1));
}

/// Returns a copy of a page that says that this process wrote it: one that says another is not followed.
fn named_after(page: &[u8], owner: Owner) -> Vec<u8> {
    let mut named = page.to_vec();
    // The fourth and fifth words of every page.
    named[24..32].copy_from_slice(&u64::from(owner.pid).to_ne_bytes());
    named[32..40].copy_from_slice(&owner.start.to_ne_bytes());
    named
}

/// Starts processes that sleep, and leaves a page for each.
fn sleepers(directory: &Path, page: &[u8]) -> Vec<Child> {
    let start = |_| {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep is everywhere");
        let start = process_start(child.id()).expect("it has just begun");
        let owner = Owner { pid: child.id(), start };
        let path = directory.join(format!("{}-{start}-0.page", owner.pid));
        fs::write(path, named_after(page, owner)).expect("there is room in /dev/shm");
        child
    };
    (0..PROCESSES).map(start).collect()
}

fn scrapes(address: SocketAddr) {
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    println!("/metrics of {PROCESSES} processes with one busy loop each, {SCRAPES} scrapes in each format:");
    for (name, accept, encoding) in [
        ("text", "text/plain", ""),
        ("text, gzip", "text/plain", "gzip"),
        ("openmetrics", "application/openmetrics-text", ""),
        ("protobuf", protobuf, ""),
        ("protobuf, gzip", protobuf, "gzip"),
    ] {
        let (mut all_ms, mut bytes) = (Vec::new(), 0);
        for _ in 0..SCRAPES {
            let start = Instant::now();
            bytes = get(address, accept, encoding).len();
            all_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let Spread { low, median, high, fastest } = Spread::of(all_ms);
        println!(
            "- {name}, {} KiB: median {median:.1} ms [{low:.1}, {high:.1}], fastest {fastest:.1} ms",
            bytes / 1024
        );
    }
    let page = get(address, "text/plain", "");
    println!("series: {}, samples in text: {}", series(&page, "le=\"+Inf\""), series(&page, "loopscope_"));
    let format = "loopscope_agent_scrape_duration_seconds_sum";
    for line in String::from_utf8_lossy(&page).lines().filter(|line| line.starts_with(format)) {
        println!("  {line}");
    }
}

/// What following 200 loops costs that are idle, or stalled.
fn follow(loops: &str) {
    let tid = thread_named("loopscope-host").expect("the thread is named");
    let (cpu, start) = (thread_cpu_ns(tid), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let share = (thread_cpu_ns(tid) - cpu) as f64 / 1e9 / start.elapsed().as_secs_f64() * 100.0;
    println!("following them, {loops}, nobody asking: {share:.2} % of a core");
}

/// Counts the lines with `part`, of those that are samples.
fn series(page: &[u8], part: &str) -> usize {
    let text = String::from_utf8_lossy(page);
    text.lines().filter(|line| line.starts_with("loopscope_") && line.contains(part)).count()
}

fn get(address: SocketAddr, accept: &str, encoding: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nAccept-Encoding: {encoding}\r\n\
         Connection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    answer
}

fn status_number(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel writes this field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number")
}
