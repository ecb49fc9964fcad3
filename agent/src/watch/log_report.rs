//! The lines for the program's log: one when an incident is found, at its doublings, and one when it is over.

use crate::watch::log_line::{Detail, LINE_MAX, LineRoom, line};
use loopscope_report::compute::verdict::Cause;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::{Class, Culprit, Frame, Incident, IncidentKind, Severity, dependency_path};
use loopscope_report::short_names::without_middle;
use loopscope_report::words::says_kind;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Begin,
    /// It still lasts; this many times the threshold.
    Lasts(u64),
    End,
    /// Found only when it was over.
    Missed,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

/// One line for the log, with its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogReport {
    pub level: Level,
    /// Label of the loop.
    pub subject: String,
    pub cause: String,
    /// `timer flush (src/x.rs:40)`.
    pub site: String,
    pub age_ns: u64,
    /// Id of the incident; empty for a line about several.
    pub incident: String,
    pub message: String,
}

impl LogReport {
    /// Puts a moment of an incident into words. `age_ns` is how long it had lasted, or did last, at the moment that
    /// the line is of, and `severity` is how bad it was then: it may have become worse since.
    pub(crate) fn new(moment: Moment, incident: &Incident, (age_ns, severity): (u64, Severity)) -> LogReport {
        let age = show_ns(age_ns);
        let is_code = incident.class.may_be_code();
        let level = match (moment, severity) {
            (Moment::End, _) => Level::Info,
            _ if !is_code => Level::Info,
            (_, Severity::Critical) => Level::Error,
            _ => Level::Warn,
        };
        let words = |room| match incident.kind {
            _ if !is_code => standstill_line(moment, incident, &age, room),
            IncidentKind::Pool => pool_line(moment, incident, &age, room),
            _ => stall_line(moment, incident, &age, room),
        };
        LogReport {
            level,
            subject: incident.r#loop.clone(),
            cause: incident.cause.clone(),
            site: culprit_text(incident),
            age_ns,
            incident: incident.id.to_string(),
            message: line(words, incident.id),
        }
    }

    /// Says how many incidents of a minute were not reported.
    pub(crate) fn suppressed(label: &str, count: u64) -> LogReport {
        let stalls = if count == 1 { "incident" } else { "incidents" };
        let words = |label: &str| {
            format!(
                "{count} more {stalls} of loop {label} in the last minute not logged; see loopscope incidents"
            )
        };
        let room = LINE_MAX - words("").chars().count();
        LogReport {
            level: Level::Warn,
            subject: label.to_owned(),
            cause: String::new(),
            site: String::new(),
            age_ns: 0,
            incident: String::new(),
            message: words(&without_middle(label, room)),
        }
    }
}

/// Returns what keeps a loop from polling, up to its duration.
fn blame_words(incident: &Incident, room: LineRoom) -> String {
    match incident.kind {
        IncidentKind::Starvation if is_unknown_number(incident) => {
            format!("blocked by {}", one_or_many(incident, room))
        }
        IncidentKind::Starvation => format!("starved by {}", flood(incident, room)),
        _ => format!("blocked by {}", room.name(&culprit_text(incident))),
    }
}

/// Returns the culprit in words: `timer at src/x.rs:40`, `timer flush (src/x.rs:40)`.
pub(crate) fn culprit_text(incident: &Incident) -> String {
    let Culprit { kind, label, name, file, .. } = &incident.culprit;
    let label = dependency_path(file).map_or_else(|| label.clone(), |short| label.replacen(file, short, 1));
    match (kind.as_str(), label.as_str()) {
        ("", _) if incident.kind == IncidentKind::Pool => format!("jobs of the pool of {}", incident.r#loop),
        ("main" | "", _) => incident.words.between.clone(),
        (kind, "?" | "") => format!("{kind} at an unknown place"),
        (kind, label) if says_kind(kind, label) => label.to_owned(),
        (kind, label) if name.is_empty() => format!("{kind} at {label}"),
        (kind, label) => format!("{kind} {label}"),
    }
}

fn stall_line(moment: Moment, incident: &Incident, age: &str, room: LineRoom) -> String {
    let (subject, detail) = (subject(incident, room), room.detail);
    let what = match incident.kind {
        IncidentKind::Starvation if is_unknown_number(incident) => {
            format!("blocked for {age} by {}", one_or_many(incident, room))
        }
        IncidentKind::Starvation => format!("starved for {age} by {}", flood(incident, room)),
        _ => format!("blocked for {age} by {}", room.name(&culprit_text(incident))),
    };
    let how = how(incident, room);
    match moment {
        Moment::Begin => format!("{subject} {what}{how}"),
        Moment::Lasts(times) if detail == Detail::Whole => {
            format!("{subject} still {what}, {times} times the threshold{how}")
        }
        Moment::Lasts(_) => format!("{subject} still {what}{how}"),
        Moment::Missed => format!("{subject} was {what}, detected afterwards"),
        Moment::End => {
            let (blame, parks) = (blame_words(incident, room), &incident.words.parks);
            let summary = room.words(&incident.summary);
            // That of a flood has the summary in it; one of what has no name says no more.
            let says_more = |summary: &String| {
                !blame.contains(summary.as_str()) && !summary.starts_with(&incident.words.between)
            };
            let summary = Some(summary).filter(|_| detail == Detail::Whole).filter(says_more);
            let summary = summary.map_or(String::new(), |summary| format!(": {summary}"));
            format!("{subject} {parks} again after {age}; it was {blame}{summary}{how}")
        }
    }
}

/// Returns what it is about: `loop web`.
fn subject(incident: &Incident, room: LineRoom) -> String {
    format!("{} {}", incident.words.lane, room.name(&incident.r#loop))
}

/// Tells whether nobody knows if it was one long job or many: captures that found several know.
fn is_unknown_number(incident: &Incident) -> bool {
    let is_many = incident.jobs_captured.is_some_and(|different| different > 1);
    !is_many && incident.is_of_unknown_number()
}

/// `nextTick queue (one or many jobs, after timers)`.
fn one_or_many(incident: &Incident, room: LineRoom) -> String {
    let culprit = room.name(&culprit_text(incident));
    let many = if Cause::is_queue(&incident.cause) { "jobs" } else { &incident.words.callbacks };
    format!("{culprit} (one or many {many}{})", after(incident, room))
}

/// Returns what people call that of which there are many.
fn jobs(incident: &Incident, room: LineRoom) -> String {
    match incident.flood.as_str() {
        "" => incident.words.callbacks.clone(),
        flood => room.name(flood),
    }
}

/// Returns the callback that they follow.
fn after(incident: &Incident, room: LineRoom) -> String {
    let parent = incident.groups.first().and_then(|group| group.parent.as_ref());
    let parent = parent.filter(|_| room.detail > Detail::Shortest);
    parent.map(|parent| format!(", after {}", room.name(parent))).unwrap_or_default()
}

fn flood(incident: &Incident, room: LineRoom) -> String {
    let (detail, culprit) = (room.detail, room.name(&culprit_text(incident)));
    let Culprit { label, file, .. } = &incident.culprit;
    let summary = &incident.summary;
    let told =
        dependency_path(file).map_or_else(|| summary.clone(), |short| summary.replace(file.as_str(), short));
    // A summary of many mostly names them itself.
    let is_whole = detail == Detail::Whole;
    // A queue of the runtime's own is what the jobs are of, and no place.
    let is_queue = says_kind(&incident.culprit.kind, label);
    let is_named = is_whole && !label.is_empty() && summary.contains(label.as_str());
    let most = match is_queue || is_named {
        true => String::new(),
        false if detail < Detail::WithoutSummary => format!(" in {culprit}"),
        false => format!(", most of the time in {culprit}"),
    };
    let told = if is_whole { format!(" ({})", room.words(&told)) } else { String::new() };
    format!("{}{told}{most}{}", jobs(incident, room), after(incident, room))
}

/// Returns what the time went to, and in which function.
fn how(incident: &Incident, room: LineRoom) -> String {
    let detail = room.detail;
    let frame = incident.guilty_frame().filter(|_| detail > Detail::WithoutFrame);
    let frame = frame.map(|frame| room.name(&frame_text(incident, frame)));
    let in_frame = |words: &str| frame.as_ref().map(|frame| format!(" {words} {frame}")).unwrap_or_default();
    match incident.class {
        Class::Computing => format!(", computing{}", in_frame("in")),
        Class::Waiting => match &incident.waiting_in {
            Some(call) => format!(", waiting in {}{}", room.name(call), in_frame("called by")),
            None => format!(", waiting{}", in_frame("in")),
        },
        Class::StarvedOfCpu if incident.is_throttled() && detail <= Detail::Least => {
            ", throttled by the CPU quota of its cgroup".to_owned()
        }
        Class::StarvedOfCpu if detail <= Detail::Least => ", starved of CPU".to_owned(),
        Class::Unknown if detail <= Detail::Least => String::new(),
        Class::StarvedOfCpu if incident.is_throttled() => {
            let held = show_ns(incident.throttled_ns);
            format!(", throttled by the CPU quota of its cgroup for {held}{}", in_frame("in"))
        }
        Class::StarvedOfCpu => {
            let rest_ns = incident.watched_ns.saturating_sub(incident.cpu_ns);
            let ready = match incident.runqueue_ns {
                // The wait for a processor that is under way is in no account.
                ns if ns == 0 || ns < rest_ns / 2 => "runnable but not scheduled".to_owned(),
                ns => format!("runnable but not scheduled for {}", show_ns(ns)),
            };
            format!(", starved of CPU: {ready}{}", in_frame("in"))
        }
        Class::Unknown if incident.watched_ns > 0 => {
            let (ran, open) = (show_ns(incident.cpu_ns), show_ns(incident.unaccounted_ns()));
            format!(", on CPU for {ran}, {open} not accounted for{}", in_frame("in"))
        }
        _ => in_frame("in").replacen(' ', ", ", 1),
    }
}

fn frame_text(incident: &Incident, frame: &Frame) -> String {
    match incident.place_of(frame) {
        Some(place) => format!("{} ({})", frame.function, frame.place_words(&place)),
        None => frame.function.clone(),
    }
}

fn standstill_line(moment: Moment, incident: &Incident, age: &str, room: LineRoom) -> String {
    let subject = subject(incident, room);
    let why = match incident.class {
        Class::Suspended => "the machine was suspended",
        Class::Debugger => "a debugger stopped the process",
        _ => "the process or its virtual machine was stopped",
    };
    match moment {
        Moment::End => format!("{subject} recovered after {age}: {why}"),
        _ => format!("{subject} was stopped for {age}: {why}"),
    }
}

fn pool_line(moment: Moment, incident: &Incident, age: &str, room: LineRoom) -> String {
    let subject = match incident.group.as_str() {
        "" => subject(incident, room),
        // The runtime's, whichever of its workers tells of it.
        group => room.name(group),
    };
    let job = if room.detail == Detail::Whole { "the longest job is" } else { "longest job" };
    let call = incident.waiting_in.as_deref().map(|call| match room.detail {
        Detail::Shortest => call.split('(').next().unwrap_or(call),
        _ => call,
    });
    let call = call.map(|call| format!("; {job} waiting in {}", room.name(call)));
    let summary = format!("{}{}", room.words(&incident.summary), call.unwrap_or_default());
    match moment {
        Moment::Begin | Moment::Missed => format!("pool of {subject} saturated for {age}: {summary}"),
        Moment::Lasts(times) if room.detail == Detail::Whole => {
            format!("pool of {subject} still saturated for {age}, {times} times the threshold: {summary}")
        }
        Moment::Lasts(_) => format!("pool of {subject} still saturated for {age}: {summary}"),
        Moment::End => format!("pool of {subject} no longer saturated after {age}"),
    }
}

#[cfg(test)]
#[path = "log_report_tests.rs"]
mod tests;
