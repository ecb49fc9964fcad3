//! One incident in full: what it was, where its time went, the stacks, and what ran before.

use super::list::{ago, lasted};
use super::source::{Found, Origin};
use super::utc_time::utc;
use crate::paint::Paint;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::{
    Class, Frame, Incident, IncidentKind, LoopFigures, Record, Severity, StackCount, StackLine,
};
use loopscope_report::short_names::{one_line, short_names};
use loopscope_report::words::thousands;

/// At most so many lines of a stack are shown in text, where not all frames are asked for.
const FRAMES_SHOWN: usize = 24;
/// At most so many callbacks, the last ones.
const RECORDS_SHOWN: usize = 20;
const GROUPS_SHOWN: usize = 8;

/// The column where facts begin.
const FACTS: usize = 12;

/// How much of a stack is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// What runs, with frames of libraries folded.
    Folded,
    /// All.
    All,
}

/// Writes one incident.
pub fn text(paint: Paint, found: &Found, frames: Frames, now_unix_ns: u64) -> String {
    let incident = &found.incident;
    let sections = [
        headline(paint, found),
        facts(paint, found, now_unix_ns),
        stacks(paint, incident, frames),
        groups(paint, incident),
        records(paint, incident),
        jobs(paint, incident),
        figures(paint, incident),
        notes(paint, incident),
    ];
    let written: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    written.join("\n")
}

fn headline(paint: Paint, found: &Found) -> String {
    let incident = &found.incident;
    let severity = match incident.severity {
        Severity::Critical => paint.red("CRITICAL"),
        _ => paint.yellow("WARNING"),
    };
    let (lane, parked) = (&incident.words.lane, &incident.words.parked);
    let did = match (incident.duration_ns, incident.kind.name()) {
        (0, _) => "was idle when the process exited".to_owned(),
        (ns, "pool") if incident.is_over => format!("was saturated for {}", show_ns(ns)),
        (ns, "pool") if matches!(found.origin, Origin::Agent(_) | Origin::Page) => {
            format!("has been saturated for {} so far", show_ns(ns))
        }
        (ns, "pool") => format!("had been saturated for {} when the process exited", show_ns(ns)),
        (ns, _) if incident.is_over => format!("had not {parked} for {}", show_ns(ns)),
        (ns, _) if matches!(found.origin, Origin::PageOfTheDead | Origin::Kept) => {
            format!("had not {parked} for {} when the process exited", show_ns(ns))
        }
        (ns, _) => format!("has not {parked} for {} so far", show_ns(ns)),
    };
    let who = format!("{} (pid {})", incident.process, incident.pid);
    let text = match incident.kind {
        IncidentKind::Pool => format!("{}: pool of {} of {who} {did}", incident.id, pool_owner(incident)),
        _ => format!("{}: {lane} {} of {who} {did}", incident.id, incident.loop_words()),
    };
    let lead = if incident.duration_ns == 0 { String::new() } else { format!("{severity} ") };
    let columns = if incident.duration_ns == 0 { 0 } else { incident.severity.name().len() + 1 };
    let mut written = paint.paragraph(&lead, columns, &text, |line| paint.bold(line));
    if incident.duration_ns > 0 {
        written += &paint.paragraph("", 0, &blame(incident), |line| paint.bold(line));
    }
    written
}

/// Returns whose a pool is: the runtime's, whichever of its workers tells of it.
fn pool_owner(incident: &Incident) -> String {
    match incident.group.as_str() {
        "" => format!("{} {}", incident.words.lane, incident.r#loop),
        group => group.to_owned(),
    }
}

/// Says who is to blame, and with what.
fn blame(incident: &Incident) -> String {
    let culprit = &incident.culprit;
    let who = match culprit.label.as_str() {
        // Nobody knows whose jobs fill it.
        "" | "?" if incident.kind == IncidentKind::Pool => return incident.summary.clone(),
        // Of these no place is known: the summary tells the kind.
        "" | "?" if incident.kind == IncidentKind::Starvation => return incident.summary.clone(),
        "?" if culprit.kind != "main" => format!("{} at an unknown place", culprit.kind),
        "" | "?" => incident.words.between.clone(),
        label => format!("{} {label}", culprit.kind),
    };
    let is_named = incident.summary.contains(&culprit.label) && !culprit.label.is_empty();
    if is_named || incident.summary.starts_with(&who) {
        return incident.summary.clone();
    }
    format!("{who}: {}", incident.summary)
}

fn facts(paint: Paint, found: &Found, now_unix_ns: u64) -> String {
    let incident = &found.incident;
    let mut facts: Vec<(&str, String)> = Vec::new();
    let begin_ago = ago(now_unix_ns.saturating_sub(incident.begin_unix_ns));
    facts.push(("when", format!("{}, {begin_ago}", utc(incident.begin_unix_ns))));
    if incident.duration_ns > 0 {
        let expected = match incident.expected_ns {
            0 => String::new(),
            // Of so little nobody has to know: attaching to Node announces what it does itself.
            ns if ns < incident.duration_ns / 100 => String::new(),
            ns => format!(", {} of it announced", show_ns(ns)),
        };
        let threshold = show_ns(incident.threshold_ns);
        facts.push((
            "lasted",
            format!("{} (threshold {threshold}){expected}", lasted(incident, &found.origin)),
        ));
        if incident.kind != IncidentKind::Pool {
            facts.push(("class", class(incident)));
        }
    }
    if !incident.phase.is_empty() {
        facts.push(("phase", incident.phase.clone()));
    }
    for (number, span) in incident.spans.iter().enumerate() {
        let name = if number == 0 { "inside" } else { "" };
        let fields = if span.fields.is_empty() { String::new() } else { format!(" {}", span.fields) };
        let place =
            if span.file.is_empty() { String::new() } else { format!(" ({}:{})", span.file, span.line) };
        facts.push((name, format!("{}{}{fields}{place}", "  ".repeat(number), span.name)));
    }
    if let Some(call) = &incident.waiting_in {
        facts.push(("asleep in", call.clone()));
    }
    if let Some(pool) = &incident.pool {
        facts.push(("pool", pool.words()));
    }
    let line = |(name, fact): (&str, String)| {
        paint.paragraph(&paint.faint(&format!("  {name:<10}")), FACTS, &fact, str::to_owned)
    };
    facts.into_iter().map(line).collect()
}

/// Says what the time went to, and how that is known.
fn class(incident: &Incident) -> String {
    let what = match incident.class {
        Class::Computing => "computing",
        Class::Waiting => "waiting: asleep in the kernel",
        Class::StarvedOfCpu if incident.is_throttled() => {
            "starved of CPU: throttled by the CPU quota of its cgroup (cpu.stat); not caused by the code"
        }
        Class::StarvedOfCpu => "starved of CPU: runnable, but not scheduled; not caused by the code",
        Class::Stopped => {
            "stopped: by SIGSTOP, the cgroup freezer, the hypervisor or a detached debugger; not caused by the code"
        }
        Class::Suspended => "suspended: the machine was asleep; not caused by the code",
        Class::Debugger => "debugger: stopped by a debugger; not caused by the code",
        _ => "unknown",
    };
    if incident.watched_ns == 0 {
        return what.to_owned();
    }
    let open_ns = incident.unaccounted_ns();
    let has_open = match incident.class {
        Class::Unknown => true,
        // A wait for a processor is in the account only when it is over.
        Class::StarvedOfCpu => open_ns > incident.watched_ns / 10,
        _ => false,
    };
    let open = if has_open { format!(", {} not accounted for", show_ns(open_ns)) } else { String::new() };
    format!(
        "{what} (of {} observed: {} running, {} runnable but not scheduled{open})",
        show_ns(incident.watched_ns),
        show_ns(incident.cpu_ns),
        show_ns(incident.runqueue_ns)
    )
}

fn stacks(paint: Paint, incident: &Incident, frames: Frames) -> String {
    let shown: Vec<&StackCount> = incident.stacks.iter().filter(|stack| !stack.frames.is_empty()).collect();
    let all = incident.stacks.iter().fold(0, |sum: u64, stack| sum.saturating_add(stack.count));
    let mut text = String::new();
    if !shown.is_empty() {
        text = title(paint, &format!("Stacks ({all} captured, leaf first)"));
    }
    for stack in shown {
        let ages: Vec<String> = stack.ages_ns.iter().map(|ns| show_ns(*ns)).collect();
        let at = if ages.is_empty() { String::new() } else { format!(" at {}", ages.join(", ")) };
        text += &paint.paragraph("  ", 4, &format!("{} x{at}", stack.count), |line| paint.faint(line));
        text += &match frames {
            Frames::Folded => folded_stack(paint, incident, stack),
            Frames::All => whole_stack(paint, stack),
        };
        if let Some(note) = &stack.note {
            text += &paint.paragraph("    note: ", 10, note, str::to_owned);
        }
    }
    let suppressed = match incident.captures_suppressed {
        0 => None,
        1 => Some("1 stack was not taken: the limit is two a second".to_owned()),
        count => Some(format!("{count} stacks were not taken: the limit is two a second")),
    };
    let elsewhere = incident.stacks_elsewhere();
    let elsewhere = elsewhere.map(|id| format!("stacks of the same culprit: loopscope incidents {id}"));
    for line in incident
        .captures_failed
        .iter()
        .map(|because| format!("no stack: {because}"))
        .chain(suppressed)
        .chain(elsewhere)
    {
        text += &paint.paragraph("  ", 2, &line, str::to_owned);
    }
    text
}

fn whole_stack(paint: Paint, stack: &StackCount) -> String {
    let lines = stack.frames.iter().enumerate();
    lines.map(|(number, frame)| frame_line(paint, frame, stack.guilty == Some(number))).collect()
}

fn folded_stack(paint: Paint, incident: &Incident, stack: &StackCount) -> String {
    let lines = stack.folded();
    let left_out = |text: &str| format!("    {}\n", paint.faint(&format!("... {text}")));
    let mut text = String::new();
    for line in lines.iter().take(FRAMES_SHOWN) {
        text += &match line {
            StackLine::Frame(frame, is_guilty) => frame_line(paint, frame, *is_guilty),
            line => left_out(&cut(&line.words(), paint.columns.saturating_sub(8))),
        };
    }
    let inner: usize = lines.iter().skip(FRAMES_SHOWN).map(StackLine::frames).sum();
    let outer = stack.frames.len() - stack.callback_frames().len();
    let words = &incident.words;
    let (inside, outside) =
        (format!("of the {}", words.callback), format!("of the {} and what started it", words.lane));
    for (count, what) in [(inner, inside), (outer, outside)] {
        if count > 0 {
            text += &left_out(&format!("{count} {what}; use --all-frames for all"));
        }
    }
    text
}

fn frame_line(paint: Paint, frame: &Frame, is_guilty: bool) -> String {
    let place = frame.place().map(|place| frame.place_words(&place));
    let place = place.or(frame.module.clone()).unwrap_or_default();
    let (mark, paint_line): (&str, fn(Paint, &str) -> String) = match (is_guilty, frame.owner.is_program()) {
        (true, _) => ("  > ", Paint::bold),
        (false, true) => ("    ", |_, text| text.to_owned()),
        (false, false) => ("    ", Paint::faint),
    };
    let room = paint.columns.saturating_sub(mark.len());
    let beside = format!("{}  {place}", frame.function);
    if beside.chars().count() <= room {
        return format!("{mark}{}\n", paint_line(paint, beside.trim_end()));
    }
    let function = cut(&short_names(&frame.function), room);
    // Of a path, the end tells more.
    let place = cut_front(&place, room.saturating_sub(4));
    format!("{mark}{}\n        {}\n", paint_line(paint, &function), paint.faint(&place))
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

fn cut_front(text: &str, room: usize) -> String {
    let excess = text.chars().count().saturating_sub(room);
    if excess == 0 {
        text.to_owned()
    } else {
        ['…'].into_iter().chain(text.chars().skip(excess + 1)).collect()
    }
}

/// Appends a site's name and place to a line of a table, shorter where the terminal is narrow.
fn with_site(paint: Paint, line: &str, site: &str) -> String {
    let whole = format!("{line}{site}");
    match whole.chars().count() <= paint.columns {
        true => whole,
        false => cut(&format!("{line}{}", one_line(site)), paint.columns),
    }
}

/// Tells whether a frame is likely the application's own: it has a source file, and not one of the language's or a
/// dependency's.
fn title(paint: Paint, text: &str) -> String {
    format!("{}\n", paint.bold(text))
}

fn groups(paint: Paint, incident: &Incident) -> String {
    // One callback has been told already.
    if incident.groups.len() <= 1
        && incident.groups.iter().all(|group| group.count.is_some_and(|count| count <= 1))
    {
        return String::new();
    }
    let mut text = title(paint, "What ran in it");
    text += &paint.faint(&format!("  {:>8} {:>9} {:>9}  WHAT\n", "COUNT", "TOTAL", "LONGEST"));
    for group in incident.groups.iter().take(GROUPS_SHOWN) {
        let (total, longest) = (show_ns(group.total_ns), known(group.longest_ns, show_ns));
        let count = known(group.count, |count| count.to_string());
        let after = group.parent.as_ref().map_or(String::new(), |parent| format!(", after {parent}"));
        let line = format!("  {count:>8} {total:>9} {longest:>9}  ");
        let what = kind_at(&group.kind, &group.label);
        text += &format!("{}\n", with_site(paint, &line, &format!("{what}{after}")));
    }
    text + &unobserved(paint, incident)
}

/// Says how many of what ran nobody saw, where there are some: the figures of the groups have a guess of them.
fn unobserved(paint: Paint, incident: &Incident) -> String {
    let words = &incident.words;
    let (one, many) = match incident.kind {
        IncidentKind::Pool => (&words.job, &words.jobs),
        _ => (&words.callback, &words.callbacks),
    };
    let number = incident.unobserved;
    let noun = if number == 1 { one } else { many };
    match number {
        0 => String::new(),
        _ => paint.paragraph(
            "  ",
            2,
            &format!(
                "{} {noun} not observed: COUNT and TOTAL are estimates from the others",
                thousands(number)
            ),
            |line| paint.faint(line),
        ),
    }
}

/// Names what ran: its kind and place, or its kind alone where no place is known.
fn kind_at(kind: &str, place: &str) -> String {
    match place {
        "" | "?" => kind.to_owned(),
        place => format!("{kind} {place}"),
    }
}

/// Writes what is known, and `-` for what is not.
fn known<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or("-".to_owned(), text)
}

/// Callbacks of one site that ran one right after another.
struct Run<'a> {
    first: &'a Record,
    /// How many; `None` where one of them stands for an unknown number.
    count: Option<u64>,
    run_ns: u64,
    is_running: bool,
}

/// Returns how many a record stands for.
fn count_of(record: &Record) -> Option<u64> {
    if record.is_many { record.many } else { Some(1) }
}

/// Puts neighbours of one site into one line each: a drain of a thousand microtasks is one thing that happened.
fn runs(records: &[Record]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for record in records {
        let what = |record: &Record| (record.kind.clone(), record.site.clone(), record.phase.clone());
        match runs.last_mut() {
            Some(run) if !record.is_running && what(run.first) == what(record) => {
                run.count = run.count.zip(count_of(record)).map(|(sum, count)| sum.saturating_add(count));
                run.run_ns = run.run_ns.saturating_add(record.run_ns);
            }
            _ => runs.push(Run {
                first: record,
                count: count_of(record),
                run_ns: record.run_ns,
                is_running: record.is_running,
            }),
        }
    }
    runs
}

fn records(paint: Paint, incident: &Incident) -> String {
    let runs = runs(&incident.records);
    let (earlier, shown) = runs.split_at(runs.len().saturating_sub(RECORDS_SHOWN));
    if shown.is_empty() {
        return String::new();
    }
    let head = format!("Last {} (times relative to its start)", incident.words.callbacks);
    let mut text = title(paint, &head);
    let has_phases = shown.iter().any(|run| !run.first.phase.is_empty());
    let phase = |text: &str| if has_phases { format!("{text:<8} ") } else { String::new() };
    text += &paint.faint(&format!("  {:>10} {:>9} {:>9}  {}WHAT\n", "AT", "RAN", "WAITED", phase("PHASE")));
    let skipped =
        earlier.iter().fold(incident.records_lost, |sum, run| sum.saturating_add(run.count.unwrap_or(1)));
    if skipped > 0 {
        text += &format!("  {}\n", paint.faint(&format!("... {skipped} before")));
    }
    for run in shown {
        let record = run.first;
        let at = relative(record.start_ns);
        let ran = format!("{}{}", show_ns(run.run_ns), if run.is_running { "+" } else { "" });
        let waited = record.wait_ns.map_or("-".to_owned(), show_ns);
        let times = match run.count {
            None => "many x ".to_owned(),
            Some(0 | 1) => String::new(),
            Some(count) => format!("{count} x "),
        };
        let line = format!("  {at:>10} {ran:>9} {waited:>9}  {}{times}", phase(&record.phase));
        let line = with_site(paint, &line, &kind_at(&record.kind, &record.site));
        text += &if run.is_running { paint.bold(&line) } else { line };
        text.push('\n');
    }
    text
}

fn relative(start_ns: i64) -> String {
    let sign = if start_ns < 0 { "-" } else { "+" };
    format!("{sign}{}", show_ns(start_ns.unsigned_abs()))
}

fn jobs(paint: Paint, incident: &Incident) -> String {
    // Jobs explain a pool that was full; elsewhere they are in the timeline.
    if incident.kind.name() != "pool" || incident.jobs.is_empty() {
        return String::new();
    }
    let head = format!("Last {} of the pool (times relative to its start)", incident.words.jobs);
    let mut text = title(paint, &head);
    text += &paint.faint(&format!("  {:>10} {:>9} {:>9}  {:>6}  WHAT\n", "AT", "RAN", "WAITED", "THREAD"));
    for job in &incident.jobs[incident.jobs.len().saturating_sub(RECORDS_SHOWN)..] {
        let at = relative(job.start_ns);
        let ran = format!("{}{}", show_ns(job.run_ns), if job.is_running { "+" } else { "" });
        let waited = known(job.wait_ns, show_ns);
        let outcome = if job.is_ok { "" } else { " (failed)" };
        text += &format!(
            "  {at:>10} {ran:>9} {waited:>9}  {:>6}  {}{outcome}\n",
            job.worker,
            kind_at(&job.kind, &job.site)
        );
    }
    text
}

/// A column of figures: its heading, its width, and what it says of a period; nothing where nobody knows.
type FiguresColumn = (String, usize, fn(&LoopFigures) -> Option<String>);

fn figures_columns(incident: &Incident) -> [FiguresColumn; 5] {
    fn lag(ns: u64) -> String {
        if ns < 1_000 { "0".to_owned() } else { show_ns(ns) }
    }
    let rate = |noun: &str| format!("{}/S", noun.to_uppercase());
    let words = &incident.words;
    [
        ("BUSY".to_owned(), 6, |figures| figures.utilization.map(|ratio| format!("{:.0}%", ratio * 100.0))),
        (rate(&words.callbacks), 12, |figures| figures.callbacks_per_second.map(|rate| format!("{rate:.0}"))),
        (rate(&words.iterations), 13, |figures| {
            figures.iterations_per_second.map(|rate| format!("{rate:.0}"))
        }),
        ("LAG p50".to_owned(), 8, |figures| figures.lag_ns_p50.map(lag)),
        ("LAG p99".to_owned(), 8, |figures| figures.lag_ns_p99.map(lag)),
    ]
}

fn figures(paint: Paint, incident: &Incident) -> String {
    let periods = [("before", &incident.before), ("during", &incident.during)];
    if periods.iter().all(|(_, figures)| figures.period_ns == 0) {
        return String::new();
    }
    let mut columns = Vec::from(figures_columns(incident));
    // What is not known of either period has no column.
    columns.retain(|(_, _, cell)| periods.iter().any(|(_, figures)| cell(figures).is_some()));
    let mut text = title(paint, &format!("The {} before and during it", incident.words.lane));
    let mut head = format!("  {:<8} {:>8}", "", "PERIOD");
    for (name, width, _) in &columns {
        head += &format!(" {name:>width$}");
    }
    text += &paint.faint(&format!("{head}\n"));
    for (name, figures) in periods {
        text += &figures_line(name, figures, &columns);
    }
    text
}

fn figures_line(name: &str, figures: &LoopFigures, columns: &[FiguresColumn]) -> String {
    if figures.period_ns == 0 {
        return format!("  {name:<8} {:>8}\n", "-");
    }
    let mut line = format!("  {name:<8} {:>8}", show_ns(figures.period_ns));
    for (heading, width, cell) in columns {
        let width = heading.chars().count().max(*width);
        line += &format!(" {:>width$}", known(cell(figures), |text| text));
    }
    line + "\n"
}

fn notes(paint: Paint, incident: &Incident) -> String {
    let missed = "detected after it had ended: durations are approximate, and there is no stack".to_owned();
    let missed = incident.was_missed.then_some(missed);
    let notes = missed.iter().chain(&incident.notes);
    notes.map(|note| paint.paragraph("Note: ", 6, note, str::to_owned)).collect()
}

#[cfg(test)]
#[path = "detail_tests.rs"]
mod tests;
