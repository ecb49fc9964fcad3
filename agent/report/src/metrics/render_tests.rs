//! The page as a whole: everything on it is in the catalogue, everything in the catalogue is on it.

use super::*;
use crate::compute::stall::StallCounts;
use crate::compute::verdict::Cause;
use crate::metrics::catalog::{ALL, Type};
use crate::metrics::classic_buckets::ClassicBuckets;
use crate::metrics::loop_metrics::{ProcessMetrics, Scrapes, WorkerMetrics};
use crate::metrics::merged::add_view;
use crate::model::waits::Waits;
use loopscope_probe::Kind;
use loopscope_probe::Queue;
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::{
    Clock, HandleType, NowValues, Phase, TaskTimes, Ticks, VirtualClock, WorkKind, Writer,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A loop that did a little of everything.
pub(crate) fn full_view(label: &str) -> LoopMetrics {
    let time = VirtualClock::starting_at(1_000_000);
    let mut writer = Writer::builder("full").clock(Clock::simulated(time.clone())).build();
    let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "a \"site\"\\\n");
    let mut pool = writer.take_pool().unwrap();
    pool.threads(1);
    writer.resume();
    writer.phase(Phase::TIMERS);
    for ms in [1, 300, 2_000] {
        let ready = Ticks(writer.last().0 - 10);
        writer.begin(Kind::Timer, site, TaskTimes { submitted: Ticks(ready.0 - 10), ready });
        time.advance_ns(ms * 1_000_000);
        writer.end();
    }
    for queue in [Queue::NextTick, Queue::Microtask] {
        writer.drain_begin(queue, 3);
        writer.drain_end(queue, 3);
    }
    writer.drained();
    writer.phase(Phase::POLL);
    let submitted = pool.clock().now();
    pool.submitted(WorkKind::Fs, submitted);
    let started = pool.started(WorkKind::Fs, submitted, None);
    let finished = pool.clock().now();
    pool.finished(WorkKind::Fs, started, finished, true);
    writer.delivered(finished);
    writer.handles(HandleType::Timeout, 1);
    writer.park();
    time.advance_ns(50_000_000);
    writer.unpark(2);
    let clock = writer.clock().clone();
    let snapshot = writer.page().snapshot(&clock);
    let sites = crate::compute::sites::totals(&snapshot);
    let handle_types = snapshot.handles.map(|count| count > 0);
    let mut stalls = StallCounts::default();
    stalls.active[Cause::Timer as usize] = true;
    stalls.episodes[0] = 1;
    stalls.durations[0] = Some(HistogramValues::default());
    let lag_minute = Some(Waits::of(&snapshot));
    LoopMetrics {
        owner: None,
        label: label.to_owned(),
        is_at_rest: false,
        is_part: false,
        worker: None,
        workers: vec![WorkerMetrics { run_delay_ns: Some(250_000_000), ..WorkerMetrics::default() }],
        snapshot,
        succeeded: [1; 16],
        utilization: 0.25,
        stalls,
        incidents: Some(Default::default()),
        sites,
        handle_types,
        lag_minute,
        run_delay_ns: Some(1_500_000_000),
    }
}

/// An agent that has answered in every format.
pub(crate) fn full_agent() -> AgentMetrics {
    let scrapes = Scrapes { bytes: 7, ..Scrapes::default() };
    AgentMetrics {
        requests: vec![("/metrics", 200, 3)],
        scrapes: [scrapes.clone(), scrapes.clone(), scrapes],
        process: Some(ProcessMetrics::default()),
        identity: Some(("server.js".to_owned(), 4711)),
        ..AgentMetrics::default()
    }
}

fn full_page() -> String {
    let loops = [full_view("main"), full_view("b\\\"\n")];
    String::from_utf8(render(MetricsFormat::Text, &loops, &full_agent(), "").body).unwrap()
}

/// The family that a sample's name belongs to.
fn family_of(name: &str, types: &HashMap<String, String>) -> String {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(base) = name.strip_suffix(suffix)
            && types.get(base).is_some_and(|kind| kind == "histogram")
        {
            return base.to_owned();
        }
    }
    name.to_owned()
}

#[test]
fn page_and_catalogue_agree_in_both_directions() {
    let page = full_page();
    let mut types = HashMap::new();
    let mut seen = HashSet::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            seen.insert(family_of(name, &types));
        }
    }
    let catalogue: HashSet<String> = ALL.iter().map(|family| family.name.to_owned()).collect();
    let missing: Vec<_> = catalogue.difference(&seen).collect();
    let unknown: Vec<_> = seen.difference(&catalogue).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
    for family in ALL {
        let kind = match family.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Durations(_) | Type::Counts => "histogram",
        };
        assert_eq!(types[family.name], kind, "{}", family.name);
    }
}

#[test]
fn an_announced_block_is_no_stall_and_hides_none() {
    const SECOND: u64 = 1_000_000_000;
    let busy = |busy_ns: u64, expected_ns: u64| {
        let mut view = full_view("main");
        view.snapshot.now = NowValues { busy_ns, expected_ns, ..NowValues::IDLE };
        view
    };
    let stall = |view: &LoopMetrics| {
        let page = render(MetricsFormat::Text, std::slice::from_ref(view), &full_agent(), "").body;
        let page = String::from_utf8(page).unwrap();
        let value =
            page.lines().find_map(|line| line.strip_prefix("loopscope_loop_stall_seconds{loop=\"main\"} "));
        value.unwrap().parse::<f64>().unwrap()
    };
    let mut announced = busy(60 * SECOND, 59 * SECOND);
    assert_eq!(stall(&announced), 1.0);
    // Loops past the bound of labels are one: the worst of them is told.
    add_view(&mut announced, &busy(2 * SECOND, 0));
    assert_eq!(stall(&announced), 2.0);
    add_view(&mut announced, &busy(90 * SECOND, 90 * SECOND));
    assert_eq!(stall(&announced), 2.0);
}

/// The families of the catalogue that a page with this loop alone has of it.
fn told_of(view: &LoopMetrics) -> HashSet<&'static str> {
    let page = render(MetricsFormat::Text, std::slice::from_ref(view), &AgentMetrics::default(), "").body;
    let page = String::from_utf8(page).unwrap();
    let of_loop = |name: &str| {
        let is_own = |line: &&str| line.starts_with(name) && line.contains("=\"main\"");
        page.lines().any(|line| is_own(&line) && matches!(line.as_bytes()[name.len()], b'{' | b'_'))
    };
    ALL.iter().map(|family| family.name).filter(|name| of_loop(name)).collect()
}

#[test]
fn what_has_ended_has_its_counts_and_no_gauges() {
    let view = || {
        let mut view = full_view("main");
        view.snapshot.pool.as_mut().unwrap().busy_ns = 1;
        view
    };
    let mut ended = view();
    ended.put_to_rest();
    let is_gauge =
        |name: &&&str| ALL.iter().any(|family| family.name == **name && matches!(family.kind, Type::Gauge));
    let (living, resting) = (told_of(&view()), told_of(&ended));
    assert!(living.iter().filter(is_gauge).count() > 10, "{living:?}");
    assert_eq!(resting.iter().find(is_gauge), None);
    let counts: HashSet<&str> = living.iter().filter(|name| !is_gauge(name)).copied().collect();
    assert_eq!(resting, counts);
    // As long as one of several lives, they have what it has.
    add_view(&mut ended, &view());
    assert_eq!(told_of(&ended), living);
}

#[test]
fn families_come_in_the_order_of_the_catalogue() {
    let page = full_page();
    let written: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let expected: Vec<&str> = ALL.iter().map(|family| family.name).collect();
    assert_eq!(written, expected);
}

#[test]
fn every_series_is_there_once_and_buckets_rise() {
    let page = full_page();
    let mut series = HashSet::new();
    let mut last: Option<(String, u64)> = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(series.insert(name), "{name} comes twice");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        let Some((stem, _)) = name.split_once("le=\"") else { continue };
        let count: u64 = value.parse().unwrap();
        if let Some((last_stem, last_count)) = &last {
            assert!(last_stem != stem || *last_count <= count, "{line}");
        }
        last = Some((stem.to_owned(), count));
    }
    assert!(page.contains("site=\"a \\\"site\\\"\\\\"), "site labels are escaped");
    assert!(page.contains("{loop=\"b\\\\\\\"\\n\"}"), "loop labels are escaped");
}

/// Samples of a page of text, as Prometheus counts them.
fn samples(page: &str) -> usize {
    page.lines().filter(|line| !line.starts_with('#')).count()
}

fn told_series(page: &str) -> usize {
    page.lines().find_map(|line| line.strip_prefix("loopscope_agent_series ")).unwrap().parse().unwrap()
}

#[test]
fn the_page_tells_its_number_of_series_as_prometheus_counts_them() {
    let page = full_page();
    assert_eq!(told_series(&page), samples(&page));
    for format in [MetricsFormat::OpenMetrics, MetricsFormat::Protobuf] {
        let loops = [full_view("main"), full_view("b\\\"\n")];
        let other = render(format, &loops, &full_agent(), "");
        assert_eq!(other.left_out, 0);
    }
}

#[test]
fn no_page_has_more_samples_than_its_bound_and_each_says_how_many_were_left_out() {
    let of = |count: usize| (0..count).map(|number| full_view(&format!("loop {number}"))).collect::<Vec<_>>();
    let text = |rendered: Rendered| (String::from_utf8(rendered.body).unwrap(), rendered.left_out);
    let (host, left_out) =
        text(render_host(MetricsFormat::Text, &of(500), &HostMetrics::default(), &full_agent()));
    assert!(samples(&host) <= SAMPLES_MAX_OF_HOST && left_out > 0, "{} {left_out}", samples(&host));
    assert_eq!(told_series(&host), samples(&host));
    let (agent, left_out) = text(render(MetricsFormat::Text, &of(130), &full_agent(), ""));
    assert!(samples(&agent) <= SAMPLES_MAX && left_out > 0, "{} {left_out}", samples(&agent));
    assert_eq!(told_series(&agent), samples(&agent));
}

#[test]
fn few_buckets_are_fewer_samples_and_keep_the_objective_s_bound() {
    let page = |classic| {
        let agent = AgentMetrics { classic, ..full_agent() };
        String::from_utf8(render(MetricsFormat::Text, &[full_view("main")], &agent, "").body).unwrap()
    };
    let (full, few) = (page(ClassicBuckets::Full), page(ClassicBuckets::Few));
    println!("{} samples, {} with few buckets", samples(&full), samples(&few));
    assert!(samples(&few) * 4 <= samples(&full) * 3, "{} of {}", samples(&few), samples(&full));
    let slow = "loopscope_loop_lag_seconds_bucket{loop=\"main\",le=\"0.125\"} ";
    let count =
        |page: &str| page.lines().find_map(|line| line.strip_prefix(slow).map(str::to_owned)).unwrap();
    assert_eq!(count(&full), count(&few));
    assert_eq!(told_series(&few), samples(&few));
}

#[test]
fn a_thousand_histograms_do_not_take_long_in_any_format() {
    // A few hundred used buckets and a few dozen: the first is the worst case, the second what loops have.
    for (name, slots) in [("full", 0..250), ("usual", 60..100)] {
        let mut values = HistogramValues::default();
        for slot in slots {
            values.buckets[slot] = slot as u64 * 1_003;
        }
        for format in MetricsFormat::ALL {
            let clock = Clock::monotonic();
            // The best of several: others use the machine, too. The bound is for an unoptimized build on a busy machine.
            let best_ns = (0..5)
                .map(|_| {
                    let begun = clock.now();
                    let mut sheet = MetricsPage::new(format, 100_000);
                    sheet.family(&crate::metrics::catalog::CALLBACK_DURATION);
                    for number in 0..1_000 {
                        sheet.durations(&[&number.to_string(), "timer"], &values);
                    }
                    assert!(sheet.finish().len() > 100_000);
                    clock.ns_between(begun, clock.now())
                })
                .min()
                .unwrap();
            println!("1,000 {name} histogram series as {}: {:.2} ms", format.name(), best_ns as f64 / 1e6);
            assert!(best_ns < 200_000_000, "{best_ns} ns");
        }
    }
}

#[test]
fn what_a_runtime_cannot_know_is_not_on_the_page() {
    let page = |facts: &[Fact], compat: bool| {
        let mut view = full_view("web");
        view.snapshot.facts.description = Arc::new(Description::new().fills(facts));
        let pool = view.snapshot.pool.as_mut().unwrap();
        (pool.threads, pool.running, pool.queued, pool.oldest_wait_ns) = (Some(4), None, None, None);
        (pool.busy_ns, pool.saturated_ns) = (0, 0);
        view.stalls.episodes = [0; Cause::COUNT];
        view.workers.clear();
        view.run_delay_ns = None;
        let mut agent = full_agent();
        if compat {
            agent.compat = crate::metrics::compat_set::CompatSet { prom_client: true, otel: true };
        }
        String::from_utf8(render(MetricsFormat::Text, &[view], &agent, "").body).unwrap()
    };
    let families = |page: &str| -> HashSet<String> {
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        types.map(str::to_owned).collect()
    };
    let none = page(&[], true);
    // Stalls are what pages are for; the rest of a loop's is left out, as are the causes that it cannot tell.
    let left: Vec<&str> = ALL
        .iter()
        .map(|family| family.name)
        .filter(|name| {
            families(&none).contains(*name)
                && !name.contains("_agent_")
                && !name.contains("build_info")
                && !name.contains("process_info")
        })
        .filter(|name| name.starts_with("loopscope_"))
        .collect();
    assert_eq!(
        left,
        [
            "loopscope_loop_info",
            "loopscope_loop_stall_seconds",
            "loopscope_starvation_active",
            "loopscope_starvation_total",
            "loopscope_starvation_duration_seconds",
            "loopscope_blocked_total",
            "loopscope_stall_threshold_seconds",
            "loopscope_blocked_duration_seconds",
            "loopscope_incidents_total",
            "loopscope_incident_reports_suppressed_total",
            "loopscope_captures_total",
            "loopscope_pool_threads",
        ]
    );
    assert!(!none.contains("nodejs_"), "families under other names neither");
    let causes = none.lines().filter(|line| line.starts_with("loopscope_starvation_total{"));
    assert_eq!(causes.collect::<Vec<_>>(), ["loopscope_starvation_total{loop=\"web\",cause=\"callback\"} 0"]);
    // Each fact brings something back.
    for fact in Fact::ALL {
        let some = page(&[Fact::Callbacks, *fact], true).lines().count();
        let brings = some > page(&[Fact::Callbacks], true).lines().count();
        assert!(brings || *fact == Fact::Callbacks, "{}", fact.name());
    }
}

#[test]
fn labels_are_those_of_the_runtime() {
    let mut view = full_view("web");
    let runtime = Description::new()
        .phase(Phase::TIMERS, "tasks")
        .kind(Kind::Timer, "poll", "poll", "polls")
        .queue(Queue::Microtask, "local", "local task", "local tasks");
    view.snapshot.facts.description = Arc::new(runtime);
    let page = String::from_utf8(render(MetricsFormat::Text, &[view], &full_agent(), "").body).unwrap();
    for part in ["phase=\"tasks\"", "kind=\"poll\"", "queue=\"local\""] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["phase=\"timers\"", "kind=\"timer\"", "queue=\"nexttick\"", "cause=\"nexttick\""] {
        assert!(!page.contains(part), "{part}");
    }
}
