//! Incidents as a list, a line each.

use super::source::{Found, IncidentSet, Origin, class_word};
use super::utc_time::brief;
use crate::paint::Paint;
use loopscope_probe::raw::printable::shell_word;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::{Culprit, Incident, IncidentKind, Severity};
use loopscope_report::short_names::{keeping_place, one_line};
use loopscope_report::words::{capitalized, without_directories};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Writes the newest `most` incidents.
pub fn text(paint: Paint, catch: &IncidentSet, most: usize, now_unix_ns: u64) -> String {
    let shown = &catch.found[..catch.found.len().min(most)];
    let mut text =
        if shown.is_empty() { "No incidents.\n".to_owned() } else { table(paint, shown, now_unix_ns) };
    if shown.len() < catch.found.len() {
        let (shown, all) = (shown.len(), catch.found.len());
        text += &format!("The newest {shown} of {all}; use --last {all} for all.\n");
    }
    let ended: BTreeSet<u32> = catch.quiet.iter().map(|found| found.incident.pid).collect();
    if catch.hides_quiet && !ended.is_empty() {
        let processes = if ended.len() == 1 { "process" } else { "processes" };
        text += &format!("{} {processes} exited without an incident; use --all to list them.\n", ended.len());
    }
    for found in catch.quiet.iter().filter(|_| !catch.hides_quiet) {
        text += &paint.paragraph("", 0, &quiet(&found.incident), |line| paint.faint(line));
    }
    for note in &catch.notes {
        text += &paint.paragraph("Note: ", 6, note, str::to_owned);
    }
    if let Some(found) = shown.first() {
        text += &paint.faint(&format!("Details: {}", command(found)));
        text.push('\n');
    }
    text
}

/// Returns the command that tells an incident in full.
fn command(found: &Found) -> String {
    let id = found.incident.id;
    match &found.origin {
        Origin::Agent(endpoint) if endpoint.is_given() => {
            format!("loopscope incidents {} {id}", shell_word(endpoint.url()))
        }
        Origin::File(path) => {
            let directory = path.parent().unwrap_or(Path::new(".")).to_string_lossy();
            format!("loopscope incidents --dir {} {id}", shell_word(&directory))
        }
        _ => format!("loopscope incidents {id}"),
    }
}

/// Says what an ended process was doing that was no incident.
fn quiet(incident: &Incident) -> String {
    let Incident { id, pid, duration_ns, words, .. } = incident;
    let r#loop = incident.loop_words();
    let callbacks = &words.callbacks;
    let did = match duration_ns {
        0 => "was idle".to_owned(),
        ns => format!("had been busy for {}", show_ns(*ns)),
    };
    format!(
        "{} {loop} of {pid} {did} when the process exited; its last {callbacks}: loopscope incidents {id}",
        capitalized(&words.lane)
    )
}

/// Letters of what it was that a row has at least, where columns that say less can be left out for them.
const WHAT_MIN: usize = 36;

/// Columns that are left out where there is little room: the time of day beside how long ago that was, then the class.
#[derive(Clone, Copy)]
struct Columns {
    has_time: bool,
    has_class: bool,
}

const LAYOUTS: [Columns; 3] = [
    Columns { has_time: true, has_class: true },
    Columns { has_time: false, has_class: true },
    Columns { has_time: false, has_class: false },
];

impl Columns {
    fn head(self) -> Vec<String> {
        let when = if self.has_time { "WHEN (UTC)" } else { "WHEN" };
        let names = ["ID", when, "LOOP", "LASTED"].into_iter().chain(self.has_class.then_some("CLASS"));
        names.map(str::to_owned).collect()
    }

    fn row(self, Found { incident, origin }: &Found, now_unix_ns: u64) -> Vec<String> {
        let ago = ago(now_unix_ns.saturating_sub(incident.begin_unix_ns));
        let when = match (incident.is_over, origin) {
            (false, Origin::Agent(_) | Origin::Page) => "now".to_owned(),
            _ if self.has_time => format!("{}, {ago}", brief(incident.begin_unix_ns, now_unix_ns)),
            _ => ago,
        };
        let mut row = vec![incident.id.to_string(), when, incident.loop_words(), lasted(incident, origin)];
        row.extend(self.has_class.then(|| class_word(incident).to_owned()));
        row
    }
}

fn table(paint: Paint, shown: &[Found], now_unix_ns: u64) -> String {
    let rows_of = |columns: Columns| -> Vec<Vec<String>> {
        let rows = shown.iter().map(|found| columns.row(found, now_unix_ns));
        std::iter::once(columns.head()).chain(rows).collect()
    };
    let widths_of = |rows: &[Vec<String>]| -> Vec<usize> {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (0..rows[0].len()).map(width).collect()
    };
    let room =
        |widths: &[usize]| paint.columns.saturating_sub(widths.iter().sum::<usize>() + 2 * widths.len());
    let fits = |columns: &Columns| room(&widths_of(&rows_of(*columns))) >= WHAT_MIN;
    let rows = rows_of(LAYOUTS.into_iter().find(fits).unwrap_or(LAYOUTS[LAYOUTS.len() - 1]));
    let widths = widths_of(&rows);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        let Some(found) = number.checked_sub(1).map(|at| &shown[at]) else {
            text += &format!("{line}WHAT\n");
            continue;
        };
        let what = what_within(&found.incident, room(&widths).max(8));
        text += &match found.incident.severity {
            Severity::Critical => format!("{}{what}\n", paint.red(&line)),
            _ => format!("{line}{what}\n"),
        };
    }
    text
}

/// Returns a sentence that names process, loop and site:
/// `web (demo 4711), 302 ms: timer flush (x.rs:40): 1 callback of 302 ms`.
pub fn headline(incident: &Incident) -> String {
    let Incident { process, pid, duration_ns, .. } = incident;
    format!("{} ({process} {pid}), {}: {}", incident.loop_words(), show_ns(*duration_ns), what(incident))
}

/// Sums up incidents by loop and site, the one that took most time first.
pub fn summary(all: &[Found]) -> Value {
    type Key<'a> = (u32, String, &'a str, &'a str, &'static str);
    // Their number, sum, longest, and the newest.
    type Sum<'a> = (u64, u64, u64, &'a Incident);
    let mut groups: BTreeMap<Key<'_>, Sum<'_>> = BTreeMap::new();
    for Found { incident, .. } in all {
        let culprit = &incident.culprit;
        let key =
            (incident.pid, incident.loop_words(), &*culprit.kind, &*culprit.label, class_word(incident));
        let group = groups.entry(key).or_insert((0, 0, 0, incident));
        group.0 += 1;
        group.1 = group.1.saturating_add(incident.duration_ns);
        group.2 = group.2.max(incident.duration_ns);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (_, total_ns, ..))| std::cmp::Reverse(*total_ns));
    let row = |((pid, name, kind, site, class), (count, total_ns, longest_ns, newest)): (
        Key<'_>,
        Sum<'_>,
    )| {
        json!({
            "process": newest.process, "pid": pid, "loop": name, "kind": kind, "site": site, "class": class,
            "count": count, "total_ns": total_ns, "longest_ns": longest_ns,
            "last_id": newest.id.to_string(), "last_unix_ns": newest.begin_unix_ns,
        })
    };
    groups.into_iter().map(row).collect()
}

/// Tells how long it lasted, and marks what is not over.
pub fn lasted(incident: &Incident, origin: &Origin) -> String {
    let duration = show_ns(incident.duration_ns);
    match (incident.is_over, origin) {
        (true, _) => duration,
        (false, Origin::Agent(_) | Origin::Page) => format!("{duration}, open"),
        (false, _) => format!("{duration}+, killed"),
    }
}

/// Tells in one line what it was; files without their directories.
pub fn what(incident: &Incident) -> String {
    let Incident { summary, culprit, .. } = incident;
    let place = place(culprit);
    match (summary.as_str(), place.as_str()) {
        ("", "" | "?") => culprit.kind.clone(),
        ("", place) => format!("{} {place}", culprit.kind),
        // Many of no known place are told by their kind; of one, that is said here.
        (summary, "?") if incident.kind == IncidentKind::Stall && culprit.kind != "main" => {
            format!("{}: {summary}", culprit.kind)
        }
        (summary, "" | "?") => summary.to_owned(),
        // A summary of many names them itself.
        (summary, _) if !culprit.label.is_empty() && summary.contains(&culprit.label) => {
            without_directories(summary)
        }
        (summary, place) => format!("{} {place}: {summary}", culprit.kind),
    }
}

/// Tells it in at most `room` letters: where there is no room for all of it, who is to blame comes first, and where that is
/// in the source stays.
pub fn what_within(incident: &Incident, room: usize) -> String {
    let whole = one_line(&what(incident));
    let place = place(&incident.culprit);
    if whole.chars().count() <= room || matches!(place.as_str(), "" | "?") {
        return keeping_place(&whole, room);
    }
    let blame = one_line(&format!("{} {place}", incident.culprit.kind));
    match blame.chars().count() {
        // The rest is seen to be cut off.
        letters if letters < room && whole.starts_with(&blame) => keeping_place(&(whole + " "), room),
        letters if letters <= room => blame,
        // What kind of callback it was is worth less than its name.
        _ => keeping_place(&one_line(&place), room),
    }
}

/// Returns the name of a site and where it is, without directories: `flush (x.rs:40)`.
fn place(culprit: &Culprit) -> String {
    let place = match (culprit.name.is_empty(), culprit.file.is_empty()) {
        (true, true) => culprit.label.clone(),
        (true, false) => format!("{}:{}", culprit.file, culprit.line),
        (false, true) => culprit.name.clone(),
        (false, false) => format!("{} ({}:{})", culprit.name, culprit.file, culprit.line),
    };
    without_directories(&place)
}

/// Says how long ago a moment was.
pub fn ago(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..100 => format!("{seconds} s ago"),
        100..6_000 => format!("{} m ago", seconds / 60),
        6_000..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::incident::Class;

    fn found(number: u64, is_over: bool, severity: Severity, origin: Origin) -> Found {
        let culprit = Culprit {
            kind: "timer".into(),
            label: "parse_invoices (agent/cli/src/demo/trouble.rs:42)".into(),
            name: "parse_invoices".into(),
            file: "agent/cli/src/demo/trouble.rs".into(),
            line: 42,
            column: 5,
        };
        let incident = Incident {
            id: format!("4711-{number}").parse().unwrap(),
            r#loop: "web".into(),
            begin_unix_ns: 100_000_000_000,
            duration_ns: 302_000_000,
            class: Class::StarvedOfCpu,
            summary: "1 callback of 302 ms".into(),
            is_over,
            severity,
            culprit,
            ..Incident::default()
        };
        Found { incident, origin }
    }

    #[test]
    fn a_list_fits_eighty_columns_and_marks_what_is_open() {
        let url = || Origin::Agent(crate::endpoint::Endpoint::given("http://127.0.0.1:1"));
        let catch = IncidentSet {
            found: vec![
                found(12, false, Severity::Critical, url()),
                found(11, true, Severity::Warning, url()),
                found(10, false, Severity::Warning, Origin::PageOfTheDead),
                found(9, true, Severity::Warning, url()),
            ],
            ..IncidentSet::default()
        };
        let written = text(Paint::plain(80), &catch, 3, 130_000_000_000);
        let lines: Vec<&str> = written.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{written}");
        assert!(lines[0].starts_with("ID") && lines[1].starts_with("4711-12  now"), "{written}");
        assert!(
            lines[1].contains("302 ms, open") && lines[2].starts_with("4711-11  30 s ago  web"),
            "{written}"
        );
        assert!(lines[3].contains("302 ms+, killed"), "{written}");
        // When, how long and who are worth more than the time of day and the class.
        assert!(
            lines[1..4].iter().all(|line| line.contains("timer parse_invoices (trouble.rs:42)")),
            "{written}"
        );
        assert_eq!(lines[4], "The newest 3 of 4; use --last 4 for all.");
        let less_narrow = text(Paint::plain(90), &catch, 3, 130_000_000_000);
        assert!(
            less_narrow.contains(" 30 s ago  web   302 ms           starved  timer parse_inv"),
            "{less_narrow}"
        );
        let wide = text(Paint::plain(140), &catch, 3, 130_000_000_000);
        assert!(wide.contains("00:01:40, 30 s ago  web   302 ms           starved  "), "{wide}");
        assert!(wide.contains("timer parse_invoices (trouble.rs:42): 1 callback of 302 ms\n"), "{wide}");
    }

    #[test]
    fn of_one_and_of_many_the_file_is_named_without_its_directories() {
        let one = found(1, true, Severity::Warning, Origin::Page).incident;
        let many = Incident {
            summary: format!("9 callbacks of 33 ms: 9 x timer {}", one.culprit.label),
            ..one.clone()
        };
        assert_eq!(what(&one), "timer parse_invoices (trouble.rs:42): 1 callback of 302 ms");
        assert_eq!(what(&many), "9 callbacks of 33 ms: 9 x timer parse_invoices (trouble.rs:42)");
    }

    /// Which line it was is what one looks for.
    #[test]
    fn a_row_keeps_the_place_of_the_culprit() {
        let one = found(1, true, Severity::Warning, Origin::Page).incident;
        let many = Incident {
            summary: format!("9 callbacks of 33 ms: 9 x timer {}", one.culprit.label),
            ..one.clone()
        };
        assert_eq!(what_within(&many, 80), "9 callbacks of 33 ms: 9 x timer parse_invoices (trouble.rs:42)");
        for (room, expected) in [
            (45, "timer parse_invoices (trouble.rs:42): 1 call…"),
            (36, "timer parse_invoices (trouble.rs:42)"),
            (30, "parse_invoices (trouble.rs:42)"),
            (29, "parse_…voices (trouble.rs:42)"),
        ] {
            assert_eq!(what_within(&one, room), expected);
        }
        assert_eq!(what_within(&many, 45), "timer parse_invoices (trouble.rs:42)");
    }

    #[test]
    fn a_summary_names_loop_and_site_and_a_headline_all_of_it() {
        let all: Vec<Found> =
            (1..4).map(|number| found(number, true, Severity::Warning, Origin::Page)).collect();
        let summary = summary(&all);
        let site = "parse_invoices (agent/cli/src/demo/trouble.rs:42)";
        assert_eq!((&summary[0]["loop"], &summary[0]["site"]), (&json!("web"), &json!(site)), "{summary}");
        assert_eq!((&summary[0]["count"], &summary[0]["total_ns"]), (&json!(3), &json!(906_000_000)));
        let line = headline(&all[0].incident);
        assert!(
            line.starts_with("web (") && line.contains("302 ms: timer parse_invoices (trouble.rs:42)"),
            "{line}"
        );
    }

    #[test]
    fn what_ended_without_an_incident_is_a_count_unless_it_is_wanted() {
        let quiet = vec![found(1, true, Severity::Warning, Origin::PageOfTheDead)];
        let mut catch = IncidentSet { quiet, hides_quiet: true, ..IncidentSet::default() };
        catch.quiet[0].incident.pid = 7;
        let counted = text(Paint::plain(80), &catch, 20, 0);
        assert_eq!(counted, "No incidents.\n1 process exited without an incident; use --all to list them.\n");
        catch.hides_quiet = false;
        assert!(text(Paint::plain(80), &catch, 20, 0).contains("when the process exited"));
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        assert_eq!(text(Paint::plain(80), &IncidentSet::default(), 20, 0), "No incidents.\n");
        assert_eq!(ago(7_300_000_000_000), "2 h ago");
    }
}
