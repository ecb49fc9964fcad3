//! Writes rules in Prometheus' YAML.
//!
//! Only what rules need: groups, rules, quoted strings and expressions in block form. A string in JSON's quotes is also
//! one in YAML's.

use crate::alerts::{Alert, AlertGroup, template};
use crate::durations::Durations;
use crate::recorded::RecordingGroup;

const HEADER: &str =
    "# Written by `cargo run -p loopscope-dashboards -- --write`: change the program, not this file.\n";
const WIDTH: usize = 112;

/// Returns the file of recording rules.
pub fn recording(groups: &[RecordingGroup]) -> String {
    let mut out = String::from(HEADER);
    out.push_str("groups:\n");
    for group in groups {
        out.push_str(&format!("  - name: {}\n    interval: {}\n    rules:\n", group.name, group.interval));
        for rule in &group.rules {
            out.push_str(&format!("      - record: {}\n", rule.name));
            push_expression(&mut out, &rule.expr);
        }
    }
    out
}

/// Returns the file of alerts; `runbooks` is the address, or the path, that runbooks are at.
pub fn alerts(groups: &[AlertGroup], pace: Durations, runbooks: &str) -> String {
    let mut out = String::from(HEADER);
    out.push_str("# Load rules.yml too: most alerts read what it records.\ngroups:\n");
    for group in groups {
        let interval = match pace {
            Durations::Production => String::new(),
            Durations::Hurried => "    interval: 1s\n".to_owned(),
        };
        out.push_str(&format!("  - name: {}\n{interval}    rules:\n", group.name));
        for (index, alert) in group.alerts.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            push_alert(&mut out, alert, pace, runbooks);
        }
    }
    out
}

fn push_alert(out: &mut String, alert: &Alert, pace: Durations, runbooks: &str) {
    push_comment(out, alert.why);
    out.push_str(&format!("      - alert: {}\n", alert.name));
    push_expression(out, &alert.expr);
    if let Some(hold) = alert.hold {
        out.push_str(&format!("        for: {}\n", pace.hold(hold)));
    }
    out.push_str(&format!("        labels:\n          severity: {}\n", alert.severity.name()));
    out.push_str("        annotations:\n");
    let annotations = [
        ("summary", template(alert.summary)),
        ("description", template(alert.description)),
        ("runbook_url", runbook_url(runbooks, alert.name)),
    ];
    for (name, text) in annotations {
        out.push_str(&format!("          {name}: {}\n", quoted(&text)));
    }
}

/// Returns where the runbook of an alert is.
pub fn runbook_url(runbooks: &str, alert: &str) -> String {
    format!("{}/{alert}.md", runbooks.trim_end_matches('/'))
}

fn push_expression(out: &mut String, expr: &str) {
    out.push_str("        expr: |-\n");
    for line in expr.lines() {
        out.push_str(&format!("          {line}\n"));
    }
}

fn push_comment(out: &mut String, text: &str) {
    let indent = "      #";
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            indent.clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

/// Returns a string of YAML.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_so_that_nothing_in_them_means_anything() {
        assert_eq!(quoted("a \"b\" \\ c\nd: #"), "\"a \\\"b\\\" \\\\ c\\nd: #\"");
    }

    #[test]
    fn comments_are_broken_between_words() {
        let mut out = String::new();
        push_comment(&mut out, &"word ".repeat(40));
        assert!(out.lines().count() == 2 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
    }
}
