//! One loop in depth: everything that is known of it, from its lag down to its handles.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{RANGE, WINDOW, loops, processes};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{
    Group, buckets, increase, max, per_minute, quantile, rate, share_above, sum, total_rate, values_rate,
};
use crate::recorded::LAG_BOUND;
use loopscope_report::metrics::catalog::{self as c, Family};

const ALL: Group<'static> = Group::By(&[]);

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-loop",
        "Loopscope / One loop",
        "One event loop in depth: lag, iterations, where its time goes, microtasks, stalls, work and handles.",
    )
    // One process and never all: the panels add up what is chosen.
    .choose_process(&c::LOOP_INFO, false)
    .choose("loop", "Loop", &processes(&c::LOOP_INFO), false);
    with_marks(board)
        .row("At a glance", glance())
        .row("Lag: what events wait", lag())
        .row("Iterations: from poll to poll", iterations())
        .row("Where the time goes", time())
        .row("Callbacks by kind", callbacks())
        .row("Microtasks, ticks and starvation", starvation())
        .row("Incidents", incidents())
        .row("Work and handles", work())
        .row("Workers, where the loop is a runtime of several", workers())
}

/// Percentiles of a histogram, as lines.
fn percentiles(panel: Panel, family: &'static Family) -> Panel {
    let quantiles = [
        ("0.5", "half"),
        ("0.9", "one in ten"),
        ("0.99", "one in a hundred"),
        ("0.999", "one in a thousand"),
    ];
    quantiles
        .into_iter()
        .fold(panel, |panel, (q, name)| panel.ask(quantile(q, &loops(family), ALL, WINDOW), name))
}

/// Median and 99th percentile, as lines.
fn two_percentiles(panel: Panel, family: &'static Family) -> Panel {
    let quantiles = [("0.5", "half"), ("0.99", "one in a hundred")];
    quantiles
        .into_iter()
        .fold(panel, |panel, (q, name)| panel.ask(quantile(q, &loops(family), ALL, WINDOW), name))
}

fn glance() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Figure,
            "Stalled now",
            "How long the loop has not polled. 0 while it waits for events.",
        )
        .ask(max(&loops(&c::STALL), ALL), "stalled")
        .unit("s")
        .steps(t::STALL)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Lag, one event in a hundred",
            "One event in a hundred waits longer than this until the loop polls.",
        )
        .ask(quantile("0.99", &loops(&c::LAG_SECONDS), ALL, WINDOW), "p99")
        .unit("s")
        .steps(t::LAG)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Figure,
            "Late moments",
            "Share of the moments shown at which an event would have waited longer than 125 ms. 0.1 % may.",
        )
        .ask(share_above(LAG_BOUND, &loops(&c::LAG_SECONDS), ALL, RANGE), "late")
        .unit("percentunit")
        .steps(t::LATE_SHARE)
        .runbook("LagBudgetBurnFast"),
        Panel::new(Shape::Figure, "Busy", "Share of the last ten seconds in which the loop ran code.")
            .ask(max(&loops(&c::UTILIZATION), ALL), "busy")
            .unit("percentunit")
            .steps(t::UTILIZATION)
            .between(0.0, 1.0)
            .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Figure,
            "Blocks",
            "Busy stretches longer than the critical threshold in the time shown.",
        )
        .ask(increase(&loops(&c::BLOCKED).with("severity", "=", "critical"), ALL, RANGE), "blocks")
        .steps(t::NONE_EXPECTED)
        .decimals(0)
        .runbook("LoopBlocked")
        .link("Incidents (the agent's own list)", "http://${instance}/debug/loopscope/incidents"),
        Panel::new(Shape::Figure, "Iterations", "Turns of the loop a second, poll to poll.")
            .ask(rate(&loops(&c::ITERATIONS), ALL, WINDOW), "a second")
            .unit("ops"),
    ]
}

fn lag() -> Vec<Panel> {
    let lag = "What an event that becomes ready at a random moment waits until the loop polls. Computed from the exact \
               lengths of busy stretches, a thousand moments a second: stalls count in full, idle time counts as none.";
    let mut panels = vec![
        percentiles(Panel::new(Shape::Lines, "Lag", lag), &c::LAG_SECONDS)
            .unit("s")
            .lines(t::LAG)
            .logarithmic()
            .size(12, 9)
            .runbook("LagHigh"),
        Panel::new(
            Shape::Heatmap,
            "Lag, all moments",
            "Darker for more. The band at the bottom is the normal state; a spot high above it is a stall.",
        )
        .ask(buckets(&loops(&c::LAG_SECONDS), WINDOW), "{{le}}")
        .unit("s")
        .size(12, 9),
    ];
    panels.extend(beside_lag());
    panels
}

/// What lag does to a service, and what it does not see.
fn beside_lag() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Late moments over time",
            "Share of moments at which an event would have waited longer than 125 ms. The lines are the budget and the \
             rates at which the alerts on it fire.",
        )
        .ask(share_above(LAG_BOUND, &loops(&c::LAG_SECONDS), ALL, WINDOW), "late")
        .unit("percentunit")
        .lines(t::LATE_SHARE)
        .from(0.0)
        .size(6, 8)
        .runbook("LagBudgetBurnFast"),
        two_percentiles(
            Panel::new(
                Shape::Lines,
                "Timer lateness",
                "From a timer's due time to the start of its callback. Higher than lag: too many timers at once.",
            ),
            &c::TIMER_LATENESS,
        )
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .size(6, 8)
        .runbook("TimersLate"),
        Panel::new(
            Shape::Lines,
            "Age of the running stretch",
            "The age of the busy stretch that runs, and from which age on it is a stall. A rising line is a block that has not \
             ended yet.",
        )
        .ask(max(&loops(&c::STALL), ALL), "stalled")
        .ask(max(&loops(&c::STALL_THRESHOLD), Group::By(&["severity"])), "threshold: {{severity}}")
        .unit("s")
        .lines(t::STALL)
        .from(0.0)
        .size(6, 8)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Ready and not run",
            "Share of time in which the loop's thread was ready to run and had no processor. Lag does not see it where the loop \
             was about to leave its poll.",
        )
        .ask(rate(&loops(&c::THREAD_RUN_DELAY), ALL, WINDOW), "no processor")
        .unit("percentunit")
        .from(0.0)
        .runbook("LoopShortOfProcessor")
        .size(6, 8),
    ]
}

fn iterations() -> Vec<Panel> {
    vec![
        two_percentiles(
            Panel::new(
                Shape::Lines,
                "Busy time of one iteration",
                "From the return of one poll to the next. No event is noticed meanwhile.",
            ),
            &c::ITERATION_DURATION,
        )
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
        two_percentiles(
            Panel::new(
                Shape::Lines,
                "Wait in the poll",
                "How long one poll slept in the kernel. Long waits are an idle loop, and good.",
            ),
            &c::POLL_WAIT,
        )
        .unit("s")
        .from(0.0),
        two_percentiles(
            Panel::new(
                Shape::Lines,
                "Events of one poll",
                "How many events were ready at once. Many: the loop comes to them late.",
            ),
            &c::POLL_EVENTS,
        )
        .from(0.0),
    ]
}

fn time() -> Vec<Panel> {
    let site = Group::By(&["site", "kind"]);
    vec![
        Panel::new(
            Shape::Stack,
            "Busy and idle",
            "Seconds a second: together 1. The active part is the loop's utilization.",
        )
        .ask(rate(&loops(&c::LOOP_TIME), Group::By(&["state"]), WINDOW), "{{state}}")
        .unit("percentunit")
        .between(0.0, 1.0)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Stack,
            "Time by phase",
            "What part of the iteration the time goes into: timers, sockets (poll), immediates (check), and so on.",
        )
        .ask(total_rate(&loops(&c::PHASE_DURATION), Group::By(&["phase"]), WINDOW), "{{phase}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Time by kind of callback",
            "The same time by what kind of code ran.",
        )
        .ask(total_rate(&loops(&c::CALLBACK_DURATION), Group::By(&["kind"]), WINDOW), "{{kind}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Table {
                labels: &["site", "kind"],
                columns: &[
                    Column { name: "Share of time", unit: "percentunit", steps: Some(t::UTILIZATION) },
                    Column { name: "Calls a second", unit: "ops", steps: None },
                    Column { name: "Longest run, last minute", unit: "s", steps: Some(t::STALL) },
                ],
                link: None,
            },
            "Heaviest callback sites",
            "The lines at which callbacks were registered. Heavy with many calls: make it cheaper. Heavy with few: cut \
             it into portions. `loopscope flame` shows what is below them.",
        )
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_SECONDS), site, RANGE)), "Share of time")
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_CALLS), site, RANGE)), "Calls a second")
        .column(format!("topk(20, {})", max(&loops(&c::SITE_MAX), site)), "Longest run, last minute"),
    ]
}

fn callbacks() -> Vec<Panel> {
    let kind = Group::By(&["kind"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Longest run times by kind",
            "One callback in a hundred of this kind runs longer, without the jobs drained after it.",
        )
        .ask(quantile("0.99", &loops(&c::CALLBACK_DURATION), kind, WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
        Panel::new(
            Shape::Lines,
            "Wait by kind",
            "From ready to start: one callback in a hundred of this kind waits longer for its turn.",
        )
        .ask(quantile("0.99", &loops(&c::CALLBACK_QUEUE_DELAY), kind, WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
        Panel::new(Shape::Lines, "Callbacks a second", "How many run, by phase.")
            .ask(rate(&loops(&c::PHASE_CALLBACKS), Group::By(&["phase"]), WINDOW) + " > 0", "{{phase}}")
            .unit("ops")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Life of a task",
            "One task in twenty takes longer in this stage. operation: submitted to ready; queued: ready to start; \
             executing: start to return; completed: return until the queues after it are empty.",
        )
        .ask(quantile("0.95", &loops(&c::TASK_STAGE), Group::By(&["stage"]), WINDOW), "{{stage}}")
        .unit("s")
        .from(0.0)
        .size(12, 8),
        Panel::new(Shape::Lines, "Callbacks that panicked", "A minute. There should be none.")
            .ask(per_minute(&loops(&c::CALLBACK_ERRORS), ALL, WINDOW), "panicked")
            .from(0.0)
            .size(12, 8),
    ]
}

fn starvation() -> Vec<Panel> {
    let queue = Group::By(&["queue"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Time of one drain",
            "After every callback the queues of ticks and microtasks (promises) are run until they are empty. One \
             drain in a hundred takes longer than this; the loop does nothing else meanwhile.",
        )
        .ask(quantile("0.99", &loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .runbook("LoopStarved"),
        Panel::new(Shape::Lines, "Jobs in one drain", "One drain in a hundred runs more. Thousands are a flood.")
            .ask(quantile("0.99", &loops(&c::DRAIN_JOBS), queue, WINDOW), "{{queue}}")
            .from(0.0),
        Panel::new(Shape::Lines, "Jobs and drains a second", "How busy the two queues are.")
            .ask(rate(&loops(&c::DRAINED_JOBS), queue, WINDOW), "{{queue}} jobs")
            .ask(values_rate(&loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}} drains")
            .unit("ops")
            .from(0.0),
        Panel::new(Shape::Lines, "Deepest queue", "Most jobs that waited at once within the last minute.")
            .ask(max(&loops(&c::QUEUE_DEPTH_MAX), queue), "{{queue}}")
            .from(0.0),
        Panel::new(
            Shape::States("starved"),
            "Starved by",
            "Red while the loop is kept from polling for longer than the warning threshold, by cause.",
        )
        .ask(max(&loops(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
        .runbook("LoopStarved"),
        Panel::new(Shape::Lines, "Time lost to starvation", "Seconds a second, by cause, booked when an episode ends.")
            .ask(total_rate(&loops(&c::STARVATION_DURATION), Group::By(&["cause"]), WINDOW), "{{cause}}")
            .unit("percentunit")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Blocks and episodes a minute",
            "Busy stretches longer than the warning and the critical threshold, and episodes of starvation by cause.",
        )
        .ask(per_minute(&loops(&c::BLOCKED), Group::By(&["severity"]), WINDOW), "{{severity}}")
        .ask(per_minute(&loops(&c::STARVATION), Group::By(&["cause"]), WINDOW) + " > 0", "by {{cause}}")
        .from(0.0)
        .size(12, 8)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::Heatmap,
            "Lengths of blocks",
            "Busy stretches longer than the warning threshold, exact, counted when they end.",
        )
        .ask(buckets(&loops(&c::BLOCKED_DURATION), WINDOW), "{{le}}")
        .unit("s")
        .size(12, 8),
    ]
}

fn incidents() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Incidents a minute",
            "Stalls, starvations and full pools of which the agent made a record. `loopscope incidents` lists them with \
             their stacks.",
        )
        .ask(per_minute(&loops(&c::INCIDENTS), Group::By(&["kind"]), WINDOW), "{{kind}}")
        .from(0.0)
        .runbook("LoopBlocked")
        .link("Incidents (the agent's own list)", "http://${instance}/debug/loopscope/incidents"),
        Panel::new(
            Shape::Lines,
            "Stacks taken a minute",
            "Of the loop's thread within incidents: ok, failed, or left out (rate_limited) because only the first stack \
             of a culprit and two a second are taken.",
        )
        .ask(per_minute(&loops(&c::CAPTURES), Group::By(&["result"]), WINDOW), "{{result}}")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Incidents not logged, a minute",
            "They were recorded, but the program's log was spared: the minute's budget of reports was used up.",
        )
        .ask(per_minute(&loops(&c::REPORTS_SUPPRESSED), ALL, WINDOW), "not logged")
        .from(0.0),
    ]
}

fn work() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Work begun",
            "Timers armed, connections asked for, jobs handed to the pool, a second.",
        )
        .ask(rate(&loops(&c::WORK_SUBMITTED), Group::By(&["kind"]), WINDOW) + " > 0", "{{kind}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Work ended",
            "Callbacks that returned (ok) or panicked (error), and work given up before its callback ran (cancelled).",
        )
        .ask(rate(&loops(&c::WORK_COMPLETED), Group::By(&["outcome"]), WINDOW), "{{outcome}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Wakes saved",
            "Wakes from other threads that found one already on its way, a second: each saved a system call.",
        )
        .ask(rate(&loops(&c::WAKES_COALESCED), ALL, WINDOW), "saved")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Open handles",
            "By type. A line that only rises is a leak.",
        )
        .ask(sum(&loops(&c::HANDLES_ACTIVE), Group::By(&["type"])) + " > 0", "{{type}}")
        .from(0.0)
        .runbook("HandleLeak"),
        Panel::new(
            Shape::Lines,
            "What keeps the loop alive",
            "Handles that are referenced, and requests under way. When both are 0 the loop ends.",
        )
        .ask(sum(&loops(&c::HANDLES_REFERENCED), ALL), "referenced handles")
        .ask(sum(&loops(&c::REQUESTS_ACTIVE), ALL), "requests under way")
        .from(0.0),
        Panel::new(Shape::Lines, "Timers armed", "A line that only rises is timers that nobody clears.")
            .ask(sum(&loops(&c::TIMERS_PENDING), ALL), "timers")
            .from(0.0),
    ]
}

fn workers() -> Vec<Panel> {
    let each = Group::By(&["worker"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Stalled now, by worker",
            "How long each worker has not polled. The figures above are the sum or the worst of them.",
        )
        .ask(max(&loops(&c::WORKER_STALL), each), "{{worker}}")
        .unit("s")
        .from(0.0)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Stalls a minute, by worker",
            "Busy stretches longer than the warning threshold.",
        )
        .ask(
            per_minute(&loops(&c::WORKER_BLOCKED).with("severity", "=", "warning"), each, WINDOW),
            "{{worker}}",
        )
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Critical stalls a minute, by worker",
            "Busy stretches longer than the critical threshold.",
        )
        .ask(
            per_minute(&loops(&c::WORKER_BLOCKED).with("severity", "=", "critical"), each, WINDOW),
            "{{worker}}",
        )
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Busy, by worker",
            "Share of its time of the last ten seconds that it was busy.",
        )
        .ask(max(&loops(&c::WORKER_UTILIZATION), each), "{{worker}}")
        .ask(rate(&loops(&c::WORKER_RUN_DELAY), each, WINDOW), "{{worker}} ready and not run")
        .unit("percentunit")
        .from(0.0),
        Panel::new(Shape::Lines, "Time by worker and state", "Seconds a second that each was busy and idle.")
            .ask(
                rate(&loops(&c::WORKER_TIME), Group::By(&["worker", "state"]), WINDOW),
                "{{worker}} {{state}}",
            )
            .from(0.0),
        Panel::new(Shape::Lines, "Threads", "How many workers there are, by thread.")
            .ask(sum(&loops(&c::WORKER_INFO), Group::By(&["worker", "thread"])), "{{worker}} {{thread}}")
            .from(0.0),
    ]
}
