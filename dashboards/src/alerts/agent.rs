//! Alerts on loopscope itself: a profiler that sees nothing must not look like a loop without trouble.

use super::{Alert, Severity};
use crate::durations::{Durations, Span};
use crate::promql::{Group, Series, increase, rate};
use crate::recorded::{RESTARTS, RESTARTS_MAX};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Durations) -> Vec<Alert> {
    let mut alerts = blindness(pace);
    alerts.extend(losses(pace));
    alerts
}

fn blindness(pace: Durations) -> Vec<Alert> {
    vec![
        Alert {
            name: "TargetDown",
            why: "All other alerts are silent for a process that cannot be scraped. Adapt the expression to your job names.",
            expr: "up{job=~\".*loopscope.*\"} == 0".to_owned(),
            hold: Some(Span::minutes(5)),
            severity: Severity::Critical,
            summary: "{{ owner }} cannot be scraped",
            description: "The process has exited, or its agent does not answer. A blocked loop is not the cause: \
                          the agent has its own thread.",
        },
        Alert {
            name: "AgentStale",
            why: "The agent ticks at least every five seconds, even if every loop is idle. This counts ticks, \
                  because clocks of two machines may differ.",
            expr: stale(&pace.window(Span::minutes(2))),
            hold: Some(Span::minutes(1)),
            severity: Severity::Critical,
            summary: "The agent of {{ owner }} has not checked its loops for more than two minutes",
            description: "Its metrics are served, but stalls are not detected. The thread loopscope-agent is not \
                          scheduled, or it has failed.",
        },
        Alert {
            name: "ProcessRestarts",
            why: "A deployment restarts a process once or twice. Other alerts on a process that keeps restarting \
                  are consequences of this, so they are silenced.",
            expr: format!("{RESTARTS} >= {RESTARTS_MAX}"),
            hold: None,
            severity: Severity::Warning,
            summary: "{{ owner }} restarted {{ $value | humanize }} times within 15 minutes",
            description: "It seems to be in a crash loop: check its log and its supervisor's. `loopscope incidents` \
                          on the host lists the last incidents of a process that has exited.",
        },
        Alert {
            name: "AgentPanicked",
            why: "Each is a bug in loopscope, caught before it could harm the process.",
            expr: increase_above_zero(&c::AGENT_PANICS, pace, Span::hours(1)),
            hold: None,
            severity: Severity::Warning,
            summary: "The agent of {{ owner }} panicked {{ $value | printf \"%.0f\" }} times",
            description: "The process is unharmed, but the data of those ticks is missing. Please report the \
                          message in the program's log.",
        },
    ]
}

/// Returns an expression for processes whose agents have not ticked for so long: by two samples at least, because the last one of a
/// process that has ended may be found for minutes. Of a process that was started again meanwhile the start differs, and of one
/// that has just begun there is nothing to compare with.
fn stale(while_ago: &str) -> String {
    let ticks = increase(&Series::of(&c::AGENT_TICKS), Group::Without(&[]), while_ago);
    let start = Series::of(&c::PROCESS_START).select();
    format!("{ticks} == 0\nand\n{start} == {start} offset {while_ago}")
}

fn increase_above_zero(family: &'static c::Family, pace: Durations, span: Span) -> String {
    format!("{} > 0", increase(&Series::of(family), Group::Without(&[]), &pace.window(span)))
}

fn losses(pace: Durations) -> Vec<Alert> {
    let cpu = rate(&Series::of(&c::AGENT_CPU), Group::Without(&[]), &pace.window(Span::minutes(5)));
    vec![
        Alert {
            name: "AgentDropping",
            why: "Counts stay exact, but what did not fit is counted under a shared name.",
            expr: increase_above_zero(&c::AGENT_DROPPED, pace, Span::minutes(5)),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} has more callback sites than fit on its page",
            description: "New callbacks are shown as \"other\" in tables and flamegraphs ({{ $labels.reason }}). \
                          The usual cause is names made at run time (one per request or user).",
        },
        Alert {
            name: "AgentExpensive",
            why: "The target is a fraction of this.",
            expr: format!("{cpu} > 0.05"),
            hold: Some(Span::minutes(15)),
            severity: Severity::Info,
            summary: "The agent of {{ owner }} uses {{ $value | humanizePercentage }} of a CPU",
            description: "The usual causes are frequent scrapes, many loops or very low stall thresholds.",
        },
        Alert {
            name: "SeriesOverflow",
            why: "Loops, sites, workers or metrics beyond the limit have no series of their own: queries do not find them.",
            expr: format!("{} > 0", Series::of(&c::SERIES_OVERFLOW).select()),
            hold: Some(Span::minutes(5)),
            severity: Severity::Info,
            summary: "{{ owner }} has {{ $value | humanize }} {{ $labels.limit }} more than it exports",
            description: "What exceeds the limit is counted under `_other` or omitted. Use fewer loops per process, \
                          or fewer distinct callback names.",
        },
    ]
}
