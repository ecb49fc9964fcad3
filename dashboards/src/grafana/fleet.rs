//! The fleet: hundreds of loops at once, the worst of them by name, and how fast each uses up its budget.
//!
//! It reads what the recording rules made, so that a page over hundreds of loops and days costs Prometheus little.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{LOOP, LOOP_NAME, POOL, TO_LOOP, TO_POOL, WINDOW, processes, recorded};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::pace::Span;
use crate::promql::{Group, buckets, per_minute, sum};
use crate::recorded::{
    LAG_BUDGET, LAG_P50, LAG_P99, POOL_SATURATION, POOL_UTILIZATION, POOL_WAIT_P95, UTILIZATION, lag_slow,
};
use loopscope_report::metrics::catalog as c;

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-fleet",
        "Loopscope / Fleet",
        "All event loops of all processes: how many are well, which are not, and who uses up its lag budget. Needs the \
         recording rules of dashboards/rules.yml.",
    )
    .since("now-6h")
    .choose_process(&c::LOOP_INFO, true);
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
        Panel::new(Shape::Figure, "Loops", "Event loops that are watched.")
            .ask(format!("count({})", processes(&c::LOOP_INFO).select()), "loops")
            .decimals(0),
        Panel::new(Shape::Figure, "Targets down", "Processes, or whole hosts, that Prometheus could not scrape just now.")
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
            "Off the objective",
            "Loops for which, in the last five minutes, more than 0.1 % of moments waited longer than 125 ms.",
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
            "How many moments waited how long, over all loops, darker for more. Stalls anywhere in the fleet are spots \
             high up.",
        )
        .ask(buckets(&processes(&c::LAG_SECONDS), WINDOW), "{{le}}")
        .unit("s"),
        Panel::new(
            Shape::Spread,
            "Busy share, all loops",
            "How many loops are how busy, darker for more: one band is a fleet with even load, two are neighbours of \
             which one does the work.",
        )
        .ask(recorded(UTILIZATION), LOOP_NAME)
        .unit("percentunit"),
        Panel::new(
            Shape::Lines,
            "Lag: the best, the middle, the worst",
            "Every loop has a 99th percentile; this is the middle one of all loops, the one that 5 % of loops exceed, \
             and the worst. The worst far above the others: a single process is in trouble.",
        )
        .ask(format!("quantile(0.5, {lag})"), "the middle loop")
        .ask(format!("quantile(0.95, {lag})"), "one loop in twenty is worse")
        .ask(format!("max({lag})"), "the worst loop")
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
                    Column { name: "Lag, one in a hundred", unit: "s", steps: Some(t::LAG) },
                    Column { name: "Lag, half", unit: "s", steps: None },
                    Column { name: "Busy", unit: "percentunit", steps: Some(t::UTILIZATION) },
                ],
                link: Some(TO_LOOP),
            },
            "Ten loops with the highest lag",
            "A click on a loop opens it in depth.",
        )
        .column(format!("topk(10, {})", recorded(LAG_P99)), "Lag, one in a hundred")
        .column(of_worst(LAG_P50, LAG_P99), "Lag, half")
        .column(of_worst(UTILIZATION, LAG_P99), "Busy")
        .size(12, 9),
        Panel::new(
            Shape::Table {
                labels: &["loop", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Busy", unit: "percentunit", steps: Some(t::UTILIZATION) },
                    Column { name: "Lag, one in a hundred", unit: "s", steps: Some(t::LAG) },
                ],
                link: Some(TO_LOOP),
            },
            "Ten busiest loops",
            "Busy with low lag is a loop with short callbacks and much to do: it needs company before it is full.",
        )
        .column(format!("topk(10, {})", recorded(UTILIZATION)), "Busy")
        .column(of_worst(LAG_P99, UTILIZATION), "Lag, one in a hundred")
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
            "Burn rate: ten loops that use up their lag budget fastest",
            "How many times faster than allowed. 1: nothing is left after 30 days. 14.4 over an hour and five minutes \
             wakes somebody, 6 over six hours too, 3 over a day is a warning.",
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
            "Of the job's loop that uses up its budget fastest over the last hour, in multiples of what is allowed.",
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
            "Blocks a minute by job",
            "Busy stretches longer than the critical threshold.",
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
        Panel::new(Shape::Lines, "Loops that are starved now", "By what keeps them from polling.")
            .ask(sum(&processes(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
            .from(0.0)
            .size(7, 8)
            .runbook("LoopStarved"),
        Panel::new(
            Shape::Table {
                labels: &["pool", "name", "pid", "instance", "job"],
                columns: &[
                    Column { name: "Wait, one in twenty", unit: "s", steps: Some(t::POOL_WAIT) },
                    Column { name: "Full, jobs waiting", unit: "percentunit", steps: Some(t::SATURATION) },
                    Column { name: "Threads busy", unit: "percentunit", steps: None },
                ],
                link: Some(TO_POOL),
            },
            "Ten pools with the longest waits",
            "What jobs wait for a thread before they begin. A click on a pool opens it.",
        )
        .column(format!("topk(10, {})", recorded(POOL_WAIT_P95)), "Wait, one in twenty")
        .column(pools(POOL_SATURATION), "Full, jobs waiting")
        .column(pools(POOL_UTILIZATION), "Threads busy")
        .size(10, 8)
        .runbook("PoolSaturated"),
    ]
}
