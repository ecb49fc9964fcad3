//! One loop in depth: everything that is known of it, from its lag down to its handles.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{RANGE, WINDOW, loops, processes};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{
    Group, buckets, increase, max, per_minute, quantile, rate, ratio, share_above, sum, total_rate,
    values_rate,
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
    .choose_process(false)
    .choose("loop", "Loop", &processes(&c::LOOP_INFO), false);
    with_marks(board)
        .row("At a glance", glance())
        .row("Lag: how long events wait", lag())
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
    let quantiles = [("0.5", "half"), ("0.9", "p90"), ("0.99", "p99"), ("0.999", "p99.9")];
    quantiles
        .into_iter()
        .fold(panel, |panel, (q, name)| panel.ask(quantile(q, &loops(family), ALL, WINDOW), name))
}

/// Median and 99th percentile, as lines.
fn two_percentiles(panel: Panel, family: &'static Family) -> Panel {
    let quantiles = [("0.5", "half"), ("0.99", "p99")];
    quantiles
        .into_iter()
        .fold(panel, |panel, (q, name)| panel.ask(quantile(q, &loops(family), ALL, WINDOW), name))
}

fn glance() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Figure,
            "Stalled now",
            "Time since the loop last polled. 0 while it waits for events.",
        )
        .ask(max(&loops(&c::STALL), ALL), "stalled")
        .unit("s")
        .steps(t::STALL)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Figure,
            "Lag p99",
            "99th percentile of the delay until the loop polls.",
        )
        .ask(quantile("0.99", &loops(&c::LAG_SECONDS), ALL, WINDOW), "p99")
        .unit("s")
        .steps(t::LAG)
        .runbook("LagHigh"),
        Panel::new(
            Shape::Figure,
            "Late events",
            "Share of events in the time shown that would have waited longer than 125 ms. The objective allows 0.1 %.",
        )
        .ask(share_above(LAG_BOUND, &loops(&c::LAG_SECONDS), ALL, RANGE), "late")
        .unit("percentunit")
        .steps(t::LATE_SHARE)
        .runbook("LagBudgetBurnFast"),
        Panel::new(Shape::Figure, "Busy", "Share of the last ten seconds that the loop ran code.")
            .ask(max(&loops(&c::UTILIZATION), ALL), "busy")
            .unit("percentunit")
            .steps(t::UTILIZATION)
            .between(0.0, 1.0)
            .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Figure,
            "Blocks",
            "Busy periods longer than the critical threshold, in the time shown.",
        )
        .ask(increase(&loops(&c::BLOCKED).with("severity", "=", "critical"), ALL, RANGE), "blocks")
        .steps(t::NONE_EXPECTED)
        .decimals(0)
        .runbook("LoopBlocked")
        .link("Incidents (the agent's own list)", "http://${instance}/debug/loopscope/incidents"),
        Panel::new(Shape::Figure, "Iterations", "Iterations per second, poll to poll.")
            .ask(rate(&loops(&c::ITERATIONS), ALL, WINDOW), "a second")
            .unit("ops"),
    ]
}

fn lag() -> Vec<Panel> {
    let lag = "Delay from an event becoming ready, at a random time, to the loop's next poll. Computed from the \
               exact length of busy periods, for 1000 random times per second: stalls count in full, idle time \
               counts as 0.";
    let mut panels = vec![
        percentiles(Panel::new(Shape::Lines, "Lag", lag), &c::LAG_SECONDS)
            .unit("s")
            .lines(t::LAG)
            .logarithmic()
            .size(12, 9)
            .runbook("LagHigh"),
        Panel::new(
            Shape::Heatmap,
            "Lag distribution",
            "Darker is more. The band at the bottom is normal; a spot high above it is a stall.",
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
            "Late events over time",
            "Share of events that would have waited longer than 125 ms. The lines are the budget and the rates at \
             which its alerts fire.",
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
                "Delay from a timer's due time to the start of its callback. If higher than lag: too many timers at once.",
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
            "Current busy period",
            "Duration of the current busy period, and the stall thresholds. A rising line is a stall in progress.",
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
            "Runnable but not scheduled",
            "Share of time the loop's thread was runnable but not scheduled; of a runtime, the mean of its workers. Lag \
             does not include it if the loop was about to return from its poll.",
        )
        .ask(
            // As many seconds a second as it has threads.
            ratio(
                &rate(&loops(&c::THREAD_RUN_DELAY), ALL, WINDOW),
                &rate(&loops(&c::LOOP_TIME), ALL, WINDOW),
            ),
            "no processor",
        )
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
                "From the return of one poll to the next. No event is served in between.",
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
                "Time of one poll in the kernel. Long waits mean an idle loop.",
            ),
            &c::POLL_WAIT,
        )
        .unit("s")
        .from(0.0),
        two_percentiles(
            Panel::new(
                Shape::Lines,
                "Events of one poll",
                "Events returned by one poll. Many: the loop polls late. With native histograms, 0 and 1 are one bucket.",
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
            "Seconds per second, 1 in total. The active part is the loop's utilization.",
        )
        .ask(rate(&loops(&c::LOOP_TIME), Group::By(&["state"]), WINDOW), "{{state}}")
        .unit("percentunit")
        .between(0.0, 1.0)
        .runbook("UtilizationHigh"),
        Panel::new(
            Shape::Stack,
            "Time by phase",
            "Time by phase of the iteration: timers, sockets (poll), immediates (check), and so on.",
        )
        .ask(total_rate(&loops(&c::PHASE_DURATION), Group::By(&["phase"]), WINDOW), "{{phase}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Time by kind of callback",
            "The same time by kind of callback.",
        )
        .ask(total_rate(&loops(&c::CALLBACK_DURATION), Group::By(&["kind"]), WINDOW), "{{kind}}")
        .unit("percentunit")
        .from(0.0),
        Panel::new(
            Shape::Table {
                labels: &["site", "kind"],
                columns: &[
                    Column { name: "Share of time", unit: "percentunit", steps: Some(t::UTILIZATION) },
                    Column { name: "Calls per second", unit: "ops", steps: None },
                    Column { name: "Longest run, last minute", unit: "s", steps: Some(t::STALL) },
                ],
                link: None,
            },
            "Heaviest callback sites",
            "Where callbacks were registered. Heavy with many calls: make it cheaper. Heavy with few: split it up. \
             `loopscope flame` shows what they call.",
        )
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_SECONDS), site, RANGE)), "Share of time")
        .column(format!("topk(20, {})", rate(&loops(&c::SITE_CALLS), site, RANGE)), "Calls per second")
        .column(format!("topk(20, {})", max(&loops(&c::SITE_MAX), site)), "Longest run, last minute"),
    ]
}

fn callbacks() -> Vec<Panel> {
    let kind = Group::By(&["kind"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Longest run times by kind",
            "99th percentile by kind, without the jobs drained after a callback.",
        )
        .ask(quantile("0.99", &loops(&c::CALLBACK_DURATION), kind, WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
        Panel::new(
            Shape::Lines,
            "Wait by kind",
            "99th percentile of the delay from ready to start, by kind.",
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
            "Time of a task by stage",
            "95th percentile by stage. operation: submitted to ready; queued: ready to start; executing: start to \
             return; completed: return until the queues after it are empty.",
        )
        .ask(quantile("0.95", &loops(&c::TASK_STAGE), Group::By(&["stage"]), WINDOW), "{{stage}}")
        .unit("s")
        .from(0.0)
        .size(12, 8),
        Panel::new(Shape::Lines, "Callbacks that panicked", "Per minute. Should be 0.")
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
            "After every callback, the tick and microtask (promise) queues are run until they are empty. 99th \
             percentile; the loop does nothing else in that time.",
        )
        .ask(quantile("0.99", &loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}}")
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .runbook("LoopStarved"),
        Panel::new(Shape::Lines, "Jobs in one drain", "99th percentile. Thousands are a flood.")
            .ask(quantile("0.99", &loops(&c::DRAIN_JOBS), queue, WINDOW), "{{queue}}")
            .from(0.0),
        Panel::new(Shape::Lines, "Jobs and drains a second", "Per second, by queue.")
            .ask(rate(&loops(&c::DRAINED_JOBS), queue, WINDOW), "{{queue}} jobs")
            .ask(values_rate(&loops(&c::DRAIN_DURATION), queue, WINDOW), "{{queue}} drains")
            .unit("ops")
            .from(0.0),
        Panel::new(Shape::Lines, "Deepest queue", "Maximum depth within the last minute.")
            .ask(max(&loops(&c::QUEUE_DEPTH_MAX), queue), "{{queue}}")
            .from(0.0),
        Panel::new(
            Shape::States("starved"),
            "Starved by",
            "Red while the loop has been kept from polling for longer than the warning threshold, by cause.",
        )
        .ask(max(&loops(&c::STARVATION_ACTIVE), Group::By(&["cause"])), "{{cause}}")
        .runbook("LoopStarved"),
        Panel::new(Shape::Lines, "Time lost to starvation", "Seconds per second, by cause, counted when an episode ends.")
            .ask(total_rate(&loops(&c::STARVATION_DURATION), Group::By(&["cause"]), WINDOW), "{{cause}}")
            .unit("percentunit")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Stalls and starvation per minute",
            "Stalls by severity, and starvation episodes by cause.",
        )
        .ask(per_minute(&loops(&c::BLOCKED), Group::By(&["severity"]), WINDOW), "{{severity}}")
        .ask(per_minute(&loops(&c::STARVATION), Group::By(&["cause"]), WINDOW) + " > 0", "by {{cause}}")
        .from(0.0)
        .size(12, 8)
        .runbook("LoopBlocked"),
        Panel::new(
            Shape::Heatmap,
            "Duration of stalls",
            "Exact duration of stalls, counted when they end.",
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
            "Incidents per minute",
            "Stalls, starvation and saturated pools recorded by the agent. `loopscope incidents` lists them with \
             their stacks.",
        )
        .ask(per_minute(&loops(&c::INCIDENTS), Group::By(&["kind"]), WINDOW), "{{kind}}")
        .from(0.0)
        .runbook("LoopBlocked")
        .link("Incidents (the agent's own list)", "http://${instance}/debug/loopscope/incidents"),
        Panel::new(
            Shape::Lines,
            "Stack captures per minute",
            "During incidents, by result: ok, failed, or rate_limited (beyond the first stack of a culprit and two per second).",
        )
        .ask(per_minute(&loops(&c::CAPTURES), Group::By(&["result"]), WINDOW), "{{result}}")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Incidents not logged, per minute",
            "Recorded but not logged, because the log budget of that minute was used up.",
        )
        .ask(per_minute(&loops(&c::REPORTS_SUPPRESSED), ALL, WINDOW), "not logged")
        .from(0.0),
    ]
}

fn work() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Operations started",
            "Timers, connection attempts and pool jobs, per second.",
        )
        .ask(rate(&loops(&c::WORK_SUBMITTED), Group::By(&["kind"]), WINDOW) + " > 0", "{{kind}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Operations finished",
            "Operations by outcome: callback returned (ok), callback panicked (error), or cancelled before it ran \
             (cancelled).",
        )
        .ask(rate(&loops(&c::WORK_COMPLETED), Group::By(&["outcome"]), WINDOW), "{{outcome}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Wakeups merged",
            "Wakeups from other threads that were merged with a pending one, per second; each saved a system call.",
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
            "Referenced handles, and requests in progress. When both are 0, the loop ends.",
        )
        .ask(sum(&loops(&c::HANDLES_REFERENCED), ALL), "referenced handles")
        .ask(sum(&loops(&c::REQUESTS_ACTIVE), ALL), "requests in progress")
        .from(0.0),
        Panel::new(Shape::Lines, "Timers pending", "A line that only rises: timers that are never cleared.")
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
            "Time since each worker last polled. The panels above show the sum or the worst of them.",
        )
        .ask(max(&loops(&c::WORKER_STALL), each), "{{worker}}")
        .unit("s")
        .from(0.0)
        .runbook("LoopStalled"),
        Panel::new(
            Shape::Lines,
            "Stalls per minute, by worker",
            "Busy periods longer than the warning threshold.",
        )
        .ask(
            per_minute(&loops(&c::WORKER_BLOCKED).with("severity", "=", "warning"), each, WINDOW),
            "{{worker}}",
        )
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Critical stalls per minute, by worker",
            "Busy periods longer than the critical threshold.",
        )
        .ask(
            per_minute(&loops(&c::WORKER_BLOCKED).with("severity", "=", "critical"), each, WINDOW),
            "{{worker}}",
        )
        .from(0.0),
        Panel::new(Shape::Lines, "Busy, by worker", "Share of the last ten seconds that it was busy.")
            .ask(max(&loops(&c::WORKER_UTILIZATION), each), "{{worker}}")
            .ask(rate(&loops(&c::WORKER_RUN_DELAY), each, WINDOW), "{{worker}} runnable but not scheduled")
            .unit("percentunit")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Time by worker and state",
            "Seconds per second that each was busy and idle.",
        )
        .ask(rate(&loops(&c::WORKER_TIME), Group::By(&["worker", "state"]), WINDOW), "{{worker}} {{state}}")
        .from(0.0),
        Panel::new(Shape::Lines, "Threads", "Workers, by thread.")
            .ask(sum(&loops(&c::WORKER_INFO), Group::By(&["worker", "thread"])), "{{worker}} {{thread}}")
            .from(0.0),
    ]
}
