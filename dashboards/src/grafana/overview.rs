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
    .choose_process(true)
    .choose("loop", "Loop", &processes(&c::LOOP_INFO), true);
    with_marks(board)
        .row("Now", [now(), room_now()].concat())
        .row("Do events wait?", [waits(), states()].concat())
        .row("Why?", [reasons(), places()].concat())
}

fn now() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Figure, "Loops", "Watched event loops; each has its own thread.")
            .ask(format!("count({})", loops(&c::LOOP_INFO).select()), "loops")
            .decimals(0),
        Panel::new(
            Shape::Figure,
            "Stalled now",
            "Time since the worst loop last polled. Until it polls, none of its requests, responses or timers is \
             served. LoopStalled fires from 2 s.",
        )
        .ask(max(&loops(&c::STALL), Group::By(&[])), "longest")
        .unit("s")
        .steps(t::STALL)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Lag, worst loop",
            "99th percentile of the delay until the loop polls, before any of your handlers starts. The objective \
             is 125 ms.",
        )
        .ask(format!("max({})", quantile("0.99", &loops(&c::LAG_SECONDS), EACH, WINDOW)), "p99")
        .unit("s")
        .steps(t::LAG)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Figure,
            "Late events, worst loop",
            "Share of events in the time shown that would have waited longer than 125 ms, on the worst loop. The \
             budget is 0.1 %.",
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
            "Utilization of the busiest loop. Waiting time grows as 1 / (1 - utilization): ten times the run time at 90 %.",
        )
        .ask(utilization, "busiest")
        .unit("percentunit")
        .steps(t::UTILIZATION)
        .between(0.0, 1.0)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Figure,
            "Oldest waiting job",
            "Age of the oldest waiting job of any thread pool. File access, name lookups, compression and \
             cryptography run there.",
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
            "Lag p99",
            "99th percentile, by loop. Lag is the delay from an event becoming ready, at a random time, to the \
             loop's next poll. Every stall counts in full; an idle loop has no lag.",
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
            "Distribution of lag; darker is more. A dark band at the bottom is a healthy loop; spots high above it \
             are stalls.",
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
            "Current busy period",
            "Duration of the current busy period, by loop: a rising line is a blocked loop. It drops to 0 when the \
             loop polls.",
        )
        .ask(max(&loops(&c::STALL), EACH), LOOP_NAME)
        .unit("s")
        .lines(t::STALL)
        .from(0.0)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Utilization",
            "At 1 the loop never idles: more work arrives than it can handle. Above 0.9 there is no headroom for bursts.",
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
            "Firing alerts",
            "Click a name for its runbook. Empty if nothing fires, or if dashboards/alerts.yml is not loaded.",
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
            "Stalls per minute",
            "Busy periods longer than the warning threshold (default 100 ms) and the critical threshold (default 1 \
             s). Each is an incident: `loopscope incidents` has its stacks.",
        )
        .ask(per_minute(&loops(&c::BLOCKED), severity, WINDOW), format!("{LOOP_NAME} {{{{severity}}}}"))
        .from(0.0)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::States("starved"),
            "Starved by",
            "Red while a loop is kept from polling, by cause: one long callback, work that keeps queueing itself \
             (microtasks, ticks, immediates), or too many timers or sockets at once.",
        )
        .ask(max(&loops(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
        .runbook("LoopStarved"),
        Panel::new(
            Shape::Lines,
            "Wait for a thread of the pool",
            "95th percentile of the time a job waits before it starts. A saturated pool delays even the smallest file read.",
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
            "Where loops spend their time, by the place where callbacks were registered. A high share is load; a \
             long single run is a stall.",
        )
        .column(format!("topk(15, {})", rate(&loops(&c::SITE_SECONDS), site, RANGE)), "Share of time")
        .column(format!("topk(15, {})", max(&loops(&c::SITE_MAX), site)), "Longest run, last minute")
        .size(16, 10),
        Panel::new(
            Shape::Lines,
            "Open handles",
            "Open sockets, timers and other handles. A line that only rises is a leak.",
        )
        .ask(sum(&loops(&c::HANDLES_ACTIVE), handle) + " > 0", format!("{LOOP_NAME} {{{{type}}}}"))
        .from(0.0)
        .size(8, 10)
        .runbook("HandleLeak"),
    ]
}
