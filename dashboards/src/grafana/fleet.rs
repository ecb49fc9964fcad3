//! The fleet: hundreds of loops at once, the worst of them by name, and how fast each uses up its budget.
//!
//! It reads what the recording rules made, so that a page over hundreds of loops and days costs Prometheus little.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{LOOP, LOOP_NAME, POOL, TO_LOOP, TO_POOL, WINDOW, processes, recorded};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::durations::Span;
use crate::promql::{Group, buckets, per_minute, sum};
use crate::recorded::{
    LAG_BUDGET, LAG_P50, LAG_P99, POOL_SATURATION, POOL_UTILIZATION, POOL_WAIT_P95, UTILIZATION, lag_slow,
};
use loopscope_report::metrics::catalog as c;

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-fleet",
        "Loopscope / Fleet",
        "All event loops of all processes: how many are healthy, which are not, and which burn their lag budget. \
         Needs the recording rules of dashboards/rules.yml.",
    )
    .since("now-6h")
    .choose_process(true);
    with_marks(board)
        .row("How many", counts())
        .row("All loops at once", together())
        .row("The worst", worst())
        .row("Lag budget", budget())
        .row("Stalls, starvation and pools", rest())
}

fn or_none(expr: &str) -> String {
    format!("{expr} or vector(0)")
}

fn counts() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Figure, "Processes", "Processes that have a loop.")
            .ask(format!("count(count by (job, instance, pid) ({}))", processes(&c::LOOP_INFO).select()), "processes")
            .decimals(0),
        Panel::new(Shape::Figure, "Loops", "Watched event loops.")
            .ask(format!("count({})", processes(&c::LOOP_INFO).select()), "loops")
            .decimals(0),
        Panel::new(Shape::Figure, "Targets down", "Processes, or hosts, that Prometheus cannot scrape.")
            .ask(or_none("count(up{job=~\"$job\",instance=~\"$instance\"} == 0)"), "down")
            .steps(t::NONE_EXPECTED)
            .decimals(0)
            .runbook("TargetDown"),
        Panel::new(Shape::Figure, "Stalled now", "Loops that have not polled for more than a second.")
            .ask(or_none(&format!("count({} > 1)", processes(&c::STALL).select())), "stalled")
            .steps(t::NONE_EXPECTED)
            .decimals(0)
            .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Objective missed",
            "Loops on which more than 0.1 % of events of the last five minutes would have waited longer than 125 ms.",
        )
        .ask(or_none(&format!("count({} > {LAG_BUDGET})", recorded(&lag_slow(Span::minutes(5))))), "loops")
        .steps(t::NONE_EXPECTED)
        .decimals(0)
        .runbook("LagBudgetBurnFast"),
        Panel::new(Shape::Figure, "Nearly full", "Loops that are busy for more than 90 % of the time.")
            .ask(or_none(&format!("count({} > 0.9)", recorded(UTILIZATION))), "loops")
            .steps(t::NONE_EXPECTED)
            .decimals(0)
            .runbook("UtilizationHigh"),
    ]
}

fn together() -> Vec<Panel> {
    let lag = recorded(LAG_P99);
    vec![
        Panel::new(
            Shape::Heatmap,
            "Lag of all loops",
            "Distribution of lag over all loops; darker is more. Stalls anywhere in the fleet are spots near the top.",
        )
        .ask(buckets(&processes(&c::LAG_SECONDS), WINDOW), "{{le}}")
        .unit("s"),
        Panel::new(
            Shape::Spread,
            "Utilization, all loops",
            "Distribution of utilization; darker is more loops. One band: load is even. Two bands: some loops do \
             most of the work.",
        )
        .ask(recorded(UTILIZATION), LOOP_NAME)
        .unit("percentunit"),
        Panel::new(
            Shape::Lines,
            "Lag: median, 95th percentile and worst loop",
            "The 99th percentile of each loop's lag: the median of all loops, the one that 5 % of loops exceed, and \
             the worst. If the worst is far above the others, a single process has a problem.",
        )
        .ask(format!("quantile(0.5, {lag})"), "median loop")
        .ask(format!("quantile(0.95, {lag})"), "95th percentile loop")
        .ask(format!("max({lag})"), "worst loop")
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .runbook("LagHigh"),
    ]
}

/// Returns `name`'s value of the ten loops with the highest `by`.
fn of_worst(name: &str, by: &str) -> String {
    format!("{}\nand on ({})\ntopk(10, {})", recorded(name), LOOP.join(", "), recorded(by))
}

fn worst() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Table {
                labels: &["loop", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Lag p99", unit: "s", steps: Some(t::LAG) },
                    Column { name: "Lag p50", unit: "s", steps: None },
                    Column { name: "Busy", unit: "percentunit", steps: Some(t::UTILIZATION) },
                ],
                link: Some(TO_LOOP),
            },
            "Ten loops with the highest lag",
            "Click a loop for its dashboard.",
        )
        .column(format!("topk(10, {})", recorded(LAG_P99)), "Lag p99")
        .column(of_worst(LAG_P50, LAG_P99), "Lag p50")
        .column(of_worst(UTILIZATION, LAG_P99), "Busy")
        .size(12, 9),
        Panel::new(
            Shape::Table {
                labels: &["loop", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Busy", unit: "percentunit", steps: Some(t::UTILIZATION) },
                    Column { name: "Lag p99", unit: "s", steps: Some(t::LAG) },
                ],
                link: Some(TO_LOOP),
            },
            "Ten busiest loops",
            "Busy with low lag: short callbacks and much work. Add processes before it is saturated.",
        )
        .column(format!("topk(10, {})", recorded(UTILIZATION)), "Busy")
        .column(of_worst(LAG_P99, UTILIZATION), "Lag p99")
        .size(12, 9),
    ]
}

/// How many times too fast the budget was used up within `window`.
fn burn(window: Span) -> String {
    format!("{} / {LAG_BUDGET}", recorded(&lag_slow(window)))
}

fn budget() -> Vec<Panel> {
    let worst = format!("topk(10, {})", recorded(&lag_slow(Span::hours(1))));
    let of_worst = |window: Span| format!("{}\nand on ({})\n{worst}", burn(window), LOOP.join(", "));
    vec![
        Panel::new(
            Shape::Table {
                labels: &["loop", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Last hour", unit: "none", steps: Some(t::BURN) },
                    Column { name: "5 minutes", unit: "none", steps: Some(t::BURN) },
                    Column { name: "6 hours", unit: "none", steps: Some(t::BURN) },
                    Column { name: "Day", unit: "none", steps: Some(t::BURN) },
                    Column { name: "3 days", unit: "none", steps: Some(t::BURN) },
                ],
                link: Some(TO_LOOP),
            },
            "Burn rate: ten loops that burn their lag budget fastest",
            "Multiples of the allowed rate. 1: nothing is left after 30 days. 14.4 over an hour and five minutes \
             pages, 6 over six hours too, 3 over a day is a warning.",
        )
        .column(of_worst(Span::hours(1)), "Last hour")
        .column(of_worst(Span::minutes(5)), "5 minutes")
        .column(of_worst(Span::hours(6)), "6 hours")
        .column(of_worst(Span::days(1)), "Day")
        .column(of_worst(Span::days(3)), "3 days")
        .size(14, 9)
        .runbook("LagBudgetBurnFast")
        .runbook("LagBudgetBurnSlow"),
        Panel::new(
            Shape::Lines,
            "Burn rate by job, worst loop",
            "Of the job's loop with the highest burn rate over the last hour, in multiples of the allowed rate.",
        )
        .ask(format!("max by (job) ({})", burn(Span::hours(1))), "{{job}}")
        .lines(t::BURN)
        .from(0.0)
        .size(10, 9)
        .runbook("LagBudgetBurnMedium"),
    ]
}

fn rest() -> Vec<Panel> {
    let pools = |name: &str| {
        format!("{}\nand on ({})\ntopk(10, {})", recorded(name), POOL.join(", "), recorded(POOL_WAIT_P95))
    };
    vec![
        Panel::new(
            Shape::Lines,
            "Critical stalls per minute by job",
            "Busy periods longer than the critical threshold.",
        )
        .ask(
            per_minute(
                &processes(&c::BLOCKED).with("severity", "=", "critical"),
                Group::By(&["job"]),
                WINDOW,
            ),
            "{{job}}",
        )
        .from(0.0)
        .size(7, 8)
        .runbook("LoopBlocked"),
        Panel::new(Shape::Lines, "Loops starved now", "Number of loops, by cause.")
            .ask(sum(&processes(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
            .from(0.0)
            .size(7, 8)
            .runbook("LoopStarved"),
        Panel::new(
            Shape::Table {
                labels: &["pool", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Wait p95", unit: "s", steps: Some(t::POOL_WAIT) },
                    Column { name: "Saturated", unit: "percentunit", steps: Some(t::SATURATION) },
                    Column { name: "Threads busy", unit: "percentunit", steps: None },
                ],
                link: Some(TO_POOL),
            },
            "Ten pools with the longest waits",
            "How long jobs wait for a thread. Click a pool for its dashboard.",
        )
        .column(format!("topk(10, {})", recorded(POOL_WAIT_P95)), "Wait p95")
        .column(pools(POOL_SATURATION), "Saturated")
        .column(pools(POOL_UTILIZATION), "Threads busy")
        .size(10, 8)
        .runbook("PoolSaturated"),
    ]
}
