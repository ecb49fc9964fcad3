//! Tokio runtimes: which worker is blocked, by which task or route, how late timers come, and how long blocking jobs wait.
//!
//! The same families as of every loop; here are those that such a runtime fills, in its own words. What it cannot know has no
//! series, and so no panel here.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{LOOP_NAME, POOL, POOL_NAME, RANGE, WINDOW, loops, processes};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{Group, Series, buckets, increase, max, per_minute, quantile, rate, total_rate};
use loopscope_report::metrics::catalog::{self as c, Family};

const NAME: &str = "tokio";

const ALL: Group<'static> = Group::By(&[]);
const EACH: Group<'static> = Group::By(super::selection::LOOP);
const EACH_POOL: Group<'static> = Group::By(POOL);

const HOW: &str = "A runtime has a row `NAME` here, which is the sum of its **workers**, and a row `NAME/shared` \
    for what belongs to no worker: its timers and I/O (lag), and its blocking pool. A worker is **blocked** while \
    it runs polls that do not return: everything queued on it waits, and if it holds the driver, so do the timers \
    and I/O of all workers. Routes and tasks have names if they are wrapped (`RouteLayer`, `probed`, `named`).";

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-tokio",
        "Loopscope / Tokio",
        "Tokio runtimes: blocked workers, the tasks and routes that block them, lag of timers, the blocking pool.",
    )
    .choose_process(true)
    .choose("loop", "Runtime", &runtimes(), true);
    with_marks(board)
        .row("Now", now())
        .row("Blocked workers", workers())
        .row("Tasks and routes", tasks())
        .row("Timers and I/O", timers())
        .row("The blocking pool", pool())
        .row("How to read this", vec![Panel::new(Shape::Words(HOW), "Runtimes, workers, tasks", "")])
}

fn runtimes() -> Series {
    processes(&c::LOOP_INFO).with("runtime", "=", NAME).with("loop", "!~", ".+/shared(#[0-9]+)?")
}

/// Of the chosen runtimes' own pages.
fn whole(family: &'static Family) -> Series {
    processes(family).with("loop", "=~", "($loop)/shared(#[0-9]+)?")
}

/// Of the pools of the chosen runtimes, which are called as those pages.
fn pools(family: &'static Family) -> Series {
    processes(family).with("pool", "=~", "($loop)/shared(#[0-9]+)?")
}

fn now() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Figure,
            "Blocked now",
            "Time since the worst worker last returned from its tasks. 0 while all are parked or polling.",
        )
        .ask(max(&loops(&c::STALL), ALL), "blocked")
        .unit("s")
        .steps(t::STALL)
        .size(6, 4)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Blocks",
            "How often a worker was blocked for longer than the critical threshold, \
            in the time shown.",
        )
        .ask(increase(&loops(&c::BLOCKED).with("severity", "=", "critical"), ALL, RANGE), "blocks")
        .steps(t::NONE_EXPECTED)
        .decimals(0)
        .size(6, 4)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::Figure,
            "Busy",
            "Share of the last ten seconds that workers ran tasks, in the busiest runtime.",
        )
        .ask(max(&loops(&c::UTILIZATION), ALL), "busy")
        .unit("percentunit")
        .steps(t::UTILIZATION)
        .between(0.0, 1.0)
        .size(6, 4)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Figure,
            "Oldest blocking job",
            "Age of the oldest `spawn_blocking` job waiting for a thread.",
        )
        .ask(max(&pools(&c::POOL_OLDEST_WAIT), ALL), "oldest")
        .unit("s")
        .steps(t::OLDEST_WAIT)
        .size(6, 4)
        .runbook("PoolStuck"),
    ]
}

fn workers() -> Vec<Panel> {
    let worker = Group::By(&["job", "instance", "pid", "name", "loop", "worker"]);
    let called = "{{instance}} {{loop}}/{{worker}} {{name}} {{pid}}";
    vec![
        Panel::new(Shape::Lines, "Blocked, by worker", "Time since each worker last returned from its tasks, at the scrape.")
            .ask(max(&loops(&c::WORKER_STALL), worker) + " > 0", called)
            .unit("s")
            .lines(t::STALL)
            .from(0.0)
            .size(12, 8)
            .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Stalls per minute, by worker",
            "Longer than the warning threshold. All on one worker: one task, or a `LocalSet`. Spread over all: a route.",
        )
        .ask(per_minute(&loops(&c::WORKER_BLOCKED).with("severity", "=", "warning"), worker, WINDOW), called)
        .from(0.0)
        .size(12, 8)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::Lines,
            "Busy, by worker",
            "Share of the last ten seconds. A single worker at 100 %: a task that wakes itself, or one too big for \
             one worker.",
        )
        .ask(max(&loops(&c::WORKER_UTILIZATION), worker), called)
        .unit("percentunit")
        .between(0.0, 1.0)
        .size(12, 8)
        .runbook("UtilizationHigh"),
        Panel::new(Shape::Lines, "Duration of stalls", "Of those longer than the warning threshold: p50 and p99.")
            .ask(quantile("0.5", &loops(&c::BLOCKED_DURATION), EACH, WINDOW), format!("{LOOP_NAME} p50"))
            .ask(quantile("0.99", &loops(&c::BLOCKED_DURATION), EACH, WINDOW), format!("{LOOP_NAME} p99"))
            .unit("s")
            .lines(t::STALL)
            .logarithmic()
            .size(12, 8)
            .runbook("LoopBlocked"),
    ]
}

fn tasks() -> Vec<Panel> {
    let (site, place) = (Group::By(&["site"]), Group::By(&["site", "kind"]));
    vec![
        Panel::new(
            Shape::Table {
                labels: &["site", "kind"],
                columns: &[
                    Column { name: "Longest poll", unit: "s", steps: Some(t::STALL) },
                    Column { name: "Busy", unit: "percentunit", steps: None },
                    Column { name: "Polls", unit: "ops", steps: None },
                ],
                link: None,
            },
            "Tasks and routes",
            "Tasks by name, route, or where they were wrapped or spawned: longest single poll of the last minute, \
             share of a worker they use, and polls per second.",
        )
        .column(format!("topk(20, {})", max(&loops(&c::SITE_MAX), place)), "Longest poll")
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_SECONDS), place, RANGE)), "Busy")
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_CALLS), place, RANGE)), "Polls")
        .size(24, 9),
        Panel::new(Shape::Lines, "Longest poll", "Of the last minute, by task or route.")
            .ask(max(&loops(&c::SITE_MAX), site), "{{site}}")
            .unit("s")
            .lines(t::STALL)
            .logarithmic(),
        Panel::new(Shape::Stack, "Busy workers by task", "Workers kept busy by each task or route, on average.")
            .ask(rate(&loops(&c::SITE_SECONDS), site, WINDOW), "{{site}}")
            .from(0.0),
        Panel::new(Shape::Heatmap, "Duration of polls", "Of wrapped tasks; of all with `--cfg tokio_unstable`. Darker \
            is more polls.")
            .ask(buckets(&loops(&c::CALLBACK_DURATION), WINDOW), "{{le}}")
            .unit("s"),
    ]
}

fn timers() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Lag of timers",
            "99th percentile of how late the runtime's timers fire. They are late when the worker that holds the \
             driver is blocked, or all are busy.",
        )
        .ask(quantile("0.99", &whole(&c::LAG_SECONDS), EACH, WINDOW), LOOP_NAME)
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .size(12, 8)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Lines,
            "Stalls of the driver",
            "Per minute: how often the whole runtime handled no timer and no I/O for longer than the warning threshold.",
        )
        .ask(per_minute(&whole(&c::BLOCKED).with("severity", "=", "warning"), EACH, WINDOW), LOOP_NAME)
        .from(0.0)
        .size(12, 8)
        .runbook("LoopBlocked"),
    ]
}

fn pool() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Wait for the blocking pool",
            "95th percentile: of jobs through `loopscope_tokio::spawn_blocking` (user), and of probe jobs (other).",
        )
        .ask(quantile("0.95", &pools(&c::POOL_WAIT), Group::By(&["kind"]), WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::POOL_WAIT)
        .logarithmic()
        .runbook("PoolWaitHigh"),
        Panel::new(Shape::Lines, "Age of the oldest blocking job", "Rises while all threads of the pool are busy.")
            .ask(max(&pools(&c::POOL_OLDEST_WAIT), EACH_POOL), POOL_NAME)
            .unit("s")
            .lines(t::OLDEST_WAIT)
            .from(0.0)
            .runbook("PoolStuck"),
        Panel::new(
            Shape::Lines,
            "Threads and queue",
            "At the scrape; only with `--cfg tokio_unstable`.",
        )
        .ask(max(&pools(&c::POOL_THREADS), EACH_POOL), format!("{POOL_NAME} threads"))
        .ask(max(&pools(&c::POOL_THREADS_BUSY), EACH_POOL), format!("{POOL_NAME} busy"))
        .ask(max(&pools(&c::POOL_QUEUE_DEPTH), EACH_POOL), format!("{POOL_NAME} waiting"))
        .from(0.0),
        Panel::new(Shape::Stack, "Threads by kind of job", "Threads occupied by jobs through loopscope, \
            on average.")
            .ask(total_rate(&pools(&c::POOL_RUN), Group::By(&["kind"]), WINDOW), "{{kind}}")
            .from(0.0)
            .runbook("PoolSaturated"),
        Panel::new(Shape::Lines, "Jobs that failed", "Per minute: panicked, or never run.")
            .ask(per_minute(&pools(&c::POOL_COMPLETED).with("outcome", "!=", "ok"), Group::By(&["outcome"]), WINDOW), "{{outcome}}")
            .from(0.0),
        Panel::new(Shape::Heatmap, "Wait of all blocking jobs", "From submission to start; darker is more jobs.")
            .ask(buckets(&pools(&c::POOL_WAIT), WINDOW), "{{le}}")
            .unit("s"),
    ]
}
