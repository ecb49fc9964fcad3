//! The view: everything a live display shows, as plain values. Its JSON has the names of the fields.
//!
//! Every number tells its unit. Figures "of the interval" are those between the last two observations of that loop; at
//! its first, they are those of its life so far.

use crate::words::RuntimeWords;
use serde::Serialize;
use std::collections::BTreeMap;

/// All processes at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// Counts the views of one observer, from 1: whoever shows them can tell whether one was left out.
    pub number: u64,
    /// When it was made, nanoseconds since 1970.
    pub unix_ns: u64,
    /// Time since the view before it, in nanoseconds; 0 in the first.
    pub interval_ns: u64,
    /// Upper bounds of the cells of [`LagView::row`], in nanoseconds; the last cell has none.
    pub lag_bounds_ns: Vec<u64>,
    /// The directory whose pages it is of, where a command of this machine made it.
    pub directory: Option<String>,
    /// The processes, in the order in which they were given.
    pub processes: Vec<ProcessView>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessView {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the pid, it names a process for good.
    pub pid_start: u64,
    /// File name of its program.
    pub name: String,
    /// False where it has ended and its pages are what it left.
    pub is_alive: bool,
    /// Where its agent is reached from this machine (`http://127.0.0.1:9464`, `https://...`, `unix:/path`); `None` where it
    /// has none that listens.
    pub agent: Option<String>,
    /// Where its incidents and captures are answered, relative to the live page, without a slash at the end:
    /// `BASE/incidents`, `BASE/flamegraph`. `None` where they are not. Set by whoever serves the view.
    pub base: Option<String>,
    /// Its loops; the workers of a runtime are one of them, and are in that one's `workers`.
    pub loops: Vec<LoopView>,
    /// Pages of its that cannot be read, where a command of this machine made the view.
    pub damaged: Vec<DamagedView>,
}

/// A page that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DamagedView {
    /// Its file.
    pub file: String,
    /// What is wrong with it.
    pub because: String,
}

/// One loop, or one runtime of several workers.
///
/// A runtime tells the state of its worst worker. Counts, rates and lag are those of all its workers, shares those of
/// all their time; it has no thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoopView {
    /// Which loop it is, for good: the `loop_id` of its incidents. Of a page that nobody said the number of, only a text that
    /// names it from view to view.
    pub id: String,
    /// Its name, made unique within the process as in the metrics: `worker`, `worker#2`.
    pub name: String,
    /// Its name as the program gave it, which loops may share. Captures and thresholds take both as `loop`.
    pub given_name: String,
    /// Of a worker, its number in its runtime; of a runtime, the number of the worker whose state it tells.
    pub worker: Option<u32>,
    /// Of a runtime, its workers, by number; empty of any other loop.
    pub workers: Vec<LoopView>,
    /// What runs the loop, such as `mio`.
    pub runtime: String,
    /// `epoll` and the like.
    pub backend: String,
    /// Name of its thread; may be empty.
    pub thread: String,
    /// Its thread.
    pub tid: u32,
    /// When it began, nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// What the figures below are of, in nanoseconds: the interval, or the loop's life at its first observation; 0
    /// where no time went by, as in a process that has ended.
    pub interval_ns: u64,
    /// What it does at this moment.
    pub state: StateView,
    /// What its runtime calls things.
    pub words: RuntimeWords,
    /// Lag in the interval. This and the next three are null where the runtime cannot know.
    pub lag: Option<LagView>,
    /// Time outside the poll as part of the interval, 0 to 1.
    pub utilization_ratio: Option<f64>,
    /// Iterations begun.
    pub iterations_per_second: Option<f64>,
    /// Callbacks that ended; jobs of the queues are not among them.
    pub callbacks_per_second: Option<f64>,
    /// All phases that the runtime has, in the order of the loop.
    pub phase_names: Vec<String>,
    /// Time by phase, in the order of the loop; only those that took any.
    pub phases: Vec<PhaseView>,
    /// Time by callback site, the heaviest of the interval first; at most ten.
    pub sites: Vec<SiteView>,
    /// How many sites ran in the interval besides those.
    pub sites_left_out: u64,
    /// Draining the queues.
    pub drains: Vec<DrainView>,
    /// Its thread pool; `None` where it has none.
    pub pool: Option<PoolView>,
    /// Jobs that its pool runs now, the oldest first; of its first few dozen threads.
    pub pool_jobs: Vec<JobView>,
    /// Numbers that only its runtime has, under the names that it gives them.
    pub numbers: Vec<NumberView>,
    /// Its stalls.
    pub stalls: StallView,
}

/// A job that a pool runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// The thread, from 0.
    pub worker: u32,
    /// Kind of work.
    pub kind: &'static str,
    /// Name and place of where it was submitted.
    pub label: String,
    /// How long it has run, in nanoseconds.
    pub running_ns: u64,
}

/// A number that only some runtimes have, such as the size of a heap.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NumberView {
    /// Its name: lower-case letters, digits and `_`.
    pub name: String,
    /// Which of several of that name; empty where there is one.
    pub kind: String,
    /// What it is in: `count`, `bytes` or `nanoseconds`; of a counter, that a second.
    pub unit: &'static str,
    /// The number, of a counter what it grew by a second in the interval, of a histogram how many durations there were a
    /// second.
    pub value: f64,
    /// True for counters and histograms.
    pub is_rate: bool,
    /// Of a histogram, the quantile of the durations of the interval in nanoseconds; null of others, and where there
    /// were none.
    pub p99_ns: Option<u64>,
}

/// What a loop does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// It polls: it waits for something to do.
    #[default]
    Idle,
    /// It is busy, for less than its threshold.
    Running,
    /// It runs code that was announced to block.
    ExpectedBlock,
    /// It is busy for longer than its threshold.
    Stalled,
    /// Its process or its thread is stopped, by a signal or a debugger: nobody's code runs. The rest of the state is
    /// what it was doing.
    Stopped,
    /// Its process has ended; the rest of the state is what it did last.
    Ended,
}

impl StateKind {
    /// Returns the word that stands for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            StateKind::Idle => "idle",
            StateKind::Running => "running",
            StateKind::ExpectedBlock => "expected_block",
            StateKind::Stalled => "stalled",
            StateKind::Stopped => "stopped",
            StateKind::Ended => "ended",
        }
    }
}

/// A loop's state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StateView {
    /// In a word.
    pub kind: StateKind,
    /// Stalled beyond the critical threshold.
    pub is_critical: bool,
    /// Age of the busy period in nanoseconds; 0 while it polls.
    pub busy_ns: u64,
    /// The part of it that was announced, in nanoseconds: thresholds leave it out.
    pub expected_ns: u64,
    /// How long it has polled, in nanoseconds; 0 while it is busy.
    pub parked_ns: u64,
    /// Callbacks and jobs that ended within the busy period.
    pub busy_callbacks: u64,
    /// What runs; `None` while it polls.
    pub running: Option<RunningView>,
    /// The spans open inside, outermost first.
    pub spans: Vec<SpanView>,
    /// The announced block that is open, as `name (file:line)`.
    pub expected: Option<String>,
    /// The drain that runs.
    pub drain: Option<QueueView>,
    /// What keeps it from polling; only where it is stalled, or ended so.
    pub verdict: Option<VerdictView>,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunningView {
    /// Phase of the loop; empty where its runtime does not tell.
    pub phase: String,
    /// Kind of callback; `None` between two of them.
    pub kind: Option<String>,
    /// Where it was registered; `None` between callbacks, or where not known.
    pub site: Option<PlaceView>,
    /// How long it has run, in nanoseconds; between callbacks, since the last one ended.
    pub running_ns: u64,
    /// For people: `timer flush (src/x.rs:40)`, `phase poll`.
    pub words: String,
}

/// A place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlaceView {
    /// The name it was given; empty where none was.
    pub name: String,
    /// Source file; empty where not known.
    pub file: String,
    /// Line, from 1; 0 where not known.
    pub line: u32,
    /// Name and place for people: `flush (src/x.rs:25)`; `?` where nothing is known.
    pub label: String,
}

/// A span that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpanView {
    /// Its name.
    pub name: String,
    /// Its fields: `key=value key=value`; may be cut.
    pub fields: String,
}

/// A drain under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueView {
    /// The queue, as in metrics; empty between two jobs.
    pub queue: String,
    /// How long it lasts, in nanoseconds.
    pub drain_ns: u64,
    /// Jobs that it has run; null where they are not told one by one.
    pub jobs: Option<u64>,
}

/// What keeps a loop from polling.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VerdictView {
    /// `callback` where one run took most of the busy period, else what starves the loop: the `cause` of the metrics.
    pub cause: &'static str,
    /// Kind of what ran; `None` where nothing did.
    pub kind: Option<String>,
    /// Where that was registered.
    pub site: Option<PlaceView>,
    /// How many runs of it, about where `is_estimated`; null for many whose number nobody knows.
    pub runs: Option<u64>,
    /// The recorder has forgotten the older part of the busy period, and `runs` is an estimate from the rest.
    pub is_estimated: bool,
    /// The longest record that the recorder still has, in nanoseconds; a batch is one record.
    pub longest_ns: u64,
    /// For people: `timer flush (src/x.rs:40)`, `412 x io_read src/x.rs:40`, `about 40000 x io_read src/x.rs:40`.
    pub words: String,
}

/// Lag: how long an event that becomes ready at a random moment waits. Of those who waited to their end in the
/// interval, and those who wait still: these count again when their wait is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LagView {
    /// Quantiles in nanoseconds, within 9 % of the truth, and no longer than the longest busy period where that is known; 0
    /// where nobody waited.
    pub p50_ns: u64,
    /// See `p50_ns`.
    pub p90_ns: u64,
    /// See `p50_ns`.
    pub p99_ns: u64,
    /// The longest wait, likewise.
    pub max_ns: u64,
    /// One row of the heatmap: how many waited up to each of [`View::lag_bounds_ns`], and longer than the last.
    pub row: Vec<u64>,
}

/// Time in one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseView {
    /// Its name.
    pub phase: String,
    /// Time in its callbacks and the jobs drained after them as part of the interval, 0 to 1.
    pub share_ratio: f64,
    /// Callbacks that ended in it; null where the runtime cannot know.
    pub callbacks_per_second: Option<f64>,
}

/// One callback site.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SiteView {
    /// `name (file:line)`.
    pub label: String,
    /// Kind of callback or job.
    pub kind: String,
    /// Its run time as part of the interval, 0 to 1: spans inside included, drained jobs not.
    pub share_ratio: f64,
    /// Runs that ended.
    pub calls_per_second: f64,
    /// Longest single run of the last 30 to 60 s, one that still runs included, in nanoseconds.
    pub longest_ns: u64,
    /// It runs now.
    pub is_running: bool,
}

/// Draining one queue. What the runtime cannot know is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DrainView {
    /// The queue, as in metrics.
    pub queue: String,
    /// Drains that ended.
    pub drains_per_second: Option<f64>,
    /// Jobs that they ran.
    pub jobs_per_second: Option<f64>,
    /// Quantile of their length in the interval, in nanoseconds; one that still runs is not among them.
    pub p99_ns: Option<u64>,
    /// Most jobs queued at once in the last 30 to 60 s.
    pub depth_max: Option<u64>,
}

/// The thread pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PoolView {
    /// Its threads; this and the next three are null where nobody knows.
    pub threads: Option<u64>,
    /// Those that run a job.
    pub busy: Option<u64>,
    /// Jobs that wait.
    pub queued: Option<u64>,
    /// How long the first of them has waited, in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// For how long all threads have been busy with jobs waiting, in nanoseconds; 0 where it is not so.
    pub saturated_ns: u64,
    /// Jobs that ended; null where the runtime cannot know.
    pub jobs_per_second: Option<f64>,
    /// Quantile of submit to start, of the jobs that started in the interval, in nanoseconds; 0 where none did, null
    /// where the runtime cannot know.
    pub wait_p95_ns: Option<u64>,
    /// Busy time of its threads as part of the interval, 0 to 1; null where it is not known how many there are.
    pub utilization_ratio: Option<f64>,
}

/// Stalls since the loop began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StallView {
    /// Busy periods longer than the warning threshold, the one that runs included.
    pub warning_count: u64,
    /// Longer than the critical one.
    pub critical_count: u64,
    /// Of `warning_count`, those of the interval.
    pub warning_count_new: u64,
    /// Time in stalls that ended, and in the one that runs, in nanoseconds.
    pub blocked_ns: u64,
    /// Thresholds in nanoseconds.
    pub warning_ns: u64,
    /// See `warning_ns`.
    pub critical_ns: u64,
    /// Stalls by cause, where the loop's own agent made the view; empty elsewhere: pages do not tell causes.
    pub causes: BTreeMap<&'static str, u64>,
}
