//! Alerts on loops: stalled, blocked, starved, late, full, and leaking handles.

use super::{Alert, Severity};
use crate::pace::{Pace, Span};
use crate::promql::{Group, Series, increase, max, max_over_time, rate};
use crate::recorded::{LAG_P99, RESTARTS, RESTARTS_MAX, TIMERS_P99, UTILIZATION, observed};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Pace) -> Vec<Alert> {
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

fn stalls(pace: Pace) -> Vec<Alert> {
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
            why: "The age of the running busy stretch: fires while the loop is still blocked, not after it recovered. \
                  Two seconds is where Vert.x begins to warn, and where people notice.",
            expr: format!("{} > 2", max_over_time(&Series::of(&c::STALL), Group::Without(&[]), &minute)),
            hold: None,
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} did not poll for {{ $value | humanizeDuration }}",
            description: "No event of this loop was served meanwhile. `loopscope ls` on the host names the callback \
                          that runs and the line it was registered at; `loopscope incidents` has its stacks.",
        },
        Alert {
            name: "LoopBlocked",
            why: "Counted when a stretch crosses the critical threshold, so a stall that a lost scrape missed still \
                  fires. The value is the threshold, which the program may have set.",
            expr: unless_restarting(&format!("{threshold}\nand\n{blocks} > 0")),
            hold: None,
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} was blocked for longer than {{ $value | humanizeDuration }}, its critical threshold",
            description: "Every user of the process waited for it. `loopscope incidents` lists what it was, with \
                          stacks; `loopscope flame --of stalls` draws them together. A process that was stopped (by a \
                          debugger, a snapshot, Ctrl-Z) counts too: the incident says so.",
        },
        Alert {
            name: "LoopStarved",
            why: "Work that keeps queueing itself. The gauge sees it while it lasts, the counter what lay between \
                  two scrapes.",
            expr: unless_restarting(&format!("{active} == 1\nor\n{counted} > 0")),
            hold: None,
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is kept from polling by {{ $labels.cause }} work",
            description: "Jobs that keep queueing themselves let no I/O through. Yield with an immediate between \
                          portions; `loopscope incidents` names the site that queues them.",
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
            description: "This is time before any handler of yours begins. `loopscope doctor` says whether it is a \
                          few long callbacks or many short ones.",
        },
        Alert {
            name: "UtilizationHigh",
            why: "What an event waits grows as 1 / (1 - utilization): at 90 % it is ten times its run time.",
            expr: lasting(&format!("{UTILIZATION} > 0.9")),
            hold: Some(Span::minutes(10)),
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is busy {{ $value | humanizePercentage }} of the time",
            description: "There is hardly room for a burst. `loopscope flame` shows where the time goes: make that \
                          cheaper, move it to the pool, or run more processes.",
        },
        Alert {
            name: "UtilizationFull",
            why: "No headroom at all: the queues in front of the loop grow without bound.",
            expr: lasting(&format!("{UTILIZATION} > 0.98")),
            hold: Some(Span::minutes(5)),
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} is full: busy {{ $value | humanizePercentage }} of the time",
            description: "More arrives than the loop can do. Shed load or add processes first; then `loopscope flame` \
                          shows what to make cheaper.",
        },
        Alert {
            name: "TimersLate",
            why: "Time-outs, retries and heartbeats of the process are as late as this.",
            expr: lasting(&format!("{TIMERS_P99} > 0.25")),
            hold: Some(Span::minutes(10)),
            severity: Severity::Warning,
            summary: "Timers of loop {{ $labels.loop }} of {{ owner }} are {{ $value | humanizeDuration }} late",
            description: "One timer in a hundred is at least this late: the loop was busy when it was due, or too \
                          many are due at once. `loopscope doctor` tells which.",
        },
    ]
}

/// What lag does not see: an event that waits for a thread which is ready to run.
fn no_processor(pace: Pace) -> Alert {
    let waited = rate(&Series::of(&c::THREAD_RUN_DELAY), Group::Without(&[]), &pace.window(Span::minutes(5)));
    Alert {
        name: "LoopShortOfProcessor",
        why: "Lag is made of when the loop polls, so it does not show this. A tenth of the time is what a loop has that \
              shares a processor with others now and then; more than a fifth, people notice.",
        expr: lasting(&format!("{waited} > 0.2")),
        hold: Some(Span::minutes(5)),
        severity: Severity::Warning,
        summary: "Loop {{ $labels.loop }} of {{ owner }} was ready to run and had no processor for {{ $value | humanizePercentage }} of the time",
        description: "Its events waited although its callbacks may be short. Others use the processors, or the CPU quota \
                      of its cgroup is used up: `loopscope doctor` says which. Of a runtime it is the sum of its \
                      workers.",
    }
}

fn handle_leak(pace: Pace) -> Alert {
    let open = Series::of(&c::HANDLES_ACTIVE).select();
    let (hour, day) = (pace.window(Span::hours(1)), pace.window(Span::hours(6)));
    Alert {
        name: "HandleLeak",
        why: "Grows by more than a hundred an hour, and has doubled within six: a level that rises with the day's \
              traffic does one of these, a leak both.",
        expr: format!("deriv({open}[{hour}]) * 3600 > 100\nand\n{open} > 2 * min_over_time({open}[{day}])"),
        hold: Some(Span::minutes(30)),
        severity: Severity::Info,
        summary: "Loop {{ $labels.loop }} of {{ owner }} opens {{ $value | humanize }} more {{ $labels.type }} handles an hour than it closes",
        description: "Handles that are never closed use memory and file descriptors until the process has none left. \
                      Look for a path that forgets to close: errors, time-outs, cancelled requests.",
    }
}
