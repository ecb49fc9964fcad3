//! Alerts on loops: stalled, blocked, starved, late, full, and leaking handles.

use super::{Alert, Severity};
use crate::durations::{Durations, Span};
use crate::promql::{Group, Series, increase, max, max_over_time, rate, ratio};
use crate::recorded::{LAG_P99, RESTARTS, RESTARTS_MAX, TIMERS_P99, UTILIZATION, observed};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Durations) -> Vec<Alert> {
    let mut alerts = stalls(pace);
    alerts.extend(lateness());
    alerts.push(no_processor(pace));
    alerts.push(handle_leak(pace));
    alerts
}

/// Returns the expression without the loops of processes that are started again and again: what is wrong with those is
/// told once, by an alert of its own.
pub(super) fn unless_restarting(expr: &str) -> String {
    format!("({expr})\nunless ignoring (loop, pid, name, cause)\n{RESTARTS} >= {RESTARTS_MAX}")
}

/// Returns the expression for loops that were there for most of the last five minutes: rates of five minutes also have
/// values for a loop that lived for some seconds of them.
fn lasting(expr: &str) -> String {
    unless_restarting(&format!("{expr}\nand\n{} > 0.5", observed(Span::minutes(5))))
}

fn stalls(pace: Durations) -> Vec<Alert> {
    let (minute, five) = (pace.window(Span::minutes(1)), pace.window(Span::minutes(5)));
    let critical = Series::of(&c::BLOCKED).with("severity", "=", "critical");
    let blocks = increase(&critical, Group::Without(&["severity"]), &five);
    let threshold = max(
        &Series::of(&c::STALL_THRESHOLD).with("severity", "=", "critical"),
        Group::Without(&["severity"]),
    );
    // A single long callback has alerts of its own.
    let by_others = |family| Series::of(family).with("cause", "!=", "callback");
    let active = by_others(&c::STARVATION_ACTIVE).select();
    let counted = increase(&by_others(&c::STARVATION), Group::Without(&[]), &five);
    vec![
        Alert {
            name: "LoopStalled",
            why: "The duration of the current busy period: fires while the loop is still blocked, and for up to a \
                  minute after. Vert.x warns from two seconds, where people notice.",
            expr: format!("{} > 2", max_over_time(&Series::of(&c::STALL), Group::Without(&[]), &minute)),
            hold: None,
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} did not poll for {{ $value | humanizeDuration }}",
            description: "No event of this loop was served in that time. `loopscope ls` on the host shows the \
                          running callback and where it was registered; `loopscope incidents` has its stacks.",
        },
        Alert {
            name: "LoopBlocked",
            why: "Counted when a busy period exceeds the critical threshold, so a stall between two scrapes still \
                  fires. The value is the threshold, which the program may have set.",
            expr: unless_restarting(&format!("{threshold}\nand\n{blocks} > 0")),
            hold: None,
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} was blocked for longer than {{ $value | humanizeDuration }}, its critical threshold",
            description: "Every user of the process waited for it. `loopscope incidents` shows the cause, with \
                          stacks; `loopscope flame --of stalls` draws all of them. A stopped process (debugger, VM \
                          snapshot, Ctrl-Z) counts too: the incident says so.",
        },
        Alert {
            name: "LoopStarved",
            why: "Work that keeps queueing itself. The gauge shows it while it lasts, the counter catches what fell \
                  between two scrapes.",
            expr: unless_restarting(&format!("{active} == 1\nor\n{counted} > 0")),
            hold: None,
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is kept from polling by {{ $labels.cause }} work",
            description: "Jobs that keep queueing themselves starve I/O. Yield with an immediate between batches; \
                          `loopscope incidents` names the site that queues them.",
        },
    ]
}

fn lateness() -> Vec<Alert> {
    vec![
        Alert {
            name: "LagHigh",
            why: "The first boundary of the histogram above 100 ms, where asyncio begins to warn; toobusy-js refuses \
                  requests at 70 ms.",
            expr: lasting(&format!("{LAG_P99} > 0.125")),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "One event in a hundred waits {{ $value | humanizeDuration }} for loop {{ $labels.loop }} of {{ owner }}",
            description: "This is the delay before any of your handlers starts. `loopscope doctor` shows whether \
                          the cause is a few long callbacks or many short ones.",
        },
        Alert {
            name: "UtilizationHigh",
            why: "Waiting time grows as 1 / (1 - utilization): at 90 % it is ten times the run time.",
            expr: lasting(&format!("{UTILIZATION} > 0.9")),
            hold: Some(Span::minutes(10)),
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is busy {{ $value | humanizePercentage }} of the time",
            description: "There is little headroom for bursts. `loopscope flame` shows where the time goes: make \
                          that cheaper, move it to the pool, or run more processes.",
        },
        Alert {
            name: "UtilizationFull",
            why: "No headroom at all: the queues in front of the loop grow without bound.",
            expr: lasting(&format!("{UTILIZATION} > 0.98")),
            hold: Some(Span::minutes(5)),
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is saturated: busy {{ $value | humanizePercentage }} \
                      of the time",
            description: "More work arrives than the loop can handle. First shed load or add processes; then \
                          `loopscope flame` shows what to make cheaper.",
        },
        Alert {
            name: "TimersLate",
            why: "Timeouts, retries and heartbeats of the process are that late.",
            expr: lasting(&format!("{TIMERS_P99} > 0.25")),
            hold: Some(Span::minutes(10)),
            severity: Severity::Warning,
            summary: "Timers of loop {{ $labels.loop }} of {{ owner }} are {{ $value | humanizeDuration }} late",
            description: "One timer in a hundred is at least this late: the loop was busy when it was due, or too \
                          many are due at once. `loopscope doctor` shows which.",
        },
    ]
}

/// What lag does not see: an event that waits for a thread which is ready to run.
fn no_processor(pace: Durations) -> Alert {
    let window = pace.window(Span::minutes(5));
    let waited = rate(&Series::of(&c::THREAD_RUN_DELAY), Group::Without(&[]), &window);
    // As many seconds a second as it has threads.
    let time = rate(&Series::of(&c::LOOP_TIME), Group::Without(&["state"]), &window);
    Alert {
        name: "LoopShortOfProcessor",
        why: "Lag depends only on when the loop polls, so it does not show this. A tenth of the time is usual on a \
              shared CPU; more than a fifth is noticeable.",
        expr: lasting(&format!("{} > 0.2", ratio(&waited, &time))),
        hold: Some(Span::minutes(5)),
        severity: Severity::Warning,
        summary: "Loop {{ $labels.loop }} of {{ owner }} was runnable but not scheduled for {{ $value | \
                  humanizePercentage }} of the time",
        description: "Its events waited although its callbacks may be short. Other threads use the CPUs, or its \
                      cgroup is throttled: `loopscope doctor` shows which. For a runtime, this is the mean of its \
                      workers.",
    }
}

/// The quietest moment of a day has as many handles as that of the day before, whatever traffic does in between. By type, where the
/// runtime tells types; Node.js tells how many keep its loop alive.
fn handle_leak(pace: Durations) -> Alert {
    let day = pace.window(Span::days(1));
    let leaks = |family| {
        let open = Series::of(family).select();
        let last = format!("min_over_time({open}[{day}])");
        let before = format!("min_over_time({open}[{day}] offset {day})");
        // It was there for all of both days: a start has no handles.
        let is_old = format!("{open} offset {}", pace.window(Span::days(2)));
        format!("{last} - {before} > 2400\nand\n{last} > 1.1 * {before}\nand\n{is_old}")
    };
    let (of_type, of_all) = (leaks(&c::HANDLES_ACTIVE), leaks(&c::HANDLES_REFERENCED));
    let typed = Series::of(&c::HANDLES_ACTIVE).select();
    Alert {
        name: "HandleLeak",
        why: "The fewest that were open within a day, compared with the day before: traffic goes down again, a leak \
              does not. More than a hundred per hour, and a tenth of all.",
        expr: format!("({of_type})\nor\n({of_all}\nunless ignoring (type)\n{typed})"),
        hold: Some(Span::minutes(30)),
        severity: Severity::Info,
        summary: "Loop {{ $labels.loop }} of {{ owner }} leaks {{ $value | humanize }} handles per day \
                  (opened and not closed)",
        description: "Handles that are never closed use up memory and file descriptors. The label `type` says what \
                      they are, where the runtime tells it. Look for code paths that do \
                      not close: errors, timeouts, cancelled requests. Growth that follows the number of clients over \
                      days is no leak.",
    }
}
