//! Alerts on the objective for lag: 99.9 % of moments wait at most 125 ms.
//!
//! Each looks at two windows: the long one says that the loss matters, the short one that it still goes on, so the
//! alert ends soon after the trouble does. Factors and windows are those of Google's "The Site Reliability Workbook",
//! chapter 5, for an objective over 30 days.
//!
//! A share of few moments says nothing about a month: a program that lived for four seconds and was slow to start has lost
//! a quarter of them. So the loop must be there now, and must have been there for a tenth of the long window; and one that
//! is started again and again has an alert of its own.

use super::loops::unless_restarting;
use super::{Alert, Severity};
use crate::durations::Span;
use crate::promql::Series;
use crate::recorded::{LAG_BUDGET, lag_slow, observed};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts() -> Vec<Alert> {
    vec![
        Alert {
            name: "LagBudgetBurnFast",
            why: "At 14.4 times the allowed rate, an hour uses 2 % of the month's budget.",
            expr: burns(14.4, Span::hours(1), Span::minutes(5)),
            hold: Some(Span::minutes(2)),
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} burns its lag budget at more than 14.4 times the allowed rate",
            description: "{{ $value | humanizePercentage }} of events in the last hour would have waited longer \
                          than 125 ms; the objective allows 0.1%. Only time in which the loop existed counts, at \
                          least a tenth of that period. `loopscope doctor` shows why.",
        },
        Alert {
            name: "LagBudgetBurnMedium",
            why: "At 6 times the allowed rate, six hours use 5 % of the month's budget.",
            expr: burns(6.0, Span::hours(6), Span::minutes(30)),
            hold: Some(Span::minutes(15)),
            severity: Severity::Critical,
            summary: "Loop {{ $labels.loop }} of {{ owner }} burns its lag budget at more than 6 times the allowed rate",
            description: "{{ $value | humanizePercentage }} of events in the last six hours would have waited \
                          longer than 125 ms; the objective allows 0.1%. Only time in which the loop existed \
                          counts, at least a tenth of that period. `loopscope doctor` shows why.",
        },
        Alert {
            name: "LagBudgetBurnSlow",
            why: "At 3 times the allowed rate, a day uses 10 % of the month's budget.",
            expr: burns(3.0, Span::days(1), Span::hours(2)),
            hold: Some(Span::hours(1)),
            severity: Severity::Warning,
            summary: "Loop {{ $labels.loop }} of {{ owner }} burns its lag budget at more than 3 times the allowed rate",
            description: "{{ $value | humanizePercentage }} of events in the last day would have waited longer than \
                          125 ms; the objective allows 0.1%. Only time in which the loop existed counts, at least a \
                          tenth of that period. `loopscope flame` shows where the time goes.",
        },
        Alert {
            name: "LagBudgetBurnSteady",
            why: "At the allowed rate nothing is left at the end of the month: a ticket, not a page.",
            expr: burns(1.0, Span::days(3), Span::hours(6)),
            hold: Some(Span::hours(3)),
            severity: Severity::Info,
            summary: "Loop {{ $labels.loop }} of {{ owner }} will have used up its lag budget within the month",
            description: "{{ $value | humanizePercentage }} of events in the last three days would have waited \
                          longer than 125 ms; the objective allows 0.1%. Only time in which the loop existed \
                          counts, at least a tenth of that period. `loopscope flame` shows where the time goes.",
        },
    ]
}

fn burns(factor: f64, long: Span, short: Span) -> String {
    let (exists, seen) = (Series::of(&c::STALL).select(), observed(long));
    let burns = format!(
        "{} > {factor} * {LAG_BUDGET}\nand\n{} > {factor} * {LAG_BUDGET}",
        lag_slow(long),
        lag_slow(short)
    );
    unless_restarting(&format!("{burns}\nand\n{seen} > 0.1\nand\n{exists}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is above the factor, often far above it: half of all moments are 500 times the allowed share.
    #[test]
    fn a_burn_rate_is_told_as_a_lower_bound() {
        let told = |alert: &Alert| alert.summary.contains("times the allowed rate");
        let alerts: Vec<Alert> = alerts().into_iter().filter(told).collect();
        assert_eq!(alerts.len(), 3);
        for alert in alerts {
            let factor = alert.expr.split("> ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            let bound = format!("at more than {factor} times the allowed rate");
            assert!(alert.summary.ends_with(&bound), "{}: {}", alert.name, alert.summary);
        }
    }

    /// The share is of the long window, and is compared with the objective: both stand in the expression, too.
    #[test]
    fn the_window_and_the_objective_in_a_text_are_those_of_the_expression() {
        let windows = ["hour", "six hours", "day", "three days"];
        for (alert, window) in alerts().into_iter().zip(windows) {
            let share =
                format!("{{{{ $value | humanizePercentage }}}} of events in the last {window} would have");
            assert!(alert.description.starts_with(&share), "{}: {}", alert.name, alert.description);
            let objective = format!("the objective allows {}%", LAG_BUDGET * 100.0);
            assert!(alert.description.contains(&objective), "{}: {}", alert.name, alert.description);
        }
        let long = alerts().into_iter().map(|alert| alert.expr.split(':').nth(2).unwrap().to_owned());
        let long: Vec<String> = long.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(long, ["ratio_rate1h", "ratio_rate6h", "ratio_rate1d", "ratio_rate3d"]);
    }
}
