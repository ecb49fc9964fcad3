//! Alerts on loopscope itself: a profiler that sees nothing must not look like a loop without trouble.

use super::{Alert, Severity};
use crate::pace::{Pace, Span};
use crate::promql::{Group, Series, increase, rate};
use crate::recorded::{RESTARTS, RESTARTS_MAX};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Pace) -> Vec<Alert> {
    let mut alerts = blindness(pace);
    alerts.extend(losses(pace));
    alerts
}

fn blindness(pace: Pace) -> Vec<Alert> {
    vec![
        Alert {
            name: "TargetDown",
            why: "All other alerts are silent about a process that cannot be scraped. Set the expression to your jobs' names.",
            expr: "up{job=~\".*loopscope.*\"} == 0".to_owned(),
            hold: Some(Span::minutes(5)),
            severity: Severity::Critical,
            summary: "{{ owner }} cannot be scraped",
            description: "The process has ended, or its agent does not answer. A blocked loop is not the reason: the \
                          agent has a thread of its own.",
        },
        Alert {
            name: "AgentStale",
            why: "The agent looks at least every five seconds, also when every loop is idle. Looks are counted: the \
                  clocks of two machines differ, counters do not.",
            expr: unchanged(&[&c::AGENT_TICKS, &c::PROCESS_START], &pace.window(Span::minutes(2))),
            hold: Some(Span::minutes(1)),
            severity: Severity::Critical,
            summary: "The agent of {{ owner }} has not looked at its loops for more than two minutes",
            description: "Its page is served, but stalls are not noticed. The threads of the agent have no processor, \
                          or it has met a fault: its thread is called loopscope-agent.",
        },
        Alert {
            name: "ProcessRestarts",
            why: "A deployment restarts a process once or twice. What other alerts say of a process that hardly lives \
                  follows from this, so they are silent about it.",
            expr: format!("{RESTARTS} >= {RESTARTS_MAX}"),
            hold: None,
            severity: Severity::Warning,
            summary: "{{ owner }} was started again {{ $value | humanize }} times within 15 minutes",
            description: "It seems to be in a crash loop: read what it and its supervisor logged. The last incidents of \
                          a process that has ended are listed by `loopscope incidents` on its host.",
        },
        Alert {
            name: "AgentPanicked",
            why: "Each is a fault of loopscope, caught before it could harm the process.",
            expr: increase_above_zero(&c::AGENT_PANICS, pace, Span::hours(1)),
            hold: None,
            severity: Severity::Warning,
            summary: "The agent of {{ owner }} gave up {{ $value | humanize }} looks after a panic",
            description: "The process is unharmed, the figures of those looks are missing. The program's log has \
                          the message: please report it.",
        },
    ]
}

/// Returns an expression for processes whose series all have the values that they had a while ago. Of one that was started
/// again meanwhile the start differs, and of one that has just begun there is nothing to compare with.
fn unchanged(families: &[&'static c::Family], while_ago: &str) -> String {
    let one = |family: &&'static c::Family| {
        let series = Series::of(family).select();
        format!("{series} == {series} offset {while_ago}")
    };
    families.iter().map(one).collect::<Vec<_>>().join("\nand\n")
}

fn increase_above_zero(family: &'static c::Family, pace: Pace, span: Span) -> String {
    format!("{} > 0", increase(&Series::of(family), Group::Without(&[]), &pace.window(span)))
}

fn losses(pace: Pace) -> Vec<Alert> {
    let cpu = rate(&Series::of(&c::AGENT_CPU), Group::Without(&[]), &pace.window(Span::minutes(5)));
    vec![
        Alert {
            name: "AgentDropping",
            why: "Counts stay exact, but what did not fit is booked under a shared name.",
            expr: increase_above_zero(&c::AGENT_DROPPED, pace, Span::minutes(5)),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} has more callback sites than its page has room for",
            description: "New callbacks are shown as \"other\" in tables and flamegraphs ({{ $labels.reason }}). Names \
                          made at run time (one per request or user) are the usual reason.",
        },
        Alert {
            name: "AgentExpensive",
            why: "The promise is a fraction of this.",
            expr: format!("{cpu} > 0.05"),
            hold: Some(Span::minutes(15)),
            severity: Severity::Info,
            summary: "The agent of {{ owner }} uses {{ $value | humanizePercentage }} of a processor",
            description: "Frequent scrapes, many loops or very low stall thresholds are the usual reasons.",
        },
        Alert {
            name: "SeriesOverflow",
            why: "Something has no series of its own, and will be missed when it is looked for: told for as long as that is \
                  so.",
            expr: format!("{} > 0", Series::of(&c::SERIES_OVERFLOW).select()),
            hold: Some(Span::minutes(5)),
            severity: Severity::Info,
            summary: "{{ owner }} has {{ $value | humanize }} {{ $labels.limit }} more than it exports",
            description: "What is past the limit is booked under `_other` or left out. Fewer loops per process, or \
                          fewer distinct names of callbacks, bring it back.",
        },
    ]
}
