//! A row's outcome as Markdown: a table of the peers and a line for each goal.

use crate::contest::Outcome;
use crate::peer::Peer;
use crate::rows::{Goal, Row, Work};
use crate::verdict::{Estimate, judge};
use std::fmt::Write;

/// Returns the report of one row.
pub fn report(row: &Row, outcome: &Outcome, load: &str) -> String {
    let (unit, rounds) = (row.work.unit(), outcome.of(Peer::Ours).map_or(0, <[f64]>::len));
    let mut text = format!("### {} (`{}`)\n\n{rounds} rounds, load {load}\n\n", row.title, row.name);
    text += &format!("| | {unit} an operation | lowest | loopscope / it |\n|---|---|---|---|\n");
    for (peer, values) in &outcome.values {
        let own = Estimate::of(values.clone());
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio = match peer {
            Peer::Ours => String::new(),
            _ => outcome.ratios(Peer::Ours, *peer).map(Estimate::of).map_or(String::new(), ratio_text),
        };
        let (low, high) = own.quartiles;
        let (median, low, high, lowest) = (figure(own.median), figure(low), figure(high), figure(lowest));
        let line = format!("| {} | {median} [{low}, {high}] | {lowest} | {ratio} |\n", peer.name());
        text += &line;
    }
    for (peer, reason) in &outcome.skipped {
        text += &format!("| {} | skipped: {reason} | | |\n", peer.name());
    }
    text.push('\n');
    for goal in row.goals {
        text += &verdict_line(row, goal, outcome);
    }
    text
}

/// A ratio's median, and in brackets where the true median lies with 95 % confidence.
fn ratio_text(ratio: Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", ratio.median, ratio.bounds.0, ratio.bounds.1)
}

fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn verdict_line(row: &Row, goal: &Goal, outcome: &Outcome) -> String {
    let at_most = goal.at_most;
    let wanted = match goal.against {
        Some(against) => format!("{}: at most {at_most} of {}", goal.of.name(), against.name()),
        None => format!("{}: at most {at_most} {}", goal.of.name(), row.work.unit()),
    };
    let values = match goal.against {
        Some(against) => outcome.ratios(goal.of, against),
        None => outcome.of(goal.of).map(<[f64]>::to_vec),
    };
    let control = outcome.ratios(Peer::OursAgain, Peer::Ours);
    let mut line = format!("- {wanted}: ");
    match values.zip(control) {
        None => line += "not measured\n",
        Some((values, control)) => {
            let (estimate, control) = (Estimate::of(values), Estimate::of(control));
            let told = match goal.against {
                Some(_) => ratio_text(estimate),
                None => figure(estimate.median),
            };
            writeln!(line, "{told}, {}", judge(estimate, at_most, control))
                .expect("a string takes everything");
        }
    }
    line
}

/// Says what a value of a row is.
pub fn method(row: &Row) -> &'static str {
    match row.work {
        Work::Cpu(_) => "processor time of the whole process, by operation",
        Work::Wall(_) => "time by operation",
        Work::Serve { .. } => "processor time of the server's process, by request",
        Work::TimerMemory(_) | Work::ConnectionMemory(_) => "growth of the resident memory",
    }
}
