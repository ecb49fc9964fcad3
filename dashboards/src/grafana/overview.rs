//! The overview: is anything wrong with the loops of these processes, since when, and where to look next.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{
    LOOP, LOOP_NAME, POOL, POOL_NAME, RANGE, TO_LOOP, WINDOW, firing_at_processes, loops, processes,
};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{Group, max, per_minute, quantile, rate, ratio, share_above, sum};
use crate::recorded::LAG_BOUND;
use loopscope_report::metrics::catalog as c;

const EACH: Group<'static> = Group::By(LOOP);

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-overview",
        "Loopscope / Overview",
        "The event loops of a service: whether events wait, for how long, and what keeps them waiting.",
    )
    .choose_process(&c::LOOP_INFO, true)
    .choose("loop", "Loop", &processes(&c::LOOP_INFO), true);
    with_marks(board)
        .row("Now", [now(), room_now()].concat())
        .row("Do events wait?", [waits(), states()].concat())
        .row("Why?", [reasons(), places()].concat())
}

fn now() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Figure, "Loops", "Event loops that are watched. Each has a thread of its own.")
            .ask(format!("count({})", loops(&c::LOOP_INFO).select()), "loops")
            .decimals(0),
        Panel::new(
            Shape::Figure,
            "Stalled now",
            "How long the loop that is worst off has not polled. While it does not, none of its requests, answers and \
             timers is served. From 2 s on LoopStalled fires.",
        )
        .ask(max(&loops(&c::STALL), Group::By(&[])), "longest")
        .unit("s")
        .steps(t::STALL)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Lag, worst loop",
            "One event in a hundred waits longer than this until its loop polls, before any handler of yours begins. \
             The objective is 125 ms.",
        )
        .ask(format!("max({})", quantile("0.99", &loops(&c::LAG_SECONDS), EACH, WINDOW)), "p99")
        .unit("s")
        .steps(t::LAG)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Figure,
            "Late moments, worst loop",
            "Share of the moments in the time shown at which an event would have waited longer than 125 ms, of the loop \
             that is worst off: idle loops do not make it better. The budget is 0.1 %.",
        )
        .ask(format!("max({})", share_above(LAG_BOUND, &loops(&c::LAG_SECONDS), EACH, RANGE)), "late")
        .unit("percentunit")
        .steps(t::LATE_SHARE)
        .runbook("LagBudgetBurnFast"),
    ]
}

/// Each loop's busy share of time.
fn busy_share() -> String {
    let active = rate(&loops(&c::LOOP_TIME).with("state", "=", "active"), EACH, WINDOW);
    ratio(&active, &rate(&loops(&c::LOOP_TIME), EACH, WINDOW))
}

fn room_now() -> Vec<Panel> {
    let utilization = format!("max({})", busy_share());
    vec![
        Panel::new(
            Shape::Figure,
            "Busiest loop",
            "Share of time in which the busiest loop runs code. What events wait grows as 1 / (1 - this): ten times at \
             90 %.",
        )
        .ask(utilization, "busiest")
        .unit("percentunit")
        .steps(t::UTILIZATION)
        .between(0.0, 1.0)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Figure,
            "Oldest waiting job",
            "How long the first job in the queue of the fullest thread pool has waited. Files, name lookups, \
             compression and cryptography run there.",
        )
        .ask(max(&processes(&c::POOL_OLDEST_WAIT), Group::By(&[])), "oldest")
        .unit("s")
        .steps(t::OLDEST_WAIT)
        .runbook("PoolStuck"),
    ]
}

fn waits() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Lag: one event in a hundred waits longer",
            "99th percentile, by loop. Lag is the wait of an event that becomes ready at a random moment until its \
             loop polls. It counts every stall in full, and an idle loop has none.",
        )
        .ask(quantile("0.99", &loops(&c::LAG_SECONDS), EACH, WINDOW), LOOP_NAME)
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .size(12, 9)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Heatmap,
            "Lag of all loops",
            "How many moments waited how long, darker for more. A dark band at the bottom is a healthy loop; spots \
             high above it are stalls.",
        )
        .ask(crate::promql::buckets(&loops(&c::LAG_SECONDS), WINDOW), "{{le}}")
        .unit("s")
        .size(12, 9),
    ]
}

fn states() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Age of the running stretch",
            "The age of the busy stretch that runs, by loop: a rising line is a loop that is blocked at this moment. It \
             falls to 0 when the loop polls.",
        )
        .ask(max(&loops(&c::STALL), EACH), LOOP_NAME)
        .unit("s")
        .lines(t::STALL)
        .from(0.0)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Busy share of time",
            "1 is a loop that never rests: more arrives than it can do. Above 0.9 there is no room for a burst.",
        )
        .ask(busy_share(), LOOP_NAME)
        .unit("percentunit")
        .lines(t::UTILIZATION)
        .between(0.0, 1.0)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Table {
                labels: &["alertname", "severity", "loop", "pool", "cause", "name", "pid", "instance"],
                columns: &[Column { name: "Firing", unit: "short", steps: None }],
                link: Some(("Runbook", "${runbooks}/${__data.fields.alertname}.md")),
            },
            "Alerts that fire",
            "A click on the name opens what it means, how to confirm it, and what to do. Empty when all is well, or \
             when dashboards/alerts.yml is not loaded.",
        )
        .column(firing_at_processes(), "Firing")
        .size(8, 8),
    ]
}

fn reasons() -> Vec<Panel> {
    let severity = Group::By(&["job", "instance", "pid", "name", "loop", "severity"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Blocks a minute",
            "Busy stretches longer than the warning (100 ms) and the critical threshold (1 s), as the program set \
             them. Each is an incident: `loopscope incidents` has its stacks.",
        )
        .ask(per_minute(&loops(&c::BLOCKED), severity, WINDOW), format!("{LOOP_NAME} {{{{severity}}}}"))
        .from(0.0)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::States("starved"),
            "Starved by",
            "Red while one of the loops is kept from polling, by cause: one long callback, or work that keeps queueing itself \
             (microtasks, ticks, immediates), or too many timers or sockets at once.",
        )
        .ask(max(&loops(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
        .runbook("LoopStarved"),
        Panel::new(
            Shape::Lines,
            "Wait for a thread of the pool",
            "One job in twenty waits longer than this before it begins. A pool that is full delays even the smallest \
             file read.",
        )
        .ask(
            quantile("0.95", &processes(&c::POOL_WAIT), Group::By(POOL), WINDOW),
            POOL_NAME,
        )
        .unit("s")
        .lines(t::POOL_WAIT)
        .logarithmic()
        .runbook("PoolWaitHigh"),
    ]
}

fn places() -> Vec<Panel> {
    let site = Group::By(&["job", "instance", "pid", "name", "loop", "site", "kind"]);
    let handle = Group::By(&["job", "instance", "pid", "name", "loop", "type"]);
    vec![
        Panel::new(
            Shape::Table {
                labels: &["loop", "site", "kind", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Share of time", unit: "percentunit", steps: Some(t::UTILIZATION) },
                    Column { name: "Longest run, last minute", unit: "s", steps: Some(t::STALL) },
                ],
                link: Some(TO_LOOP),
            },
            "Heaviest callback sites",
            "Where loops spend their time, by the line at which the callback was registered. A high share is load; a \
             long single run is a block.",
        )
        .column(format!("topk(15, {})", rate(&loops(&c::SITE_SECONDS), site, RANGE)), "Share of time")
        .column(format!("topk(15, {})", max(&loops(&c::SITE_MAX), site)), "Longest run, last minute")
        .size(16, 10),
        Panel::new(
            Shape::Lines,
            "Open handles",
            "Sockets, timers and the like that loops hold open. A line that only rises is a leak.",
        )
        .ask(sum(&loops(&c::HANDLES_ACTIVE), handle) + " > 0", format!("{LOOP_NAME} {{{{type}}}}"))
        .from(0.0)
        .size(8, 10)
        .runbook("HandleLeak"),
    ]
}
