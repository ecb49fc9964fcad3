//! What the doctor says, in text and in JSON.

use super::watch::Seen;
use crate::pages::Process;
use crate::paint::Paint;
use loopscope_probe::description::Fact;
use loopscope_probe::raw::printable::printable;
use loopscope_report::diagnose::{Finding, LoopEvidence, RULES, Urgency};
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Incident;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Where the text of a finding begins.
const INDENT: usize = 4;

/// Characters of a text that are shown: longer than any sentence that people read.
const TEXT_MAX: usize = 2_000;

/// Returns a text as people are shown it: in one line, not endless, and without what a terminal acts on. Incidents in it are
/// an agent's, and may hold anything; in JSON they stay as they are.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}...", printable(&text[..end]))),
        None => printable(text),
    }
}

/// Writes everything for people.
pub fn text(paint: Paint, process: &Process, seen: &Seen, findings: &[Finding], now_unix_ns: u64) -> String {
    let mut text = headline(paint, process, seen, findings) + "\n";
    for (number, finding) in findings.iter().enumerate() {
        text += &told(paint, number + 1, finding, process.owner.pid);
        text.push('\n');
    }
    text += &figures(&seen.evidence);
    let rest = seen.earlier.first().map(|newest| earlier(newest, seen.earlier.len(), now_unix_ns, process));
    for note in rest.iter().chain(&seen.notes) {
        text += &paint.paragraph("Note: ", 6, &shown(note), str::to_owned);
    }
    text
}

/// Tells whether somebody has to act.
pub fn is_wrong(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.urgency < Urgency::Notice)
}

fn headline(paint: Paint, process: &Process, seen: &Seen, findings: &[Finding]) -> String {
    let who = format!("{}, pid {}", shown(process.name()), process.owner.pid);
    let lasted = show_ns(seen.lasted.as_nanos() as u64);
    let watched = match (seen.has_ended, seen.was_interrupted) {
        (true, _) => format!("watched for {lasted}, until the process exited"),
        (_, true) => format!("watched for {lasted}, until interrupted"),
        _ => format!("watched for {lasted}"),
    };
    let of = |urgency| findings.iter().filter(|finding| finding.urgency == urgency).count();
    let counts = [
        (of(Urgency::Critical), "critical"),
        (of(Urgency::Warning), "warning"),
        (of(Urgency::Notice), "notice"),
    ];
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| match name {
            "critical" => format!("{count} critical"),
            name => format!("{count} {name}{}", if count == 1 { "" } else { "s" }),
        })
        .collect();
    let verdict = match is_wrong(findings) {
        true => paint.bold(&told.join(", ")),
        false if told.is_empty() => paint.green("nothing wrong"),
        false => format!("{} ({})", paint.green("nothing wrong"), told.join(", ")),
    };
    format!("{who}: {verdict}\n{}\n", paint.faint(&watched))
}

fn told(paint: Paint, number: usize, finding: &Finding, pid: u32) -> String {
    let urgency = finding.urgency.name().to_uppercase();
    let painted = match finding.urgency {
        Urgency::Critical => paint.red(&urgency),
        Urgency::Warning => paint.yellow(&urgency),
        Urgency::Notice => paint.bold(&urgency),
    };
    let lead = format!("{number:>2}. {painted} ");
    // The headline hangs below its own first line, not below the urgency.
    let mut text = String::new();
    let indent = INDENT + urgency.len() + 1;
    let headline = paint.paragraph(&lead, indent, &shown(&finding.headline), |line| paint.bold(line));
    text += &headline;
    for line in &finding.evidence {
        text += &paint.paragraph("    - ", INDENT + 2, &shown(line), str::to_owned);
    }
    let lead = format!("    {} ", paint.green("fix:"));
    text += &paint.paragraph(&lead, INDENT + 5, &shown(&finding.remedy), str::to_owned);
    let sure = format!("{} {}", paint.faint("confidence:"), finding.certainty.name());
    let see = finding
        .incidents
        .first()
        .map(|id| format!("   {} loopscope incidents {pid} {}", paint.faint("see:"), shown(id)));
    text + &format!("    {sure}{}\n", see.unwrap_or_default())
}

/// A table of what was looked at: the figures that show that nothing is wrong, or how the rest is. What nobody knows
/// is `-`; a column that says nothing of any loop is left out.
fn figures(loops: &[LoopEvidence]) -> String {
    let mut rows = vec![[
        "LOOP".to_owned(),
        "BUSY".to_owned(),
        "LAG p50".to_owned(),
        "LAG p99".to_owned(),
        "STALLS".to_owned(),
        callbacks_heading(loops),
        "POOL WAIT p95".to_owned(),
    ]];
    let unknown = || "-".to_owned();
    for evidence in loops {
        let lag = |q| {
            let known = evidence.lag.quantile_ns(q).filter(|_| evidence.knows(Fact::Lag));
            known.map_or_else(unknown, |ns| if ns < 1_000 { "0".to_owned() } else { show_ns(ns) })
        };
        let seconds = evidence.watched_ns.max(1) as f64 / 1e9;
        let busy = match (evidence.knows(Fact::Time), evidence.is_idle()) {
            (false, _) => unknown(),
            (_, true) => "idle".to_owned(),
            _ => format!("{:.1}%", evidence.utilization() * 100.0),
        };
        let callbacks = match evidence.knows(Fact::Callbacks) {
            true => format!("{:.0}/s", evidence.callbacks as f64 / seconds),
            false => unknown(),
        };
        rows.push([
            shown(&evidence.name).into_owned(),
            busy,
            lag(0.5),
            lag(0.99),
            evidence.stalls().to_string(),
            callbacks,
            evidence.pool_wait_ns_p95().map_or_else(unknown, show_ns),
        ]);
    }
    let facts = [
        None,
        Some(Fact::Time),
        Some(Fact::Lag),
        Some(Fact::Lag),
        None,
        Some(Fact::Callbacks),
        Some(Fact::PoolWait),
    ];
    let is_known =
        |column: usize| facts[column].is_none_or(|fact| loops.iter().any(|evidence| evidence.knows(fact)));
    let columns: Vec<usize> = (0..facts.len()).filter(|column| is_known(*column)).collect();
    table(&rows, &columns)
}

/// Writes columns of rows: the first on its left edge, the others on their right one.
fn table(rows: &[[String; 7]], columns: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let cell = |row: &[String; 7], column: usize| {
        let (cell, width) = (&row[column], widths[column]);
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|column| cell(row, *column)).collect();
        text += &format!("{}\n", cells.join("  ").trim_end());
    }
    text
}

/// Returns what the loops call a callback, where all of them call it so.
fn callbacks_heading(loops: &[LoopEvidence]) -> String {
    let mut nouns = loops.iter().map(|evidence| evidence.runtime.callback().many);
    let first = nouns.next().unwrap_or_default();
    if nouns.all(|noun| noun == first) { first.to_uppercase() } else { "RUNS".to_owned() }
}

fn earlier(newest: &Incident, count: usize, now_unix_ns: u64, process: &Process) -> String {
    let ago = show_ns(now_unix_ns.saturating_sub(newest.begin_unix_ns));
    let incidents = if count == 1 { "1 incident".to_owned() } else { format!("{count} incidents") };
    format!(
        "{incidents} before that, the last one {ago} ago: {} {}, {}; see: loopscope incidents {}",
        newest.words.lane, newest.r#loop, newest.summary, process.owner.pid
    )
}

/// Writes everything for programs.
pub fn as_json(process: &Process, seen: &Seen, findings: &[Finding]) -> Value {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let lag = |evidence: &LoopEvidence, q| {
        evidence.lag.quantile_ns(q).filter(|_| evidence.knows(Fact::Lag)).map(seconds)
    };
    let loops = seen.evidence.iter().map(|evidence| {
        json!({
            "name": evidence.name,
            "watched_seconds": seconds(evidence.watched_ns),
            "utilization_ratio": evidence.knows(Fact::Time).then(|| evidence.utilization()),
            "lag_seconds_p50": lag(evidence, 0.5),
            "lag_seconds_p99": lag(evidence, 0.99),
            "stalls": evidence.stalls(),
            "callbacks": evidence.knows(Fact::Callbacks).then_some(evidence.callbacks),
            "pool_wait_seconds_p95": evidence.pool_wait_ns_p95().map(seconds),
        })
    });
    json!({
        "pid": process.owner.pid,
        "name": process.name(),
        "watched_seconds": seen.lasted.as_secs_f64(),
        "has_ended": seen.has_ended,
        "is_wrong": is_wrong(findings),
        "findings": findings,
        "loops": loops.collect::<Vec<_>>(),
        "rules": RULES.iter().map(|rule| json!({ "name": rule.name, "looks_at": rule.looks_at })).collect::<Vec<_>>(),
        "earlier_incidents": seen.earlier.iter().map(|incident| incident.id.to_string()).collect::<Vec<_>>(),
        "notes": seen.notes,
    })
}
