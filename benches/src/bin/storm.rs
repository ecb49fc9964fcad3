//! What a storm of clients does to the agent and to the loop beside it: 64 scrapers at once and garbage without end,
//! against the same loop left alone.
//!
//! The loop's thread has a processor of its own and everything else shares the other, so that what is seen is what the
//! agent does to the loop, and not that clients take its processor.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::thread_named;
use loopscope_benches::flipflop::Spread;
use loopscope_loop::{Cx, Loop, Mode};
use loopscope_probe::raw::registry::{self, LocalPage};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_secs(2);
const SCRAPERS: usize = 64;
const GARBAGE: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, address] = &arguments[..]
        && role == "clients"
    {
        return clients(address.parse().expect("the parent gave an address"));
    }
    let rounds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let free_port = Listen::Exactly("127.0.0.1:0".parse().expect("an address"));
    let agent = Agent::builder().listen(free_port).start().expect("a free port");
    let address = agent.address().expect("it listens");
    let worker = std::thread::Builder::new().name("the-loop".to_owned()).spawn(run_loop).expect("a thread");
    let page = loop {
        if let Some(page) = registry::pages().into_iter().next() {
            break page;
        }
        std::thread::yield_now();
    };
    pin(thread_named("the-loop").expect("it runs"), "0");
    pin(thread_named("loopscope-agent").expect("it runs"), "1");
    let mut p99_us = [Vec::new(), Vec::new(), Vec::new()];
    let mut told = Vec::new();
    for _ in 0..rounds {
        for (which, values) in p99_us.iter_mut().enumerate() {
            let storm = (which == 2).then(|| start_clients(address));
            values.push(p99_us_of(&page));
            told.extend(storm.map(finish));
        }
    }
    for (name, values) in ["left alone", "the same (A/A)", "in the storm"].into_iter().zip(p99_us) {
        let Spread { low, median, high, .. } = Spread::of(values);
        println!("{name}: p99 lag of the loop {median:.0} us [{low:.0}, {high:.0}]");
    }
    println!("\nclients of the last storm, and of the worst:");
    println!("{}", told.last().expect("there was one"));
    println!("{}", told.iter().max().expect("there was one"));
    // The loop runs for ever; the process ends with it.
    drop((agent, worker));
    std::process::exit(0);
}

/// A loop that has something to do all the time, and is never late by itself.
fn run_loop() {
    let mut work = Loop::builder(()).name("work").build().expect("a loop");
    work.main(|cx| {
        cx.every(Duration::from_millis(1), busy);
    });
    work.run(Mode::Default).expect("nothing of it fails");
}

fn busy(_: &mut Cx<'_, ()>) {
    let end = Instant::now() + Duration::from_micros(100);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn p99_us_of(page: &LocalPage) -> f64 {
    let before = page.page().snapshot(page.clock()).lag;
    std::thread::sleep(SLICE);
    let lag = page.page().snapshot(page.clock()).lag.since(&before);
    lag.quantile_ns(0.99).unwrap_or(0) as f64 / 1e3
}

/// The processors of other threads are not ours to choose by a safe call.
fn pin(tid: i32, processor: &str) {
    let pinned =
        Command::new("taskset").args(["-cp", processor, &tid.to_string()]).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset of util-linux is needed");
}

fn start_clients(address: SocketAddr) -> Child {
    let program = std::env::current_exe().expect("it runs").into_os_string();
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(program).args(["clients", &address.to_string()]);
    command.stdout(Stdio::piped()).spawn().expect("this program is there")
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends by itself");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The storm: scrapers all at once, garbage one after the other, and somebody who asks whether the agent lives.
fn clients(address: SocketAddr) {
    let (scraped, refused, thrown) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let end = Instant::now() + SLICE;
    let mut waits_ms = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..SCRAPERS {
            scope.spawn(|| {
                let answer =
                    ask(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                let is_whole = answer.is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200 "));
                let count = if is_whole { &scraped } else { &refused };
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            for number in 0..GARBAGE {
                if Instant::now() >= end {
                    break;
                }
                let bytes: Vec<u8> = (0..200).map(|at| (at * 31 + number * 7) as u8).collect();
                ask(address, &bytes);
                thrown.fetch_add(1, Ordering::Relaxed);
            }
        });
        while Instant::now() < end {
            let asked = Instant::now();
            ask(address, b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            waits_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    waits_ms.sort_by(f64::total_cmp);
    let at = |share: f64| waits_ms[((waits_ms.len() - 1) as f64 * share) as usize];
    println!(
        "slowest health check {:7.1} ms, p99 {:.1} ms, median {:.2} ms of {}; {} scrapes whole, {} refused; {} times garbage",
        at(1.0),
        at(0.99),
        at(0.5),
        waits_ms.len(),
        scraped.into_inner(),
        refused.into_inner(),
        thrown.into_inner()
    );
}

fn ask(address: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    // A server that has had enough may close before all of it is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}
