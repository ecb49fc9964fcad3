//! Sums: what is in them, that they are bounded, and that no counter in them ever falls.

use super::*;
use crate::compute::sites::SiteTotal;
use crate::metrics::format::MetricsFormat;
use crate::metrics::loop_metrics::AgentMetrics;
use crate::metrics::loop_watch::LOOPS_MAX;
use crate::metrics::render::render;
use loopscope_probe::raw::loop_id::{Called, called};
use loopscope_probe::{Clock, Kind, TaskTimes, VirtualClock, Writer};
use proptest::prelude::*;
use std::panic::Location;

const MS: u64 = 1_000_000;

/// A process in virtual time, whose loops are watched as an agent does.
struct World {
    time: VirtualClock,
    loops: Vec<Loop>,
    sums: Sums<()>,
}

struct Loop {
    writer: Writer,
    watch: LoopWatch,
}

impl World {
    fn new() -> World {
        World { time: VirtualClock::starting_at(MS), loops: Vec::new(), sums: Sums::default() }
    }

    fn begin(&mut self, name: &str, runtime: &str, worker: Option<u32>) {
        let mut builder = Writer::builder(name).clock(Clock::simulated(self.time.clone()));
        if let Some(worker) = worker {
            builder = builder.worker(runtime, worker);
        }
        let mut writer = builder.build();
        writer.resume();
        let all: Vec<Called> = self.loops.iter().map(|known| known.watch.called.clone()).collect();
        let called = called(name, runtime, all.iter());
        let taken = self.loops.iter().map(|known| known.watch.series_label());
        let watch = LoopWatch::new(called, worker, taken, None);
        self.sums.enter((), &watch);
        self.loops.push(Loop { writer, watch });
    }

    /// Runs a callback of each of these sites, then waits for events.
    fn run(&mut self, at: usize, sites: &[String], ms: u64) {
        let writer = &mut self.loops[at].writer;
        for name in sites {
            let site =
                writer.named_site(Location::caller(), Kind::Timer, Box::leak(name.clone().into_boxed_str()));
            writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
            self.time.advance_ns(ms * MS);
            writer.end();
        }
        writer.park();
        self.time.advance_ns(MS);
        writer.unpark(1);
        self.look();
    }

    fn look(&mut self) {
        for Loop { writer, watch } in &mut self.loops {
            let clock = writer.clock().clone();
            watch.look(writer.page(), &clock, &writer.page().vitals_at(&clock, clock.now()));
        }
    }

    fn end(&mut self, at: usize) {
        let Loop { writer, mut watch } = self.loops.remove(at);
        let (view, _) = watch.view(writer.page().snapshot(writer.clock()), &mut 0);
        self.sums.leave((), &watch, Some(view));
    }

    fn views(&mut self) -> Vec<LoopMetrics> {
        let mut merging = Merging::default();
        for Loop { writer, watch } in &mut self.loops {
            let snapshot = writer.page().snapshot(writer.clock());
            merging.add((), watch.view(snapshot, self.sums.sites_room(())));
        }
        self.sums.finish(merging)
    }

    /// Loops, sites and workers that were left out.
    fn left_out(&self) -> [u64; 3] {
        let Overflow { loops, sites, workers, .. } = self.sums.left_out();
        [loops, sites, workers]
    }

    fn page(&mut self) -> String {
        let views = self.views();
        String::from_utf8(render(MetricsFormat::Text, &views, &AgentMetrics::default(), "").body).unwrap()
    }
}

/// The samples of a page that may only grow, by their names and labels: counters, and parts of histograms.
fn growing(page: &str) -> HashMap<String, f64> {
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut found = HashMap::new();
    for line in page.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            types.extend(told.split_once(' '));
            continue;
        }
        let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let is_histogram = base.is_some_and(|base| types.get(base) == Some(&"histogram"));
        if is_histogram || types.get(name) == Some(&"counter") {
            found.insert(series.to_owned(), value.parse().unwrap());
        }
    }
    found
}

fn names(count: usize, of: &str) -> Vec<String> {
    (0..count).map(|number| format!("{of} {number}")).collect()
}

fn calls(sites: &[SiteTotal]) -> u64 {
    sites.iter().map(|site| site.calls).sum()
}

#[test]
fn workers_of_a_runtime_are_one_row_with_a_little_of_each() {
    let mut world = World::new();
    world.begin("main", "", None);
    (0..2).for_each(|number| world.begin(&format!("web/{number}"), "web", Some(number)));
    world.run(0, &names(1, "own"), 1);
    world.run(1, &names(2, "route"), 10);
    world.run(2, &names(3, "route"), 10);
    let views = world.views();
    let rows: Vec<_> =
        views.iter().map(|view| (&*view.label, view.workers.len(), calls(&view.sites))).collect();
    assert_eq!(rows, [("main", 0, 1), ("web", 2, 5)]);
    let web = &views[1];
    assert_eq!(web.sites.len(), 3, "a site of both workers is one: {:?}", web.sites);
    let active: u64 = web.workers.iter().map(|worker| worker.active_ns).sum();
    assert_eq!(active, web.snapshot.active_ns);
    assert_eq!(web.snapshot.facts.thread, "", "a runtime has no thread");
    let of_worker = |at: usize| {
        let writer = &world.loops[at].writer;
        writer.page().snapshot(writer.clock()).lag.count()
    };
    assert_eq!(web.snapshot.lag.count(), of_worker(1) + of_worker(2));
    let page = world.page();
    for told in [
        "loopscope_loop_iterations_total{loop=\"web\"}",
        "loopscope_worker_stall_seconds{loop=\"web\",worker=\"1\"}",
        "loopscope_worker_blocked_total{loop=\"web\",worker=\"0\",severity=\"warning\"}",
    ] {
        assert_eq!(page.matches(told).count(), 1, "{told}");
    }
    assert!(!page.contains("web/0") && !page.contains("loop=\"main\",worker"), "{page}");
}

#[test]
fn a_runtime_goes_on_counting_when_its_last_worker_is_replaced() {
    let mut world = World::new();
    world.begin("web/0", "web", Some(0));
    world.run(0, &names(3, "route"), 150);
    let before = growing(&world.page());
    world.end(0);
    assert!(world.views().is_empty(), "a runtime without a worker has no series");
    world.begin("web/0", "web", Some(0));
    let after = growing(&world.page());
    for (series, value) in &before {
        assert!(
            after.get(series).is_some_and(|after| after >= value),
            "{series} fell from {value}: {:?}",
            after.get(series)
        );
    }
    let blocked = "loopscope_worker_blocked_total{loop=\"web\",worker=\"0\",severity=\"warning\"}";
    assert_eq!(after[blocked], 1.0);
}

#[test]
fn the_run_delay_of_a_runtime_is_that_of_all_its_threads_and_stays_when_one_ends() {
    let mut world = World::new();
    (0..2).for_each(|number| world.begin(&format!("web/{number}"), "web", Some(number)));
    for (at, readings_ms) in [(0, [500, 700]), (1, [9_000, 9_100])] {
        readings_ms.into_iter().for_each(|ms| world.loops[at].watch.note_run_delay(Some(ms * MS)));
    }
    let both = "loopscope_thread_run_delay_seconds_total{loop=\"web\"} 0.3\n";
    let second = "loopscope_worker_run_delay_seconds_total{loop=\"web\",worker=\"1\"} 0.1\n";
    let page = world.page();
    assert!(page.contains(both) && page.contains(second), "{page}");
    world.end(0);
    let page = world.page();
    assert!(page.contains(both) && page.contains(second), "{page}");
    // The worker's own goes on where it runs on another thread, whose account is another one.
    world.end(0);
    world.begin("web/1", "web", Some(1));
    [40, 90].into_iter().for_each(|ms| world.loops[0].watch.note_run_delay(Some(ms * MS)));
    let later = "loopscope_worker_run_delay_seconds_total{loop=\"web\",worker=\"1\"} 0.15\n";
    let page = world.page();
    assert!(page.contains(later) && page.contains("{loop=\"web\"} 0.35\n"), "{page}");
    world.end(0);
    world.begin("main", "", None);
    assert!(!world.page().contains("run_delay"), "where the kernel does not tell, there is none");
}

#[test]
fn sixty_four_workers_with_thirty_sites_are_bounded_and_no_site_is_lost() {
    let mut world = World::new();
    for number in 0..64 {
        world.begin(&format!("web/{number}"), "web", Some(number));
        world.run(number as usize, &names(30, "route"), 1);
    }
    let (views, agent) = (world.views(), AgentMetrics::default());
    assert_eq!((views.len(), views[0].workers.len(), views[0].sites.len()), (1, 64, 30));
    assert!(views[0].sites.iter().all(|site| site.calls == 64), "{:?}", views[0].sites);
    assert_eq!(world.left_out(), [0; 3]);
    let page = String::from_utf8(render(MetricsFormat::Text, &views, &agent, "").body).unwrap();
    let series = page.lines().find_map(|line| line.strip_prefix("loopscope_agent_series ")).unwrap();
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("64 workers with 30 sites: {samples} samples");
    assert!(samples <= 1_500, "{samples} samples");
    assert_eq!(series.parse::<usize>().unwrap(), samples);
}

#[test]
fn two_hundred_loops_are_bounded_and_what_is_left_out_is_counted() {
    let mut world = World::new();
    for number in 0..200 {
        world.begin(&format!("loop {number}"), "", None);
        world.run(number, &names(4, "callback"), 1);
    }
    let views = world.views();
    let labels = views.iter().filter(|view| view.label != OTHER).count();
    assert_eq!((labels, views.len()), (LOOPS_MAX, LOOPS_MAX + 1));
    let all: u64 = views.iter().map(|view| calls(&view.sites)).sum();
    assert_eq!(all, 800, "what has no series of its own is in a sum");
    let own = views.iter().flat_map(|view| &view.sites).filter(|site| site.kind.is_some()).count();
    assert_eq!(own, SITES_PER_PROCESS);
    let left_out = [200 - LOOPS_MAX, LOOPS_MAX * 4 + 4 - SITES_PER_PROCESS, 0].map(|count| count as u64);
    assert_eq!(world.left_out(), left_out);
    world.views();
    assert_eq!(world.left_out(), left_out, "they are no more at the next page");
    let page = world.page();
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("200 loops: {samples} samples");
    assert!(samples <= 20_000, "{samples}");
    (0..200).for_each(|_| world.end(0));
    world.views();
    assert_eq!(world.left_out(), [0; 3], "what has ended is not missed");
}

#[test]
fn workers_past_the_bound_are_in_the_sum_alone_and_counted() {
    let mut world = World::new();
    let count = WORKERS_PER_PROCESS as u32 + 3;
    for number in 0..count {
        world.begin(&format!("web/{number}"), "web", Some(number));
        world.run(number as usize, &names(1, "route"), 1);
    }
    let views = world.views();
    assert_eq!((views[0].workers.len(), world.left_out()), (WORKERS_PER_PROCESS, [0, 0, 3]));
    assert_eq!(calls(&views[0].sites), u64::from(count));
    // One without a series of its own, one that has one, and the last two.
    let left_out = [WORKERS_PER_PROCESS, 0, WORKERS_PER_PROCESS - 1, WORKERS_PER_PROCESS - 1].map(|at| {
        world.end(at);
        world.left_out()[2]
    });
    assert_eq!(left_out, [2, 2, 1, 0]);
}

#[test]
fn runtimes_that_come_and_go_under_ever_new_names_take_no_more_memory() {
    let mut world = World::new();
    for number in 0..3 * WORKERS_PER_PROCESS {
        world.begin("worker", &format!("runtime {number}"), Some(0));
        world.run(0, &names(2, &format!("site {number}")), 1);
        world.end(0);
    }
    let process = &world.sums.processes[&()];
    assert_eq!((process.sums.len(), process.workers_room), (KEPT_MAX, WORKERS_PER_PROCESS - KEPT_MAX));
    assert_eq!(world.left_out()[2], 0);
}

/// What happens to a process.
#[derive(Clone, Debug)]
enum Step {
    Worker(u8, u8),
    Single(u8),
    Run(usize, u8, u8),
    End(usize),
    Scrape,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_u8, 0..4_u8).prop_map(|(runtime, worker)| Step::Worker(runtime, worker)),
        2 => (0..80_u8).prop_map(Step::Single),
        5 => (any::<usize>(), 0..8_u8, 0..4_u8).prop_map(|(at, site, length)| Step::Run(at, site, length)),
        3 => any::<usize>().prop_map(Step::End),
        2 => Just(Step::Scrape),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_counter_and_no_bucket_of_a_sum_ever_falls(crowd in 0..2_usize, steps in steps()) {
        let mut world = World::new();
        // With a crowd, the labels are used up, but for one.
        (0..crowd * (LOOPS_MAX - 1)).for_each(|number| world.begin(&format!("crowd {number}"), "", None));
        let mut floor: HashMap<String, f64> = HashMap::new();
        for step in steps {
            match step {
                Step::Worker(runtime, worker) => {
                    let runtime = format!("r{runtime}");
                    world.begin(&format!("{runtime}/{worker}"), &runtime, Some(u32::from(worker)));
                }
                Step::Single(number) => world.begin(&format!("single {number}"), "", None),
                Step::Run(at, site, length) if !world.loops.is_empty() => {
                    let at = at % world.loops.len();
                    world.run(at, &[format!("site {site}")], [1, 20, 150, 1_200][usize::from(length)]);
                }
                Step::End(at) if world.loops.len() > crowd * (LOOPS_MAX - 1) => {
                    let first = crowd * (LOOPS_MAX - 1);
                    world.end(first + at % (world.loops.len() - first));
                }
                Step::Run(..) | Step::End(_) | Step::Scrape => {}
            }
            for (series, value) in growing(&world.page()) {
                // Loops by themselves end with their series, and another one may take the name.
                if series.contains("\"r") || series.contains("\"_other\"") {
                    let before = floor.insert(series.clone(), value).unwrap_or(0.0);
                    prop_assert!(value >= before, "{series} fell from {before} to {value}");
                }
            }
        }
    }
}
