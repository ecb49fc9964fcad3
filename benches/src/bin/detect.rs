//! How late stalls are found beyond the threshold, and what being watched costs a healthy loop.
//!
//! `detect [STALLS]`: a real loop's page is blocked so often, for twice the threshold, in turns by computing and by
//! sleeping; then a healthy loop is measured without an agent, without one again (the A/A control), and with one.

use loopscope_agent::{Action, Agent, Listen};
use loopscope_benches::flipflop::Spread;
use loopscope_probe::{Kind, TaskTimes, Writer};
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const THRESHOLD: Duration = Duration::from_millis(10);
const ROUNDS: usize = 30;
const OPS: u64 = 2_000_000;

fn main() {
    let stalls = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    detection(stalls);
    healthy_cost();
}

fn detection(stalls: usize) {
    let (say, told) = channel();
    let note = move |incident: &loopscope_report::incident::Incident| {
        if incident.is_over {
            let age_ns = incident.stacks.first().and_then(|stack| stack.ages_ns.first().copied());
            let _ = say.send((incident.was_missed, age_ns, incident.threshold_ns));
        }
    };
    let agent = Agent::builder()
        .listen(Listen::Nowhere)
        .thresholds(THRESHOLD, Duration::from_secs(60))
        .reports_per_minute(u32::MAX)
        .on_incident(Action::Call(Arc::new(note)))
        .start()
        .expect("the first agent of this process");
    let mut writer = Writer::builder("detect").build();
    let site = writer.named_site(Location::caller(), Kind::Timer, "stall");
    writer.resume();
    writer.park();
    for stall in 0..stalls {
        std::thread::sleep(Duration::from_millis(15));
        writer.unpark(1);
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        match stall % 2 {
            0 => spin(THRESHOLD * 2),
            _ => std::thread::sleep(THRESHOLD * 2),
        }
        writer.end();
        writer.park();
    }
    let mut delays_ms = Vec::new();
    let (mut missed, mut without_stack) = (0, 0);
    for _ in 0..stalls {
        match told.recv_timeout(Duration::from_secs(40)) {
            Ok((true, ..)) => missed += 1,
            Ok((false, Some(age_ns), threshold_ns)) => {
                delays_ms.push(age_ns.saturating_sub(threshold_ns) as f64 / 1e6);
            }
            Ok((false, None, _)) => without_stack += 1,
            Err(_) => break,
        }
    }
    agent.stop();
    println!("{stalls} stalls of {:?} at a threshold of {THRESHOLD:?}:", THRESHOLD * 2);
    println!(
        "  found while they lasted {}, only afterwards {missed}, without a stack {without_stack}",
        delays_ms.len()
    );
    if !delays_ms.is_empty() {
        let worst = delays_ms.iter().copied().fold(0.0, f64::max);
        println!(
            "  beyond the threshold: median {:.2} ms, worst {worst:.2} ms",
            Spread::of(delays_ms).median
        );
    }
}

fn spin(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Nanoseconds of the loop's thread per callback, polls included.
fn slice(writer: &mut Writer) -> f64 {
    let site = writer.named_site(Location::caller(), Kind::Timer, "healthy");
    let tid = loopscope_benches::cputime::this_thread();
    let start = loopscope_benches::cputime::thread_cpu_ns(tid);
    for op in 0..OPS {
        if op % 64 == 0 {
            writer.park();
            writer.unpark(1);
        }
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        std::hint::black_box(op);
        writer.end();
    }
    (loopscope_benches::cputime::thread_cpu_ns(tid) - start) as f64 / OPS as f64
}

fn healthy_cost() {
    let mut writer = Writer::builder("healthy").build();
    writer.resume();
    slice(&mut writer);
    let (mut control, mut added) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = slice(&mut writer);
        control.push(slice(&mut writer) - alone);
        let agent = Agent::builder().listen(Listen::Nowhere).thresholds(THRESHOLD, Duration::from_secs(60));
        let agent = agent.start().expect("the last one was stopped");
        added.push(slice(&mut writer) - alone);
        agent.stop();
    }
    for (name, values) in [("A/A control", control), ("with an agent", added)] {
        let Spread { low, median, high, .. } = Spread::of(values);
        println!("{name}: {median:+.2} ns a callback [{low:+.2}, {high:+.2}]");
    }
}
