//! The table of all metrics: the only place where their names exist.
//!
//! Dashboards, alerts and documents are checked against [`ALL`]; the encoder can write nothing that is not in it.
//!
//! A number that a loop's runtime cannot know is no 0: the loop has no series of it
//! ([`Description::knows`](loopscope_probe::description::Description::knows)). Numbers under names that a runtime
//! gives are not here: they are families that begin with `loopscope_runtime_`.
//!
//! Series of a loop end when the loop ends. Series of enum labels are there from the beginning at 0, because an
//! alert on `increase()` does not see a counter that is born at 1; those of a kind of callback or job, all of them,
//! from when the loop first has one of that kind, because no loop has all sixteen. Histograms appear when they are
//! first used, except those that alerts read.

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows, until the process or the loop ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, with these classic bounds: eighths of octaves, `2^(n/8)` s.
    Durations(&'static [i32]),
    /// Plain counts, with bounds 2^0 to 2^16.
    Counts,
}

/// What a family's values measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share, 0 to 1.
    Ratio,
    /// A number of things.
    Count,
    /// Always 1: the labels are the information.
    Info,
}

impl Unit {
    /// Returns what a name ends in, before `_total`, where there is a unit to name.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Ratio => Some("ratio"),
            Unit::Count | Unit::Info => None,
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// Its name, as exported.
    pub name: &'static str,
    /// What its samples are.
    pub kind: Type,
    /// What its values measure.
    pub unit: Unit,
    /// Its labels, in the order they are written in.
    pub labels: &'static [&'static str],
    /// One sentence for the reader of the page.
    pub help: &'static str,
}

/// Bounds of run times and queue delays: 1 us to 8 s. Like all of these, `n` is for `2^(n/8)` seconds, a boundary of
/// the page's grid, so that the counts are exact. There are two to an octave from 62 ms to 1 s, where people set
/// alerts.
pub const FAST: &[i32] =
    &[-160, -136, -112, -96, -80, -64, -56, -48, -40, -32, -28, -24, -20, -16, -12, -8, -4, 0, 8, 24];
/// Bounds of lag and lateness: 1 ms to 32 s, four to an octave from 62 ms to 1 s.
pub const LAG: &[i32] = &[
    -80, -64, -48, -40, -32, -30, -28, -26, -24, -22, -20, -18, -16, -14, -12, -10, -8, -6, -4, -2, 0, 8, 16,
    24, 40,
];
/// Bounds of the poll's wait, which nobody is woken for: 61 us to 32 s.
pub const WAIT: &[i32] = &[-112, -80, -64, -48, -32, -24, -16, -8, 0, 24, 40];
/// Bounds of what the agent measures of itself: 1 ms to 32 s.
pub const OWN: &[i32] = &[-80, -64, -48, -32, -24, -16, -8, 0, 16, 40];
/// Bounds of all of them where [few](crate::metrics::classic_buckets::ClassicBuckets::Few) are wanted. One of them is
/// that of the objective for lag, 125 ms.
pub const FEW: &[i32] = &[-80, -56, -32, -24, -16, -8, 0, 16, 40];

type LabelNames = &'static [&'static str];

const fn counter(name: &'static str, unit: Unit, labels: LabelNames, help: &'static str) -> Family {
    Family { name, kind: Type::Counter, unit, labels, help }
}

const fn gauge(name: &'static str, unit: Unit, labels: LabelNames, help: &'static str) -> Family {
    Family { name, kind: Type::Gauge, unit, labels, help }
}

const fn durations(
    name: &'static str,
    bounds: &'static [i32],
    labels: LabelNames,
    help: &'static str,
) -> Family {
    Family { name, kind: Type::Durations(bounds), unit: Unit::Seconds, labels, help }
}

const fn counts(name: &'static str, labels: LabelNames, help: &'static str) -> Family {
    Family { name, kind: Type::Counts, unit: Unit::Count, labels, help }
}

macro_rules! catalog {
    // One static per family, and the list with every one of them in order:
    //     pub static LOOP_INFO: Family = gauge("loopscope_loop_info", ...);
    //     pub static ALL: &[&Family] = &[&LOOP_INFO, ...];
    ($(#[$about:meta])* $list:ident; $($name:ident = $family:expr;)*) => {
        $(#[doc = "See its help."] pub static $name: Family = $family;)*
        $(#[$about])*
        pub static $list: &[&Family] = &[$(&$name,)*];
    };
}

use Unit::{Bytes, Count, Info, Ratio, Seconds};

catalog! {
    /// Every family of our own, in the order of the page.
    ALL;

    LOOP_INFO = gauge("loopscope_loop_info", Info, &["loop", "runtime", "backend", "thread"],
        "Properties of a loop, or of a runtime with several workers (thread is then empty). Join with on (job, \
         instance, pid, loop) group_left (runtime).");
    ITERATIONS = counter("loopscope_loop_iterations_total", Count, &["loop"], "Iterations of the loop.");
    LOOP_TIME = counter("loopscope_loop_time_seconds_total", Seconds, &["loop", "state"],
        "Time the loop was active (running) or idle (in its poll).");
    UTILIZATION = gauge("loopscope_loop_utilization_ratio", Ratio, &["loop"],
        "Share of time the loop was active, over the last 10 seconds; of a runtime, the mean of its workers.");
    STALL = gauge("loopscope_loop_stall_seconds", Seconds, &["loop"],
        "Duration of the current busy period, excluding announced blocks; 0 while polling. For a runtime: of its \
         worst worker.");
    LAG_SECONDS = durations("loopscope_loop_lag_seconds", LAG, &["loop"],
        "Delay from an event becoming ready, at a random time, to the loop's next poll; 1000 observations per \
         second. For a runtime: 1000 per second and worker; an event that another worker takes first waits less.");
    THREAD_RUN_DELAY = counter("loopscope_thread_run_delay_seconds_total", Seconds, &["loop"],
        "Time the loop's thread was runnable but not scheduled (schedstat), since the loop was first observed; of a \
         runtime, the sum over its workers.");
    TIMER_LATENESS = durations("loopscope_timer_lateness_seconds", LAG, &["loop"],
        "Delay from a timer's due time to the start of its callback.");
    ITERATION_DURATION = durations("loopscope_loop_iteration_duration_seconds", FAST, &["loop"],
        "Busy time of one iteration, excluding the wait in the poll.");
    POLL_WAIT = durations("loopscope_poll_wait_seconds", WAIT, &["loop"],
        "Time of one poll in the kernel.");
    POLL_EVENTS = counts("loopscope_poll_events", &["loop"], "Events returned by one poll.");
    PHASE_DURATION = durations("loopscope_phase_duration_seconds", FAST, &["loop", "phase"],
        "Time of one phase in one iteration, if it had work.");
    PHASE_CALLBACKS = counter("loopscope_phase_callbacks_total", Count, &["loop", "phase"],
        "Callbacks run, by phase.");

    CALLBACK_DURATION = durations("loopscope_callback_duration_seconds", FAST, &["loop", "kind"],
        "Run time of one callback, excluding the jobs drained after it.");
    CALLBACK_QUEUE_DELAY = durations("loopscope_callback_queue_delay_seconds", FAST, &["loop", "kind"],
        "Delay from a callback becoming ready to its start.");
    CALLBACK_ERRORS = counter("loopscope_callback_errors_total", Count, &["loop", "kind"],
        "Callbacks that panicked.");
    SITE_SECONDS = counter("loopscope_callback_site_seconds_total", Seconds, &["loop", "site", "kind"],
        "Run time of the callbacks registered at a site, for the heaviest sites.");
    SITE_CALLS = counter("loopscope_callback_site_calls_total", Count, &["loop", "site", "kind"],
        "Runs of the callbacks registered at a site.");
    SITE_MAX = gauge("loopscope_callback_site_max_seconds", Seconds, &["loop", "site", "kind"],
        "Longest single run at a site within the last minute.");
    WORK_SUBMITTED = counter("loopscope_work_submitted_total", Count, &["loop", "kind"],
        "Operations started: timers, connection attempts, pool jobs.");
    WORK_COMPLETED = counter("loopscope_work_completed_total", Count, &["loop", "kind", "outcome"],
        "Operations by outcome: callback returned (ok), callback panicked (error), or cancelled before it ran (cancelled). \
         The callback of a cancelled pool job runs: see loopscope_pool_completed_total.");
    TASK_STAGE = durations("loopscope_task_stage_duration_seconds", FAST, &["loop", "stage"],
        "Time of a task by stage: operation (submitted to ready), queued (to start), executing (to return), \
         completed (to drained).");

    DRAIN_DURATION = durations("loopscope_microtask_drain_duration_seconds", FAST, &["loop", "queue"],
        "Time of one drain of a queue, from its first job until it is empty.");
    DRAIN_JOBS = counts("loopscope_microtask_drain_jobs", &["loop", "queue"], "Jobs in one drain of a queue.");
    DRAINED_JOBS = counter("loopscope_microtask_jobs_total", Count, &["loop", "queue"], "Jobs run from a queue.");
    QUEUE_DEPTH_MAX = gauge("loopscope_microtask_queue_depth_max", Count, &["loop", "queue"],
        "Maximum depth of a queue within the last minute.");
    STARVATION_ACTIVE = gauge("loopscope_starvation_active", Count, &["loop", "cause"],
        "1 while the loop has been kept from polling for longer than the warning threshold, by cause.");
    STARVATION = counter("loopscope_starvation_total", Count, &["loop", "cause"],
        "Starvation episodes, counted when they are detected.");
    STARVATION_DURATION = durations("loopscope_starvation_duration_seconds", LAG, &["loop", "cause"],
        "Duration of starvation episodes by cause, counted when they end.");
    BLOCKED = counter("loopscope_blocked_total", Count, &["loop", "severity"],
        "Stalls by severity, counted when a busy period exceeds the threshold.");
    STALL_THRESHOLD = gauge("loopscope_stall_threshold_seconds", Seconds, &["loop", "severity"],
        "Stall threshold by severity; set by the program, or changed while it runs.");
    BLOCKED_DURATION = durations("loopscope_blocked_duration_seconds", LAG, &["loop"],
        "Duration of stalls (busy periods longer than the warning threshold), counted when they end.");
    INCIDENTS = counter("loopscope_incidents_total", Count, &["loop", "kind"],
        "Incidents by kind: stalls, starvation and saturated pools, counted when they are detected.");
    REPORTS_SUPPRESSED = counter("loopscope_incident_reports_suppressed_total", Count, &["loop"],
        "Incidents recorded but not logged, because the log budget of that minute was used up.");
    CAPTURES = counter("loopscope_captures_total", Count, &["loop", "result"],
        "Stack captures during incidents by result: ok, failed, or rate_limited (beyond the first stack of a \
         culprit and two per second).");

    POOL_THREADS = gauge("loopscope_pool_threads", Count, &["pool"], "Worker threads of the pool.");
    POOL_THREADS_BUSY = gauge("loopscope_pool_threads_busy", Count, &["pool"], "Worker threads running a job.");
    POOL_QUEUE_DEPTH = gauge("loopscope_pool_queue_depth", Count, &["pool"], "Jobs waiting for a thread.");
    POOL_QUEUE_DEPTH_MAX = gauge("loopscope_pool_queue_depth_max", Count, &["pool"],
        "Maximum number of waiting jobs since the start.");
    POOL_OLDEST_WAIT = gauge("loopscope_pool_oldest_wait_seconds", Seconds, &["pool"],
        "Age of the oldest waiting job; grows while the pool is stuck.");
    POOL_BUSY = counter("loopscope_pool_busy_seconds_total", Seconds, &["pool"],
        "Run time summed over all threads, including running jobs.");
    POOL_SATURATED = counter("loopscope_pool_saturated_seconds_total", Seconds, &["pool"],
        "Time in which jobs wait and no thread can take one.");
    POOL_SUBMITTED = counter("loopscope_pool_submitted_total", Count, &["pool", "kind"], "Jobs submitted to the pool.");
    POOL_COMPLETED = counter("loopscope_pool_completed_total", Count, &["pool", "kind", "outcome"],
        "Jobs by outcome: returned (ok), panicked (error), or cancelled while waiting (cancelled).");
    POOL_WAIT = durations("loopscope_pool_wait_duration_seconds", FAST, &["pool", "kind"],
        "Delay from submission to start of a job.");
    POOL_RUN = durations("loopscope_pool_run_duration_seconds", FAST, &["pool", "kind"], "Run time of a job.");
    POOL_COMPLETION_DELAY = durations("loopscope_pool_completion_delay_seconds", FAST, &["pool"],
        "Delay from the end of a job on its thread to its callback on the loop.");

    HANDLES_ACTIVE = gauge("loopscope_handles_active", Count, &["loop", "type"], "Open handles.");
    HANDLES_REFERENCED = gauge("loopscope_handles_referenced", Count, &["loop"],
        "Open handles that keep the loop alive.");
    REQUESTS_ACTIVE = gauge("loopscope_requests_active", Count, &["loop"], "Requests in progress.");
    TIMERS_PENDING = gauge("loopscope_timers_pending", Count, &["loop"], "Timers pending.");
    WAKES_COALESCED = counter("loopscope_wakes_coalesced_total", Count, &["loop"],
        "Wakeups from other threads that were merged with a pending one.");

    WORKER_INFO = gauge("loopscope_worker_info", Info, &["loop", "worker", "thread"],
        "Properties of one worker of a runtime; the loop families have the sum over all workers.");
    WORKER_TIME = counter("loopscope_worker_time_seconds_total", Seconds, &["loop", "worker", "state"],
        "Time one worker of a runtime was active (running) or idle (in its poll).");
    WORKER_UTILIZATION = gauge("loopscope_worker_utilization_ratio", Ratio, &["loop", "worker"],
        "Active share of one worker's time over the last 10 seconds.");
    WORKER_STALL = gauge("loopscope_worker_stall_seconds", Seconds, &["loop", "worker"],
        "Duration of the worker's current busy period, excluding announced blocks; 0 while polling.");
    WORKER_RUN_DELAY = counter("loopscope_worker_run_delay_seconds_total", Seconds, &["loop", "worker"],
        "Time the worker's thread was runnable but not scheduled (schedstat), since the worker was first observed.");
    WORKER_BLOCKED = counter("loopscope_worker_blocked_total", Count, &["loop", "worker", "severity"],
        "Stalls of one worker by severity, counted when a busy period exceeds the threshold.");

    BUILD_INFO = gauge("loopscope_build_info", Info, &["version", "target"], "Version and target of the agent.");
    PROCESS_INFO = gauge("loopscope_process_info", Info, &["name", "pid"],
        "Program name and pid of the process whose metrics these are.");
    AGENT_CPU = counter("loopscope_agent_cpu_seconds_total", Seconds, &[], "CPU time of the agent's threads.");
    AGENT_DROPPED = counter("loopscope_agent_dropped_events_total", Count, &["loop", "reason"],
        "Registrations counted under a shared name, because the table of sites or of call paths was full.");
    AGENT_TICKS = counter("loopscope_agent_ticks_total", Count, &[], "Ticks of the agent: checks of all loops, not \
                           counting those for a request.");
    AGENT_PANICS = counter("loopscope_agent_panics_total", Count, &[], "Panics caught in ticks and request handlers.");
    AGENT_TICK_LATENESS = durations("loopscope_agent_tick_lateness_seconds", OWN, &[],
        "How late the agent's ticks start; high if the agent itself is short of CPU time.");
    AGENT_DETECTION_DELAY = durations("loopscope_agent_detection_delay_seconds", OWN, &[],
        "Age of a stall beyond the warning threshold when the agent detected it.");
    AGENT_LAST_TICK = gauge("loopscope_agent_last_tick_timestamp_seconds", Seconds, &[],
        "Unix time of the agent's last tick, not counting those for a request.");
    AGENT_REPORTS_DROPPED = counter("loopscope_agent_reports_dropped_total", Count, &[],
        "Warnings not logged because the program's log was blocked.");
    INCIDENT_WRITES = counter("loopscope_agent_incident_writes_total", Count, &["result"],
        "Incidents written to the incidents directory, by result: ok, failed, or dropped because the disk was too slow.");
    INCIDENT_ACTIONS = counter("loopscope_agent_incident_actions_total", Count, &["result"],
        "Actions run for incidents, by result: ok, failed (error or timeout), or dropped because too many were queued.");
    THRESHOLD_CHANGES = counter("loopscope_agent_threshold_changes_total", Count, &[],
        "Changes of stall thresholds at run time; the program's log says who made them.");
    SCRAPE_DURATION = durations("loopscope_agent_scrape_duration_seconds", OWN, &["format"],
        "Time to render the metrics of one scrape.");
    SCRAPE_SIZE = gauge("loopscope_agent_scrape_size_bytes", Bytes, &["format"],
        "Size of the metrics of the last scrape.");
    SERIES_OVERFLOW = gauge("loopscope_agent_series_overflow", Count, &["limit"],
        "Loops, sites, workers and series that have none of their own because a limit is reached, and metrics of the program whose names are taken.");
    HTTP_REQUESTS = counter("loopscope_agent_http_requests_total", Count, &["path", "code"],
        "HTTP requests answered, by path and status code.");
    AGENT_SERIES = gauge("loopscope_agent_series", Count, &[], "Samples of loopscope's own metrics in this scrape, as \
                          Prometheus counts them with classic histograms.");

    PROCESS_CPU = counter("process_cpu_seconds_total", Seconds, &[], "Total user and system CPU time spent in seconds.");
    PROCESS_RESIDENT = gauge("process_resident_memory_bytes", Bytes, &[], "Resident memory size in bytes.");
    PROCESS_VIRTUAL = gauge("process_virtual_memory_bytes", Bytes, &[], "Virtual memory size in bytes.");
    PROCESS_OPEN_FDS = gauge("process_open_fds", Count, &[], "Number of open file descriptors.");
    PROCESS_MAX_FDS = gauge("process_max_fds", Count, &[], "Maximum number of open file descriptors.");
    PROCESS_START = gauge("process_start_time_seconds", Seconds, &[],
        "Start time of the process since unix epoch in seconds.");
    PROCESS_THREADS = gauge("process_threads", Count, &[], "Number of OS threads in the process.");
}

catalog! {
    /// Families under the names of Node's prom-client; off by default.
    PROM_CLIENT;

    PROM_LAG = gauge("nodejs_eventloop_lag_seconds", Seconds, &["loop"],
        "Mean lag of the last minute.");
    PROM_LAG_MIN = gauge("nodejs_eventloop_lag_min_seconds", Seconds, &["loop"], "Minimum lag of the last minute.");
    PROM_LAG_MAX = gauge("nodejs_eventloop_lag_max_seconds", Seconds, &["loop"], "Maximum lag of the last minute.");
    PROM_LAG_MEAN = gauge("nodejs_eventloop_lag_mean_seconds", Seconds, &["loop"], "Mean lag of the last minute.");
    PROM_LAG_STDDEV = gauge("nodejs_eventloop_lag_stddev_seconds", Seconds, &["loop"],
        "Standard deviation of the lag of the last minute.");
    PROM_LAG_P50 = gauge("nodejs_eventloop_lag_p50_seconds", Seconds, &["loop"], "Median lag of the last minute.");
    PROM_LAG_P90 = gauge("nodejs_eventloop_lag_p90_seconds", Seconds, &["loop"],
        "90th percentile of the lag of the last minute.");
    PROM_LAG_P99 = gauge("nodejs_eventloop_lag_p99_seconds", Seconds, &["loop"],
        "99th percentile of the lag of the last minute.");
    PROM_HANDLES = gauge("nodejs_active_handles", Count, &["loop", "type"], "Open handles by type.");
    PROM_RESOURCES = gauge("nodejs_active_resources", Count, &["loop", "type"],
        "Open handles by type.");
    PROM_HANDLES_TOTAL = gauge("nodejs_active_handles_total", Count, &["loop"], "Open handles.");
    PROM_REQUESTS_TOTAL = gauge("nodejs_active_requests_total", Count, &["loop"], "Requests in progress.");
    PROM_RESOURCES_TOTAL = gauge("nodejs_active_resources_total", Count, &["loop"],
        "Open handles and requests in progress.");
}

catalog! {
    /// Families under the names of OpenTelemetry's conventions for Node; off by default.
    OTEL;

    OTEL_DELAY_MIN = gauge("nodejs_eventloop_delay_min_seconds", Seconds, &["loop"], "Minimum lag of the last minute.");
    OTEL_DELAY_MAX = gauge("nodejs_eventloop_delay_max_seconds", Seconds, &["loop"],
        "Maximum lag of the last minute.");
    OTEL_DELAY_MEAN = gauge("nodejs_eventloop_delay_mean_seconds", Seconds, &["loop"], "Mean lag of the last minute.");
    OTEL_DELAY_STDDEV = gauge("nodejs_eventloop_delay_stddev_seconds", Seconds, &["loop"],
        "Standard deviation of the lag of the last minute.");
    OTEL_DELAY_P50 = gauge("nodejs_eventloop_delay_p50_seconds", Seconds, &["loop"], "Median lag of the last minute.");
    OTEL_DELAY_P90 = gauge("nodejs_eventloop_delay_p90_seconds", Seconds, &["loop"],
        "90th percentile of the lag of the last minute.");
    OTEL_DELAY_P99 = gauge("nodejs_eventloop_delay_p99_seconds", Seconds, &["loop"],
        "99th percentile of the lag of the last minute.");
    OTEL_UTILIZATION = gauge("nodejs_eventloop_utilization_ratio", Ratio, &["loop"],
        "Active share of the loop's time over the last 10 seconds.");
    OTEL_TIME = counter("nodejs_eventloop_time_seconds_total", Seconds, &["loop", "nodejs_eventloop_state"],
        "Time the loop was active (running) or idle (in its poll).");
}

catalog! {
    /// Families that only a page of a whole host has: `loopscope serve`.
    HOST;

    HOST_PROCESSES = gauge("loopscope_host_processes", Count, &["state"],
        "Processes whose metrics these are: alive, or ended recently.");
    HOST_SKIPPED = counter("loopscope_host_pages_skipped_total", Count, &["reason"],
        "Page files skipped, by reason, each counted once: other version, damaged, unreadable, foreign, or too many.");
    HOST_FORWARDS = counter("loopscope_host_forwards_total", Count, &["result"],
        "Captures and incidents requested from agents, by result: ok, failed, or dropped because too many were in \
         progress.");
}

/// Where a group of families begins on the page, and what it is about.
pub static GROUPS: &[(&str, &Family)] = &[
    ("The loop", &LOOP_INFO),
    ("Callbacks and work", &CALLBACK_DURATION),
    ("Queues, starvation and stalls", &DRAIN_DURATION),
    ("The thread pool", &POOL_THREADS),
    ("Handles", &HANDLES_ACTIVE),
    ("The workers of a runtime", &WORKER_INFO),
    ("The agent", &BUILD_INFO),
    ("The process", &PROCESS_CPU),
];

/// Every label: its name, how many values it can have, and which.
pub static LABELS: &[(&str, &str, &str)] = &[
    ("pid", "1 a process", "the process; on loops only with `loopscope serve`"),
    ("name", "1 a process", "the program's name; on loops only with `loopscope serve`"),
    (
        "loop",
        "65 a process",
        "the loop's name, numbered if not unique; workers of a runtime have the runtime's name; the 65th and later \
         are `_other`",
    ),
    ("worker", "128 a process", "the number of a worker in its runtime"),
    ("pool", "65 a process", "the loop or runtime that the pool belongs to"),
    ("runtime", "1 a loop", "the kind of event loop, such as `mio`; set by the program for its own loop"),
    ("backend", "1 a loop", "the poll mechanism"),
    ("thread", "1 a loop", "the thread it runs on"),
    ("state", "2", "`active`, `idle`; of a process, `alive`, `ended`"),
    ("phase", "16", "the phase of an iteration, named by the runtime"),
    ("kind", "16 (pools: 7, incidents: 3)", "the kind of callback, job or incident"),
    (
        "site",
        "50 a loop or runtime, 200 a process",
        "the callback's function and where it was registered; the rest is `_other`",
    ),
    ("result", "4", "`ok`, `failed`, `dropped`, `rate_limited`"),
    ("outcome", "3", "`ok`, `error`, `cancelled`"),
    ("stage", "4", "`operation`, `queued`, `executing`, `completed`"),
    ("queue", "2", "the queue, named by the runtime"),
    ("cause", "6", "what keeps the loop from polling"),
    ("severity", "2", "`warning`, `critical`"),
    ("type", "16", "the type of handle"),
    ("version", "1", "of the agent"),
    ("target", "1", "processor and system"),
    ("reason", "2 (pages: 5)", "`site_table_full`, `path_table_full`; of a page, why it was skipped"),
    ("format", "3", "`text`, `openmetrics`, `protobuf`"),
    ("limit", "5", "`loops`, `sites`, `workers`, `series`, `names`"),
    ("path", "a fixed list", "the path of the request; unknown ones are `other`"),
    ("code", "about 10", "the status code"),
    ("nodejs_eventloop_state", "2", "`active`, `idle`"),
];

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
