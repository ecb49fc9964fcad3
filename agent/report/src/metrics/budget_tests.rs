//! How many samples a loop may have: what Prometheus has to store for each, in both kinds of histograms.

use super::format::MetricsFormat;
use super::loop_metrics::LoopMetrics;
use super::program_families::{ProgramFamilies, ProgramValue};
use super::render::render;
use super::render::tests::full_agent;
use crate::compute::sites::{Chosen, SITES_PER_PROCESS, totals};
use crate::compute::stall::StallCounts;
use loopscope_probe::{Clock, HandleType, Kind, Phase, Queue, TaskTimes, VirtualClock, WorkKind, Writer};
use std::panic::Location;

/// What a busy server has: every phase, eight kinds of callbacks, both queues, and as many sites as are asked for.
fn busy_view(site_count: usize, jobs: &[WorkKind]) -> LoopMetrics {
    let time = VirtualClock::starting_at(1_000_000);
    let mut writer = Writer::builder("busy").clock(Clock::simulated(time.clone())).build();
    writer.resume();
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
    for (number, kind) in (0..site_count).zip(kinds.iter().cycle()) {
        let name: &'static str = Box::leak(format!("site {number}").into_boxed_str());
        let site = writer.named_site(Location::caller(), *kind, name);
        writer.phase(Phase::STANDARD[number % Phase::STANDARD.len()]);
        let now = writer.last();
        writer.begin(*kind, site, TaskTimes { submitted: now, ready: now });
        time.advance_ns(300_000_000);
        writer.end();
        for queue in Queue::ALL {
            writer.drain_begin(*queue, 3);
            writer.drain_end(*queue, 3);
        }
        writer.drained();
    }
    run_jobs(&mut writer, jobs);
    writer.handles(HandleType::TcpStream, 900);
    writer.phase(Phase::POLL);
    writer.park();
    time.advance_ns(50_000_000);
    writer.unpark(2);
    let clock = writer.clock().clone();
    let snapshot = writer.page().snapshot(&clock);
    let handle_types = snapshot.handles.map(|count| count > 0);
    let (sites, _) = Chosen::default().choose(totals(&snapshot), &mut { SITES_PER_PROCESS });
    LoopMetrics {
        owner: None,
        label: "busy".to_owned(),
        is_at_rest: false,
        is_part: false,
        worker: None,
        workers: Vec::new(),
        snapshot,
        succeeded: [1; 16],
        utilization: 0.25,
        stalls: StallCounts::default(),
        incidents: Some(Default::default()),
        sites,
        handle_types,
        lag_minute: None,
        run_delay_ns: Some(0),
    }
}

fn run_jobs(writer: &mut Writer, jobs: &[WorkKind]) {
    let mut pool = writer.take_pool().unwrap();
    pool.threads(if jobs.is_empty() { 0 } else { 4 });
    for kind in jobs {
        let submitted = pool.clock().now();
        pool.submitted(*kind, submitted);
        let started = pool.started(*kind, submitted, None);
        let finished = pool.clock().now();
        pool.finished(*kind, started, finished, true);
        writer.delivered(finished);
    }
}

/// Samples of a loop's own, of its pool and of its sites, classic and native.
#[derive(Debug, Default)]
struct Samples {
    own: [usize; 2],
    pool: [usize; 2],
    sites: [usize; 2],
}

fn count(view: LoopMetrics) -> Samples {
    let page = String::from_utf8(render(MetricsFormat::Text, &[view], &full_agent(), "").body).unwrap();
    let mut samples = Samples::default();
    for family in ProgramFamilies::read(&page, |_| false).families {
        for series in &family.series {
            let is_of = |name: &str| series.labels.iter().any(|(label, _)| label == name);
            let place = match () {
                () if is_of("site") => &mut samples.sites,
                () if is_of("pool") => &mut samples.pool,
                () if is_of("loop") => &mut samples.own,
                () => continue,
            };
            place[0] += match &series.value {
                ProgramValue::Number(_) => 1,
                ProgramValue::Histogram(values) => values.bounds.len() + 3,
            };
            place[1] += 1;
        }
    }
    samples
}

#[test]
fn a_busy_loop_stays_within_its_budget() {
    let samples = count(busy_view(40, &[]));
    println!("{samples:?}");
    let [classic, native] = samples.own;
    assert!(classic <= 1_000 && native <= 120, "{samples:?}");
}

#[test]
fn a_pool_with_three_kinds_of_jobs_stays_within_its_budget() {
    let samples = count(busy_view(1, &[WorkKind::Fs, WorkKind::Dns, WorkKind::User]));
    println!("{samples:?}");
    let [classic, native] = samples.pool;
    assert!(classic <= 300 && native <= 40, "{samples:?}");
}

#[test]
fn ten_thousand_sites_are_fifty_and_a_rest() {
    let view = busy_view(10_000, &[]);
    assert!(view.snapshot.sites_overflow > 0, "the page's own table is bounded, too");
    let samples = count(view);
    assert!(samples.sites[0] <= 153, "{samples:?}");
}
