//! Loops of Node processes that the addon watches: what a turn is made of, floods, the pool, and the collector of garbage.
//!
//! What only this runtime has is under names that its pages give, which the catalogue does not have.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{LOOP, LOOP_NAME, POOL, POOL_NAME, TO_LOOP, WINDOW, loops, processes};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{Group, max, quantile, rate, sum, total_rate};
use loopscope_report::metrics::catalog as c;

const EACH: Group<'static> = Group::By(LOOP);
/// The loops that were chosen, for families that the catalogue does not have.
const CHOSEN: &str = "{job=~\"$job\",instance=~\"$instance\",name=~\"$name\",pid=~\"$pid\",loop=~\"$loop\"}";
/// What tells loops apart, as queries have it.
const BY_LOOP: &str = "job, instance, pid, name, loop";

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-node-loops",
        "Loopscope / Node loops",
        "Event loops of Node processes with the addon: iterations, callbacks, floods, thread pool, garbage \
         collection and memory.",
    )
    .choose_process(true)
    .choose("loop", "Loop", &processes(&c::LOOP_INFO).with("runtime", "=", "node"), true);
    with_marks(board)
        .row("Loops", now())
        .row("Iterations", turn())
        .row("Ticks and promises", drains())
        .row("Thread pool", pool())
        .row("Garbage collection and memory", memory())
}

fn runtime(name: &str) -> String {
    format!("loopscope_runtime_{name}{CHOSEN}")
}

/// Seconds a second of a histogram of the runtime's own; Prometheus has either classic buckets or a native one of it.
fn share(name: &str, by: &str) -> String {
    let sum = format!("sum by ({by}) (rate(loopscope_runtime_{name}_sum{CHOSEN}[{WINDOW}]))");
    format!("{sum}\nor\nsum by ({by}) (histogram_sum(rate(loopscope_runtime_{name}{CHOSEN}[{WINDOW}])))")
}

fn now() -> Vec<Panel> {
    let table = Panel::new(
        Shape::Table {
            labels: &["instance", "name", "pid", "loop", "job"],
            columns: &[
                Column { name: "Busy", unit: "percentunit", steps: Some(t::UTILIZATION) },
                Column { name: "Stalled", unit: "s", steps: Some(t::STALL) },
                Column { name: "Handles", unit: "none", steps: None },
                Column { name: "Heap", unit: "bytes", steps: None },
            ],
            link: Some(TO_LOOP),
        },
        "Main threads and workers",
        "For each loop: utilization over ten seconds, time without a poll, handles that keep it alive, and heap.",
    );
    vec![
        table
            .column(max(&loops(&c::UTILIZATION), EACH), "Busy")
            .column(max(&loops(&c::STALL), EACH), "Stalled")
            .column(max(&loops(&c::HANDLES_REFERENCED), EACH), "Handles")
            .column(format!("max by ({BY_LOOP}) ({})", runtime("heap_used_bytes")), "Heap")
            .size(16, 9),
        Panel::new(
            Shape::Lines,
            "Busy",
            "Share of time the loop ran code, as in performance.eventLoopUtilization(), for every loop.",
        )
        .ask(max(&loops(&c::UTILIZATION), EACH), LOOP_NAME)
        .unit("percentunit")
        .lines(t::UTILIZATION)
        .between(0.0, 1.0)
        .runbook("UtilizationHigh")
        .size(8, 9),
    ]
}

fn turn() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Stack,
            "Time by phase",
            "Seconds per second. Poll: callbacks of sockets and files; check: setImmediate; close: closing handles.",
        )
        .ask(total_rate(&loops(&c::PHASE_DURATION), Group::By(&["phase"]), WINDOW), "{{phase}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Events of a poll",
            "Median and 99th percentile. Many events per poll: the loop polls late.",
        )
        .ask(quantile("0.5", &loops(&c::POLL_EVENTS), EACH, WINDOW), format!("{LOOP_NAME} p50"))
        .ask(quantile("0.99", &loops(&c::POLL_EVENTS), EACH, WINDOW), format!("{LOOP_NAME} p99"))
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Lag p99",
            "99th percentile of the delay until the loop polls.",
        )
        .ask(quantile("0.99", &loops(&c::LAG_SECONDS), EACH, WINDOW), LOOP_NAME)
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .runbook("LagHigh"),
    ]
}

fn drains() -> Vec<Panel> {
    let queue = Group::By(&["queue"]);
    vec![
        Panel::new(
            Shape::Stack,
            "Time in the two queues",
            "Seconds per second in the tick and promise queues. While one is drained, no event is served.",
        )
        .ask(total_rate(&loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Longest drains",
            "99th percentile. Long ones are floods: a chain that keeps queueing itself.",
        )
        .ask(quantile("0.99", &loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
        Panel::new(Shape::Lines, "Promise jobs", "Per second, exact. For ticks, only drains can be counted.")
            .ask(rate(&loops(&c::DRAINED_JOBS).with("queue", "=", "microtask"), EACH, WINDOW), LOOP_NAME)
            .unit("ops")
            .from(0.0),
    ]
}

fn pool() -> Vec<Panel> {
    let pools = |family| processes(family);
    vec![
        Panel::new(
            Shape::Lines,
            "Pool saturated",
            "Share of time that file access, name lookups and cryptography waited for a thread. Above 10 %, the \
             pool is too small or its jobs too long.",
        )
        .ask(rate(&pools(&c::POOL_SATURATED), Group::By(POOL), WINDOW), POOL_NAME)
        .unit("percentunit")
        .lines(t::SATURATION)
        .between(0.0, 1.0)
        .runbook("PoolSaturated"),
        Panel::new(Shape::Lines, "Jobs waiting", "At the scrape, and the maximum since the start.")
            .ask(max(&pools(&c::POOL_QUEUE_DEPTH), Group::By(POOL)), format!("{POOL_NAME} now"))
            .ask(max(&pools(&c::POOL_QUEUE_DEPTH_MAX), Group::By(POOL)), format!("{POOL_NAME} most ever"))
            .from(0.0),
        Panel::new(Shape::Lines, "Pool threads busy", "At the scrape, and in total.")
            .ask(sum(&pools(&c::POOL_THREADS_BUSY), Group::By(POOL)), format!("{POOL_NAME} busy"))
            .ask(sum(&pools(&c::POOL_THREADS), Group::By(POOL)), format!("{POOL_NAME} all"))
            .from(0.0),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Heap in use",
            "JavaScript objects, and the limit at which the process aborts.",
        )
        .ask(runtime("heap_used_bytes"), format!("{LOOP_NAME} used"))
        .ask(runtime("heap_limit_bytes"), format!("{LOOP_NAME} limit"))
        .unit("bytes")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Garbage collection pauses",
            "Seconds per second that the loop was paused, by kind. Above 10 %, the heap is too small or allocation \
             too high.",
        )
        .ask(share("gc_pause_seconds", "kind"), "{{kind}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Memory outside the heap",
            "Buffers, and structures of the engine. A line that only rises is a leak that no heap snapshot shows.",
        )
        .ask(runtime("heap_external_bytes"), format!("{LOOP_NAME} buffers"))
        .ask(runtime("heap_malloced_bytes"), format!("{LOOP_NAME} engine"))
        .unit("bytes")
        .from(0.0),
        Panel::new(
            Shape::Table {
                labels: &["instance", "name", "pid", "kind", "job"],
                columns: &[Column { name: "Loops", unit: "none", steps: None }],
                link: None,
            },
            "Versions",
            "Of Node, its engine and its event loop.",
        )
        .column(format!("sum by (job, instance, pid, name, kind) ({})", runtime("version")), "Loops")
        .size(24, 7),
    ]
}
