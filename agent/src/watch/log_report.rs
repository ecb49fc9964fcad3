//! The lines for the program's log: one when an incident is found, at its doublings, and one when it is over.

use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::{Class, Culprit, Frame, Incident, IncidentKind, Severity, dependency_path};
use loopscope_report::short_names::{one_line, short_names};

/// Letters of a line, its incident's id included: so much fits a terminal that is wide.
const LINE_MAX: usize = 160;

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

/// How much a line says. Each has what the next one has, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// Without how long the thread did what.
    Least,
    /// Without the function in which the thread was found.
    WithoutFrame,
    /// Without what the busy period consisted of, and how often it had lasted for the threshold.
    WithoutSummary,
    Whole,
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
        let words = |detail| match incident.kind {
            _ if !is_code => standstill_line(moment, incident, &age),
            IncidentKind::Pool => pool_line(moment, incident, &age),
            _ => stall_line(moment, incident, &age, detail),
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
        LogReport {
            level: Level::Warn,
            subject: label.to_owned(),
            cause: String::new(),
            site: String::new(),
            age_ns: 0,
            incident: String::new(),
            message: format!(
                "{count} more {stalls} of loop {label} in the last minute not logged; see loopscope incidents"
            ),
        }
    }
}

/// Returns words about an incident as a line of the log: where it would be too long, with short names, then also without the
/// directories of its places, then with less and less detail. The incident has all of it.
fn line(words: impl Fn(Detail) -> String, id: IncidentId) -> String {
    let with_id = |words: String| format!("{words} [{id}]");
    let fits = |line: &String| line.chars().count() <= LINE_MAX;
    let whole = with_id(words(Detail::Whole));
    if fits(&whole) {
        return whole;
    }
    let names = [short_names, one_line].into_iter().map(|shorter| with_id(shorter(&words(Detail::Whole))));
    let details = [Detail::WithoutSummary, Detail::WithoutFrame].into_iter();
    let details = details.map(|detail| with_id(one_line(&words(detail))));
    let found = names.chain(details).find(fits);
    found.unwrap_or_else(|| with_id(one_line(&words(Detail::Least))))
}

/// Returns what keeps a loop from polling, up to its duration.
fn blame_words(incident: &Incident, detail: Detail) -> String {
    match incident.kind {
        IncidentKind::Starvation => format!("starved by {}", flood(incident, detail)),
        _ => format!("blocked by {}", culprit_text(incident)),
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
        (kind, label) if name.is_empty() => format!("{kind} at {label}"),
        (kind, label) => format!("{kind} {label}"),
    }
}

fn stall_line(moment: Moment, incident: &Incident, age: &str, detail: Detail) -> String {
    let subject = subject(incident);
    let what = match incident.kind {
        IncidentKind::Starvation => format!("starved for {age} by {}", flood(incident, detail)),
        _ => format!("blocked for {age} by {}", culprit_text(incident)),
    };
    let how = how(incident, detail);
    match moment {
        Moment::Begin => format!("{subject} {what}{how}"),
        Moment::Lasts(times) if detail == Detail::Whole => {
            format!("{subject} still {what}, {times} times the threshold{how}")
        }
        Moment::Lasts(_) => format!("{subject} still {what}{how}"),
        Moment::Missed => format!("{subject} was {what}, detected afterwards"),
        Moment::End => {
            let (blame, parks) = (blame_words(incident, detail), &incident.words.parks);
            // That of a flood has the summary in it; one of what has no name says no more.
            let says_more = |summary: &&String| {
                !blame.contains(summary.as_str()) && !summary.starts_with(&incident.words.between)
            };
            let summary = Some(&incident.summary).filter(|_| detail == Detail::Whole).filter(says_more);
            let summary = summary.map_or(String::new(), |summary| format!(": {summary}"));
            format!("{subject} {parks} again after {age}; it was {blame}{summary}{how}")
        }
    }
}

/// Returns what it is about: `loop web`.
fn subject(incident: &Incident) -> String {
    format!("{} {}", incident.words.lane, incident.r#loop)
}

fn flood(incident: &Incident, detail: Detail) -> String {
    let jobs = match incident.flood.as_str() {
        "" => &incident.words.callbacks,
        flood => flood,
    };
    let heaviest = incident.groups.first();
    let after = heaviest.and_then(|group| group.parent.as_ref()).map(|parent| format!(", after {parent}"));
    let Culprit { label, file, .. } = &incident.culprit;
    let summary = &incident.summary;
    let told =
        dependency_path(file).map_or_else(|| summary.clone(), |short| summary.replace(file.as_str(), short));
    // A summary of many mostly names them itself.
    let is_whole = detail == Detail::Whole;
    let most = match is_whole && !label.is_empty() && summary.contains(label.as_str()) {
        true => String::new(),
        false if detail < Detail::WithoutSummary => format!(" in {}", culprit_text(incident)),
        false => format!(", most of the time in {}", culprit_text(incident)),
    };
    let told = if is_whole { format!(" ({told})") } else { String::new() };
    format!("{jobs}{told}{most}{}", after.unwrap_or_default())
}

/// Returns what the time went to, and in which function.
fn how(incident: &Incident, detail: Detail) -> String {
    let frame = incident.stacks.iter().find_map(|stack| stack.guilty_frame());
    let frame = frame.filter(|_| detail > Detail::WithoutFrame);
    let frame = frame.map(|frame| frame_text(incident, frame));
    let in_frame = |words: &str| frame.as_ref().map(|frame| format!(" {words} {frame}")).unwrap_or_default();
    match incident.class {
        Class::Computing => format!(", computing{}", in_frame("in")),
        Class::Waiting => match &incident.waiting_in {
            Some(waiting_in) => format!(", waiting in {waiting_in}{}", in_frame("called by")),
            None => format!(", waiting{}", in_frame("in")),
        },
        Class::StarvedOfCpu if incident.is_throttled() && detail == Detail::Least => {
            ", throttled by the CPU quota of its cgroup".to_owned()
        }
        Class::StarvedOfCpu if detail == Detail::Least => ", starved of CPU".to_owned(),
        Class::Unknown if detail == Detail::Least => String::new(),
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
        Some(place) => format!("{} ({place})", frame.function),
        None => frame.function.clone(),
    }
}

fn standstill_line(moment: Moment, incident: &Incident, age: &str) -> String {
    let subject = subject(incident);
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

fn pool_line(moment: Moment, incident: &Incident, age: &str) -> String {
    let subject = match incident.group.as_str() {
        "" => subject(incident),
        // The runtime's, whichever of its workers tells of it.
        group => group.to_owned(),
    };
    let call = incident.waiting_in.as_ref().map(|call| format!("; the longest job is waiting in {call}"));
    let summary = format!("{}{}", incident.summary, call.unwrap_or_default());
    match moment {
        Moment::Begin | Moment::Missed => format!("pool of {subject} saturated for {age}: {summary}"),
        Moment::Lasts(times) => {
            format!("pool of {subject} still saturated for {age}, {times} times the threshold: {summary}")
        }
        Moment::End => format!("pool of {subject} no longer saturated after {age}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::incident::{Group, StackCount};
    use loopscope_report::words::RuntimeWords;

    fn culprit(name: &str) -> Culprit {
        let place = "src/x.rs:25";
        Culprit {
            kind: "timer".into(),
            label: if name.is_empty() { place.into() } else { format!("{name} ({place})") },
            name: name.into(),
            file: "src/x.rs".into(),
            line: 25,
            column: 9,
        }
    }

    fn incident() -> Incident {
        let frame = |function: &str, line| Frame {
            function: function.into(),
            file: Some("src/x.rs".into()),
            line: Some(line),
            ..Frame::default()
        };
        Incident {
            id: "4711-3".parse().unwrap(),
            r#loop: "main".into(),
            duration_ns: 103_400_000,
            cause: "callback".into(),
            class: Class::Computing,
            culprit: culprit("parse_invoices"),
            summary: "1 callback of 103 ms".into(),
            stacks: vec![StackCount {
                frames: vec![frame("mul", 7), frame("sum_amounts", 61)],
                guilty: Some(1),
                ..StackCount::default()
            }],
            ..Incident::default()
        }
    }

    fn message(moment: Moment, incident: &Incident) -> String {
        let message = LogReport::new(moment, incident, (incident.duration_ns, incident.severity)).message;
        assert!(!message.contains('\n'));
        message
    }

    #[test]
    fn a_block_names_its_callback_and_the_function() {
        assert_eq!(
            message(Moment::Begin, &incident()),
            "loop main blocked for 103 ms by timer parse_invoices (src/x.rs:25), computing in sum_amounts (src/x.rs:61) [4711-3]"
        );
        let waiting = Incident {
            class: Class::Waiting,
            waiting_in: Some("read(fd 3 -> pipe:[81])".into()),
            culprit: culprit(""),
            ..incident()
        };
        assert_eq!(
            message(Moment::Lasts(2), &waiting),
            "loop main still blocked for 103 ms by timer at x.rs:25, 2 times the threshold, waiting in read(fd 3 -> pipe:[81]) called by sum_amounts (x.rs:61) [4711-3]"
        );
        let nameless = Incident { stacks: Vec::new(), ..incident() };
        assert_eq!(
            message(Moment::End, &nameless),
            "loop main polls again after 103 ms; it was blocked by timer parse_invoices (src/x.rs:25): 1 callback of 103 ms, computing [4711-3]"
        );
    }

    #[test]
    fn no_line_has_a_path_of_the_machine_that_built_the_program() {
        let mut built = incident();
        for frame in &mut built.stacks[0].frames {
            frame.file = Some("/home/x/app/src/x.rs".into());
            frame.is_inlined = true;
        }
        assert_eq!(message(Moment::Begin, &built), message(Moment::Begin, &incident()));
        let package = "/x/.cargo/registry/src/index.crates.io-6f17/wire-1.0.2";
        let file = format!("{package}/src/lib.rs");
        built.culprit = Culprit { label: format!("{file}:25"), file, ..culprit("") };
        let line = message(Moment::Begin, &built);
        let told = "by timer at wire-1.0.2/src/lib.rs:25, computing in sum_amounts (app/src/x.rs:61)";
        assert!(line.contains(told), "{line}");
    }

    #[test]
    fn a_line_that_would_be_too_long_has_short_names_and_says_all_the_same() {
        let names = [
            (
                "tower_http::trace::service::Trace<S,M,OnRequest>::call",
                "<hyper::proto::h1::conn::Connection<T,B> as hyper::service::Service<R>>::poll_read",
                "tower_http::…::Trace<…>::call",
                "hyper::…::poll_read",
            ),
            (
                "app::reports::monthly::invoices::totals",
                "std::__1::vector<std::pair<int, std::string>>::push_back(std::pair<int, std::string>&&)",
                "app::…::invoices::totals",
                "std::…::vector<…>::push_back(…)",
            ),
        ];
        for (name, function, short_name, short_function) in names {
            let mut long = Incident { culprit: culprit(name), ..incident() };
            long.stacks[0].frames[1].function = function.to_owned();
            for moment in [Moment::Begin, Moment::Lasts(16), Moment::Missed, Moment::End] {
                let line = message(moment, &long);
                assert!(line.chars().count() <= LINE_MAX && line.contains("103 ms"), "{line}");
                assert!(line.contains(name) || line.contains(short_name), "{line}");
            }
            let line = message(Moment::Begin, &long);
            let told = format!(
                "by timer {short_name} (src/x.rs:25), computing in {short_function} (src/x.rs:61) [4711-3]"
            );
            assert!(line.ends_with(&told), "{line}");
            // Data has the whole name.
            let report = LogReport::new(Moment::Begin, &long, (long.duration_ns, long.severity));
            assert!(report.site.contains(name) && blame_words(&long, Detail::Whole).contains(name));
            // Where there is room, so does the line.
            long.stacks.clear();
            assert!(message(Moment::Begin, &long).contains(name));
        }
        let mut deep = incident();
        let folder = "a/folder/in/which/there/are/many/others";
        deep.culprit.label = format!("parse_invoices ({folder}/x.rs:25)");
        deep.stacks[0].frames[1].file = Some(format!("{folder}/{folder}/y.rs"));
        let line = message(Moment::Begin, &deep);
        assert!(
            line.contains("timer parse_invoices (x.rs:25), computing in sum_amounts (y.rs:61)"),
            "{line}"
        );
    }

    #[test]
    fn a_flood_names_its_site_once() {
        let flood = Incident {
            kind: IncidentKind::Starvation,
            summary: "487,213 callbacks, the 4,096 observed of 500 ns each: about 487,213 x microtask at src/x.rs:25".into(),
            flood: "microtasks".into(),
            culprit: Culprit { kind: "microtask".into(), ..culprit("") },
            stacks: Vec::new(),
            ..incident()
        };
        let group = Group {
            parent: Some("start_retries (agent/cli/src/demo/trouble.rs:26)".into()),
            ..Group::default()
        };
        let stacks = incident().stacks;
        let (class, watched_ns, runqueue_ns) = (Class::StarvedOfCpu, 200_000_000, 161_000_000);
        let starved =
            Incident { class, watched_ns, runqueue_ns, stacks, groups: vec![group], ..flood.clone() };
        let line = message(Moment::Lasts(2), &starved);
        assert_eq!(
            line,
            "loop main still starved for 103 ms by microtasks in microtask at x.rs:25, after start_retries (trouble.rs:26), starved of CPU [4711-3]"
        );
        for moment in [Moment::Begin, Moment::Lasts(2), Moment::End] {
            let line = message(moment, &flood);
            assert_eq!(line.matches("x.rs:25").count(), 1, "{line}");
            assert!(line.chars().count() <= LINE_MAX, "{line}");
        }
    }

    #[test]
    fn what_nobody_knows_of_a_stall_is_told_as_that() {
        let ms = 1_000_000;
        let (watched_ns, cpu_ns, runqueue_ns) = (300 * ms, 90 * ms, 36 * ms);
        let unknown = Incident { class: Class::Unknown, watched_ns, cpu_ns, runqueue_ns, ..incident() };
        let line = message(Moment::Begin, &unknown);
        let told = ", on CPU for 90 ms, 174 ms not accounted for in sum_amounts (src/x.rs:61) [";
        assert!(line.contains(told) && !line.contains("waiting"), "{line}");
    }

    #[test]
    fn a_wait_for_a_processor_that_nobody_measured_has_no_length() {
        // It was found so at the first look, before which nothing was read.
        let starved = |watched_ns, runqueue_ns| {
            let class = Class::StarvedOfCpu;
            message(Moment::Begin, &Incident { class, watched_ns, runqueue_ns, ..incident() })
        };
        assert!(starved(0, 0).contains(", starved of CPU: runnable but not scheduled in sum_amounts"));
        assert!(starved(100, 0).contains("runnable but not scheduled in sum_amounts"));
        assert!(starved(100, 90).contains("runnable but not scheduled for 90 ns in sum_amounts"));
    }

    #[test]
    fn starvation_names_the_flood_its_site_and_what_it_follows() {
        let group = Group { parent: Some("read (src/y.rs:4)".into()), ..Group::default() };
        let starved = Incident {
            kind: IncidentKind::Starvation,
            cause: "microtask".into(),
            summary: "412 callbacks of 0.5 ms: 388 x microtask at src/x.rs:25".into(),
            groups: vec![group],
            class: Class::Unknown,
            stacks: Vec::new(),
            flood: "microtasks".into(),
            culprit: Culprit { kind: "microtask".into(), ..culprit("") },
            ..incident()
        };
        assert_eq!(
            message(Moment::Begin, &starved),
            "loop main starved for 103 ms by microtasks (412 callbacks of 0.5 ms: 388 x microtask at src/x.rs:25), after read (src/y.rs:4) [4711-3]"
        );
        // A summary of many short ones may name another that took less.
        let other = Incident { summary: "52 callbacks of 9 ms: 30 ticks".into(), ..starved.clone() };
        assert_eq!(
            message(Moment::Begin, &other),
            "loop main starved for 103 ms by microtasks (52 callbacks of 9 ms: 30 ticks), most of the time in microtask at src/x.rs:25, after read (src/y.rs:4) [4711-3]"
        );
        let end = message(Moment::End, &starved);
        assert!(
            end.starts_with("loop main polls again after 103 ms; it was starved by microtasks (412"),
            "{end}"
        );
        assert_eq!(end.matches("388 x microtask").count(), 1, "once is enough: {end}");
    }

    #[test]
    fn nobodys_code_is_blamed_for_a_standstill() {
        let stopped = Incident { class: Class::Stopped, severity: Severity::Critical, ..incident() };
        let report = LogReport::new(Moment::Begin, &stopped, (stopped.duration_ns, stopped.severity));
        assert_eq!(
            report.message,
            "loop main was stopped for 103 ms: the process or its virtual machine was stopped [4711-3]"
        );
        assert_eq!(report.level, Level::Info);
        let suspended = Incident { class: Class::Suspended, ..incident() };
        assert!(
            message(Moment::End, &suspended).contains("recovered after 103 ms: the machine was suspended")
        );
    }

    #[test]
    fn unknown_culprits_are_said_to_be_unknown() {
        let nobody = Culprit { kind: "main".into(), label: "?".into(), ..Culprit::default() };
        let of = |culprit: &Culprit| culprit_text(&Incident { culprit: culprit.clone(), ..incident() });
        assert_eq!(of(&nobody), "code outside any callback");
        let nowhere = Culprit { kind: "timer".into(), ..nobody };
        assert_eq!(of(&nowhere), "timer at an unknown place");
    }

    #[test]
    fn lines_are_in_the_words_of_the_runtime() {
        let words = RuntimeWords {
            callback: "poll".into(),
            callbacks: "polls".into(),
            lane: "worker".into(),
            between: "a poll that is not told".into(),
            parks: "parks".into(),
            ..RuntimeWords::default()
        };
        let flood = Incident {
            kind: IncidentKind::Starvation,
            flood: "many short polls".into(),
            summary: "3 polls".into(),
            words: words.clone(),
            ..incident()
        };
        let pool = Incident { kind: IncidentKind::Pool, ..flood.clone() };
        let stopped = Incident { class: Class::Stopped, ..flood.clone() };
        let between = Incident {
            kind: IncidentKind::Stall,
            culprit: Culprit { kind: "main".into(), ..Culprit::default() },
            ..flood.clone()
        };
        let older = Incident { flood: String::new(), ..flood.clone() };
        let moments = [Moment::Begin, Moment::Lasts(2), Moment::Missed, Moment::End];
        let all: Vec<String> = [flood, pool, stopped, between, older]
            .iter()
            .flat_map(|incident| moments.map(|moment| message(moment, incident)))
            .collect();
        for line in &all {
            assert!(line.contains("worker main"), "{line}");
            for word in ["loop", "callback", "polls again"] {
                assert!(!line.contains(word), "`{word}` in {line}");
            }
        }
        let text = all.join("\n");
        for part in [
            "worker main parks again after",
            "by many short polls (3 polls)",
            "blocked by a poll that is not told",
        ] {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
        let summary = "a poll that is not told for 103 ms".to_owned();
        let culprit = Culprit { kind: "main".into(), ..Culprit::default() };
        let told = Incident { words, summary, culprit, stacks: Vec::new(), ..incident() };
        assert_eq!(
            message(Moment::End, &told),
            "worker main parks again after 103 ms; it was blocked by a poll that is not told, computing [4711-3]"
        );
    }

    #[test]
    fn a_pool_says_how_full_it_is() {
        let pool = Incident {
            kind: IncidentKind::Pool,
            summary: "4 threads busy, 9 jobs waiting, the oldest for 7.0 ms".into(),
            severity: Severity::Critical,
            ..incident()
        };
        let report = LogReport::new(Moment::Lasts(4), &pool, (pool.duration_ns, pool.severity));
        assert_eq!(report.level, Level::Error);
        assert_eq!(
            report.message,
            "pool of loop main still saturated for 103 ms, 4 times the threshold: 4 threads busy, 9 jobs waiting, the oldest for 7.0 ms [4711-3]"
        );
        assert_eq!(LogReport::new(Moment::End, &pool, (pool.duration_ns, pool.severity)).level, Level::Info);
    }
}
