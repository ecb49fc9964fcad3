//! The alerts: what needs a person, what to tell that person, and where to read on.

mod agent;
mod burn_rate;
mod loops;
mod pools;

use crate::durations::{Durations, Span};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Users notice now: wake somebody.
    Critical,
    /// Look at it today.
    Warning,
    /// Look at it some time.
    Info,
}

impl Severity {
    /// Returns the value of the label `severity`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One alert.
#[derive(Debug)]
pub struct Alert {
    /// Its name, which is also the name of its runbook.
    pub name: &'static str,
    /// Why it is there and why its threshold is what it is, for the reader of the file.
    pub why: &'static str,
    /// Fires for every series that this returns.
    pub expr: String,
    /// How long the expression must hold first.
    pub hold: Option<Span>,
    /// How much it matters.
    pub severity: Severity,
    /// One line. Prometheus fills in `{{ $labels.loop }}`, `{{ $value | humanizeDuration }}` and the like; what it
    /// is to fill in for `{{ owner }}` is in [`template`].
    pub summary: &'static str,
    /// What it means and what to do first; filled in likewise.
    pub description: &'static str,
}

/// Alerts that are evaluated together.
#[derive(Debug)]
pub struct AlertGroup {
    /// Its name.
    pub name: &'static str,
    /// In order.
    pub alerts: Vec<Alert>,
}

/// In a text: whose loop, pool or agent it is: the process, and the target. Series of `loopscope serve` name the
/// process themselves; for those of an agent its page does, in one series of its own.
const OWNER: &str = "{{ owner }}";
const OWNER_TEMPLATE: &str = "{{ if $labels.pid }}{{ $labels.name }} (pid {{ $labels.pid }}) on {{ else }}{{ range query (printf \"\
     loopscope_process_info{job=%q,instance=%q}\" $labels.job $labels.instance) }}{{ .Labels.name }} (pid {{ .Labels.pid }}) on \
     {{ end }}{{ end }}{{ $labels.instance }}";

/// Returns a text of an alert as the template that Prometheus fills in.
pub fn template(text: &str) -> String {
    text.replace(OWNER, OWNER_TEMPLATE)
}

/// Returns all alerts.
pub fn groups(pace: Durations) -> Vec<AlertGroup> {
    vec![
        AlertGroup { name: "loopscope-loops", alerts: loops::alerts(pace) },
        AlertGroup { name: "loopscope-lag-budget", alerts: burn_rate::alerts() },
        AlertGroup { name: "loopscope-pools", alerts: pools::alerts(pace) },
        AlertGroup { name: "loopscope-agent", alerts: agent::alerts(pace) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody can do anything about "loop main of host:9463" where ten processes have such a loop.
    #[test]
    fn every_summary_names_the_process() {
        for alert in groups(Durations::Production).into_iter().flat_map(|group| group.alerts) {
            assert!(alert.summary.contains(OWNER), "{}: {}", alert.name, alert.summary);
            let is_named_otherwise =
                [alert.summary, alert.description].iter().any(|text| text.contains("$labels.instance"));
            assert!(!is_named_otherwise, "{}: {OWNER} is the target, too", alert.name);
        }
    }

    /// The page counts a busy period of a process that was stopped as it counts all others.
    #[test]
    fn an_alert_on_counted_stalls_says_that_a_stop_is_one() {
        let counted = |alert: &Alert| alert.expr.contains("increase(loopscope_blocked_total");
        let alerts = groups(Durations::Production).into_iter().flat_map(|group| group.alerts);
        let alerts: Vec<Alert> = alerts.filter(counted).collect();
        assert!(!alerts.is_empty());
        for alert in alerts {
            assert!(alert.description.contains("stopped process"), "{}: {}", alert.name, alert.description);
        }
    }

    /// All of them aggregate, if at all, `without` some labels: those of the process stay.
    #[test]
    fn no_alert_and_no_rule_drops_the_process() {
        let alerts = groups(Durations::Production).into_iter().flat_map(|group| group.alerts);
        let alerts = alerts.map(|alert| (alert.name.to_owned(), alert.expr));
        let recorded =
            crate::recorded::groups(Durations::Production).into_iter().flat_map(|group| group.rules);
        for (name, expr) in alerts.chain(recorded.map(|rule| (rule.name, rule.expr))) {
            assert!(!expr.contains(" by (") && !expr.contains(" on ("), "{name}: {expr}");
        }
    }
}
