//! The alerts: what needs a person, what to tell that person, and where to read on.

mod agent;
mod budget;
mod loops;
mod pools;

use crate::pace::{Pace, Span};

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
    /// One line. Prometheus fills in `{{ $labels.loop }}`, `{{ $value | humanizeDuration }}` and the like.
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

/// Returns all alerts.
pub fn groups(pace: Pace) -> Vec<AlertGroup> {
    vec![
        AlertGroup { name: "loopscope-loops", alerts: loops::alerts(pace) },
        AlertGroup { name: "loopscope-lag-budget", alerts: budget::alerts() },
        AlertGroup { name: "loopscope-pools", alerts: pools::alerts() },
        AlertGroup { name: "loopscope-agent", alerts: agent::alerts(pace) },
    ]
}
