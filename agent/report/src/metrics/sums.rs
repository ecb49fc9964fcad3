//! Sums of loops that share series: the workers of a runtime, and the loops for which there was no label left.
//!
//! A counter that falls is taken for one that began anew. So what a loop had counted when it ended stays in its sum; and a
//! worker that comes again under its number goes on counting where the last one of that number ended.
//!
//! ```text
//!   views of loops --> Merging --finish--> one view a sum, with its sites chosen and its workers
//!                                  ^
//!   views of loops that ended --> Sums
//! ```

use crate::compute::sites::{Chosen, SITES_PER_PROCESS, SiteSums, SiteTotal};
use crate::metrics::loop_metrics::{LoopMetrics, Overflow, WorkerMetrics};
use crate::metrics::loop_watch::{LoopWatch, Series};
use crate::metrics::merged::add_view;
use crate::model::merge::add_known;
use loopscope_probe::raw::loop_id::OTHER;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most this many workers of a process have series of their own.
pub const WORKERS_PER_PROCESS: usize = 128;

/// Of at most this many runtimes of a process without workers it is kept what they had counted, should they come again.
const KEPT_MAX: usize = 16;

/// What is remembered of the series of each process.
#[derive(Debug)]
pub struct Sums<P> {
    processes: HashMap<P, Process>,
    /// Sites that had no series at the last page.
    sites_left_out: usize,
}

#[derive(Debug)]
struct Process {
    /// How many more sites and workers may have series.
    sites_room: usize,
    workers_room: usize,
    /// By label.
    sums: HashMap<String, Sum>,
    /// Sums that nobody was left in, counted.
    deserted: u64,
}

/// What is remembered of one sum.
#[derive(Debug, Default)]
struct Sum {
    /// Loops in it that live.
    members: usize,
    /// When the last one left, by the count of its process.
    deserted: u64,
    /// What those had counted that have ended, and their sites.
    ended: Option<LoopMetrics>,
    sites: SiteSums,
    chosen: Chosen,
    /// Workers with series of their own, and what those of that number had counted that have ended.
    workers: BTreeMap<u32, WorkerMetrics>,
    /// Workers that live and have none, by number.
    unlisted: BTreeMap<u32, u64>,
}

impl Default for Process {
    fn default() -> Self {
        Process {
            sites_room: SITES_PER_PROCESS,
            workers_room: WORKERS_PER_PROCESS,
            sums: HashMap::new(),
            deserted: 0,
        }
    }
}

impl<P> Default for Sums<P> {
    fn default() -> Self {
        Sums { processes: HashMap::new(), sites_left_out: 0 }
    }
}

impl<P: Copy + Eq + Hash> Sums<P> {
    /// Returns how many more sites of a process may have a series.
    pub fn sites_room(&mut self, process: P) -> &mut usize {
        &mut self.processes.entry(process).or_default().sites_room
    }

    /// Notes that this loop begins. Where its figures go into a sum, [`leave`](Self::leave) is to be told of its end.
    pub fn enter(&mut self, process: P, watch: &LoopWatch) {
        let (series, label) = (watch.series(), watch.series_label());
        if series == Series::Own {
            return;
        }
        let process = self.processes.entry(process).or_default();
        let sum = process.sums.entry(label.to_owned()).or_default();
        sum.members += 1;
        let Series::Runtime(number) = series else { return };
        if sum.workers.contains_key(&number) {
            return;
        }
        if process.workers_room == 0 {
            *sum.unlisted.entry(number).or_default() += 1;
            return;
        }
        process.workers_room -= 1;
        sum.unlisted.remove(&number);
        sum.workers.insert(number, WorkerMetrics { number, ..WorkerMetrics::default() });
    }

    /// Notes that this loop has ended, which had entered. `view` is what it had counted, where that is known.
    pub fn leave(&mut self, process: P, watch: &LoopWatch, view: Option<LoopMetrics>) {
        let label = watch.series_label();
        let Some(process) = self.processes.get_mut(&process).filter(|_| watch.series() != Series::Own) else {
            return;
        };
        let Some(sum) = process.sums.get_mut(label) else { return };
        sum.members = sum.members.saturating_sub(1);
        if let Series::Runtime(number) = watch.series()
            && let Some(count) = sum.unlisted.remove(&number).filter(|count| *count > 1)
        {
            sum.unlisted.insert(number, count - 1);
        }
        if let Some(view) = view {
            sum.keep(view, &mut process.sites_room);
        }
        if sum.members == 0 && label != OTHER {
            process.deserted += 1;
            sum.deserted = process.deserted;
            process.forget_the_oldest();
        }
    }

    /// Returns how many loops and workers have no series of their own now, and how many sites had none at the last page.
    pub fn left_out(&self) -> Overflow {
        let sums = || self.processes.values().flat_map(|process| &process.sums);
        let loops = sums().filter(|(label, _)| *label == OTHER).map(|(_, sum)| sum.members as u64).sum();
        let workers = sums().flat_map(|(_, sum)| sum.unlisted.values()).sum();
        Overflow { loops, workers, sites: self.sites_left_out as u64, ..Overflow::default() }
    }

    /// Forgets the processes that are not among these.
    pub fn retain(&mut self, is_there: impl Fn(&P) -> bool) {
        self.processes.retain(|process, _| is_there(process));
    }

    /// Returns the views of loops by themselves, and behind them one for each sum that has members, or has counted loops without
    /// a label.
    pub fn finish(&mut self, merging: Merging<P>) -> Vec<LoopMetrics> {
        let Merging { mut loops, mut parts, left_out } = merging;
        self.sites_left_out = left_out;
        let others = self.processes.iter().filter(|(_, process)| process.sums.contains_key(OTHER));
        let others: Vec<P> = others.map(|(process, _)| *process).collect();
        for process in others {
            if !parts.iter().any(|parts| parts.process == process && parts.label() == OTHER)
                && let Some(view) =
                    self.processes.get(&process).and_then(|known| known.sums[OTHER].ended.clone())
            {
                parts.push(Parts {
                    workers: BTreeMap::new(),
                    sites: SiteSums::default(),
                    process,
                    count: 0,
                    view,
                });
            }
        }
        for part in parts {
            let process = self.processes.entry(part.process).or_default();
            let sum = process.sums.entry(part.label().to_owned()).or_default();
            let (view, others) = sum.complete(part, &mut process.sites_room);
            loops.push(view);
            self.sites_left_out += others;
        }
        loops
    }
}

impl Process {
    /// Forgets the sum that has been without a member for longest, where more are kept than are worth while.
    fn forget_the_oldest(&mut self) {
        let is_kept = |(label, sum): &(&String, &Sum)| sum.members == 0 && *label != OTHER;
        if self.sums.iter().filter(is_kept).count() <= KEPT_MAX {
            return;
        }
        let oldest = self.sums.iter().filter(is_kept).min_by_key(|(_, sum)| sum.deserted);
        let oldest = oldest.map(|(label, _)| label.clone());
        if let Some(sum) = oldest.and_then(|label| self.sums.remove(&label)) {
            self.workers_room += sum.workers.len();
        }
    }
}

impl Sum {
    /// Keeps what a loop had counted when it ended.
    fn keep(&mut self, view: LoopMetrics, sites_room: &mut usize) {
        let mut view = view.without_tables();
        view.put_to_rest();
        let mut sites = std::mem::take(&mut view.sites);
        sites.iter_mut().for_each(|site| site.longest_ns = 0);
        // Those that get no series now never do: as one sum, they take no room however many workers come and go.
        self.sites.add(self.chosen.choose(sites, sites_room).0);
        if let Some(known) = view.worker.and_then(|number| self.workers.get_mut(&number)) {
            known.add_counts(&WorkerMetrics::of(&view, known.number));
        }
        match &mut self.ended {
            Some(sum) => add_view(sum, &view),
            None => self.ended = Some(view),
        }
    }

    /// Makes the view of the sum. Returns as the second value how many sites of its members have no series.
    fn complete(&mut self, parts: Parts<impl Copy>, sites_room: &mut usize) -> (LoopMetrics, usize) {
        let Parts { mut view, mut sites, workers, count, .. } = parts;
        if let Some(ended) = self.ended.as_ref().filter(|_| count > 0) {
            add_view(&mut view, ended);
        }
        sites.add(self.sites.clone().into_totals());
        let (sites, others) = self.chosen.choose(sites.into_totals(), sites_room);
        let known = workers.into_values().filter_map(|mut worker| {
            worker.add_counts(self.workers.get(&worker.number)?);
            Some(worker)
        });
        let workers = known.collect();
        (LoopMetrics { sites, workers, is_part: false, worker: None, ..view }, others)
    }
}

impl WorkerMetrics {
    fn of(view: &LoopMetrics, number: u32) -> WorkerMetrics {
        let snapshot = &view.snapshot;
        WorkerMetrics {
            number,
            thread: snapshot.facts.thread.clone(),
            utilization: view.utilization,
            stall_ns: snapshot.now.unexpected_ns(),
            active_ns: snapshot.active_ns,
            idle_ns: snapshot.idle_ns,
            run_delay_ns: view.run_delay_ns,
            blocked: snapshot.blocked,
        }
    }

    fn add_counts(&mut self, other: &WorkerMetrics) {
        self.active_ns = self.active_ns.saturating_add(other.active_ns);
        self.idle_ns = self.idle_ns.saturating_add(other.idle_ns);
        add_known(&mut self.run_delay_ns, other.run_delay_ns);
        for (into, from) in self.blocked.iter_mut().zip(other.blocked) {
            *into = into.saturating_add(from);
        }
    }

    /// Adds another page of the same worker: the one that came later is the one that lives.
    fn follow(&mut self, later: WorkerMetrics) {
        let earlier = std::mem::replace(self, later);
        self.add_counts(&earlier);
        self.stall_ns = self.stall_ns.max(earlier.stall_ns);
        self.utilization = self.utilization.max(earlier.utilization);
    }
}

/// Views being added up.
#[derive(Debug)]
pub struct Merging<P> {
    loops: Vec<LoopMetrics>,
    parts: Vec<Parts<P>>,
    /// Sites of loops by themselves that got no series.
    left_out: usize,
}

/// The members of one sum, added up.
#[derive(Debug)]
struct Parts<P> {
    process: P,
    view: LoopMetrics,
    sites: SiteSums,
    workers: BTreeMap<u32, WorkerMetrics>,
    count: u64,
}

impl<P> Parts<P> {
    fn begin(
        process: P,
        mut view: LoopMetrics,
        worker: Option<WorkerMetrics>,
        sites: Vec<SiteTotal>,
    ) -> Parts<P> {
        if worker.is_some() {
            // The runtime has no thread.
            view.snapshot.facts.thread.clear();
        }
        let mut parts =
            Parts { process, view, sites: SiteSums::default(), workers: BTreeMap::new(), count: 1 };
        parts.note(worker, sites);
        parts
    }

    fn label(&self) -> &str {
        &self.view.label
    }

    fn add(&mut self, view: LoopMetrics, worker: Option<WorkerMetrics>, sites: Vec<SiteTotal>) {
        let (sum, count) = (&mut self.view, self.count as f64);
        // Of a runtime, the share of its workers' time; of loops that have only their label in common, the worst.
        let mean = (sum.utilization * count + view.utilization) / (count + 1.0);
        let (warning_ns, critical_ns) = (view.snapshot.warning_ns, view.snapshot.critical_ns);
        add_view(sum, &view);
        sum.snapshot.warning_ns = sum.snapshot.warning_ns.min(warning_ns);
        sum.snapshot.critical_ns = sum.snapshot.critical_ns.min(critical_ns);
        if worker.is_some() {
            sum.utilization = mean;
        }
        self.count += 1;
        self.note(worker, sites);
    }

    fn note(&mut self, worker: Option<WorkerMetrics>, sites: Vec<SiteTotal>) {
        self.sites.add(sites);
        if let Some(worker) = worker {
            match self.workers.get_mut(&worker.number) {
                Some(earlier) => earlier.follow(worker),
                None => {
                    self.workers.insert(worker.number, worker);
                }
            }
        }
    }
}

impl<P> Default for Merging<P> {
    fn default() -> Self {
        Merging { loops: Vec::new(), parts: Vec::new(), left_out: 0 }
    }
}

impl<P: Copy + Eq> Merging<P> {
    /// Adds one loop, as [`LoopWatch::view`] told it, in the order in which they were made.
    pub fn add(&mut self, process: P, (view, left_out): (LoopMetrics, usize)) {
        self.left_out += left_out;
        if !view.is_part {
            self.loops.push(view);
            return;
        }
        let worker = view.worker.map(|number| WorkerMetrics::of(&view, number));
        let mut view = view.without_tables();
        let sites = std::mem::take(&mut view.sites);
        let is_it = |parts: &&mut Parts<P>| parts.process == process && parts.view.label == view.label;
        match self.parts.iter_mut().find(is_it) {
            Some(parts) => parts.add(view, worker, sites),
            None => self.parts.push(Parts::begin(process, view, worker, sites)),
        }
    }
}

#[cfg(test)]
#[path = "sums_tests.rs"]
mod tests;
