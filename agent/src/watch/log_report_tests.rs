//! What the lines say: which detail has room, and in whose words.

use super::*;
use loopscope_report::incident::{Group, StackCount};
use loopscope_report::words::RuntimeWords;
use proptest::prelude::*;

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
        assert!(report.site.contains(name) && blame_words(&long, LineRoom::WHOLE).contains(name));
        // Where there is room, so does the line.
        long.stacks.clear();
        assert!(message(Moment::Begin, &long).contains(name));
    }
    let mut deep = incident();
    let folder = "a/folder/in/which/there/are/many/others";
    deep.culprit.label = format!("parse_invoices ({folder}/x.rs:25)");
    deep.stacks[0].frames[1].file = Some(format!("{folder}/{folder}/y.rs"));
    let line = message(Moment::Begin, &deep);
    assert!(line.contains("timer parse_invoices (x.rs:25), computing in sum_amounts (y.rs:61)"), "{line}");
}

#[test]
fn a_flood_names_its_site_once() {
    let flood = Incident {
        kind: IncidentKind::Starvation,
        summary:
            "487,213 callbacks, the 4,096 observed of 500 ns each: about 487,213 x microtask at src/x.rs:25"
                .into(),
        flood: "microtasks".into(),
        culprit: Culprit { kind: "microtask".into(), ..culprit("") },
        stacks: Vec::new(),
        ..incident()
    };
    let group = Group {
        count: Some(487_213),
        parent: Some("start_retries (agent/cli/src/demo/trouble.rs:26)".into()),
        ..Group::default()
    };
    let stacks = incident().stacks;
    let (class, watched_ns, runqueue_ns) = (Class::StarvedOfCpu, 200_000_000, 161_000_000);
    let starved = Incident { class, watched_ns, runqueue_ns, stacks, groups: vec![group], ..flood.clone() };
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

/// What it follows is in the incident, and in the line of its begin: nobody can read names of eight letters.
#[test]
fn a_line_does_without_what_a_flood_follows_before_names_lose_their_middle() {
    let group = Group {
        count: Some(162_720),
        parent: Some("start_retries (agent/cli/src/demo/trouble.rs:41)".into()),
        ..Group::default()
    };
    let flood = Incident {
        kind: IncidentKind::Starvation,
        r#loop: "web".into(),
        summary: "162,720 callbacks, the 29,680 observed of 3.0 µs each".into(),
        flood: "microtasks".into(),
        culprit: Culprit { kind: "microtask".into(), ..culprit("retry_promise") },
        class: Class::StarvedOfCpu,
        groups: vec![group],
        ..incident()
    };
    assert_eq!(
        message(Moment::End, &flood),
        "loop web polls again after 103 ms; it was starved by microtasks in microtask retry_promise (x.rs:25), starved of CPU [4711-3]"
    );
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
    let group = Group { count: Some(388), parent: Some("read (src/y.rs:4)".into()), ..Group::default() };
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

/// As Node tells a queue: while it is drained, or of ticks for ever.
#[test]
fn of_an_unknown_number_it_is_not_said_that_they_are_many() {
    let group = Group { parent: Some("timers".into()), count: None, ..Group::default() };
    let queue = "nextTick queue";
    let culprit =
        Culprit { kind: "nexttick".into(), label: queue.into(), name: queue.into(), ..Culprit::default() };
    let incident = Incident {
        kind: IncidentKind::Starvation,
        cause: "nexttick".into(),
        summary: "an unknown number of entries in 103 ms: nextTick queue".into(),
        groups: vec![group],
        flood: "nextTick jobs".into(),
        culprit,
        ..incident()
    };
    let words =
        "nextTick queue (one or many jobs, after timers), computing in sum_amounts (src/x.rs:61) [4711-3]";
    assert_eq!(message(Moment::Begin, &incident), format!("loop main blocked for 103 ms by {words}"));
    let end = "loop main polls again after 103 ms; it was blocked by nextTick queue (one or many jobs, after timers)";
    assert!(message(Moment::End, &incident).starts_with(end), "{}", message(Moment::End, &incident));
    let mut known = incident;
    known.groups[0].count = Some(412);
    known.summary = "412 entries of 250 \u{b5}s: 412 x nextTick queue".into();
    let line = message(Moment::Begin, &known);
    assert!(line.starts_with("loop main starved for 103 ms by nextTick jobs (412 entries of"), "{line}");
    known.summary = "412 entries of 250 \u{b5}s: 52 x timers".into();
    // Of a runtime's own queue they are, and it is no place besides.
    let end = "starved by nextTick jobs, after timers, computing in sum_amounts (x.rs:61) [4711-3]";
    assert!(message(Moment::End, &known).ends_with(end), "{}", message(Moment::End, &known));
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
    assert!(message(Moment::End, &suspended).contains("recovered after 103 ms: the machine was suspended"));
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

/// An address of memory says nothing, how many jobs wait says all.
#[test]
fn a_pool_s_line_shortens_the_call_that_its_longest_job_waits_in_before_its_figures() {
    let pool = Incident {
        kind: IncidentKind::Pool,
        r#loop: "web".into(),
        summary: "4 of 4 threads busy, 41 jobs waiting, the oldest for 100 ms".into(),
        waiting_in: Some("futex(wait at 0x7f059002fb58)".into()),
        ..incident()
    };
    assert_eq!(
        message(Moment::Lasts(2), &pool),
        "pool of loop web still saturated for 103 ms: 4 of 4 threads busy, 41 jobs waiting, the oldest for 100 ms; longest job waiting in futex [4711-3]"
    );
}

/// Any names: short, long, of functions, places, calls, and what is none.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{0,12}",
        "[a-zA-Z_]{0,400}",
        "[a-z_]{1,20}(::[a-z_<>]{1,30}){0,12}",
        "[a-z_:<>]{1,80} \\(([a-z_]{1,40}/){0,6}[a-z_]{1,90}\\.rs:[0-9]{1,6}\\)",
        "[a-z]{1,9}\\(fd [0-9] -> (/[a-zA-Z0-9_.-]{1,60}){1,6}\\)",
        "(GET|POST) (/:?[a-z_]{1,40}){1,8} \\([a-z]{1,9}\\.rs:[0-9]{1,4}\\)",
        "\\PC{0,200}",
    ]
}

prop_compose! {
    fn any_incident()(
        names in prop::collection::vec(name(), 10),
        kind in prop::sample::select(vec![IncidentKind::Stall, IncidentKind::Starvation, IncidentKind::Pool]),
        class in prop::sample::select(vec![
            Class::Computing, Class::Waiting, Class::StarvedOfCpu, Class::Stopped, Class::Suspended, Class::Debugger,
            Class::Unknown,
        ]),
        throttled_ns in prop::sample::select(vec![0, 50_000_000]),
        number in any::<u64>(),
    ) -> Incident {
        let [label, site, file, flood, summary, parent, function, call, group, phase] =
            <[String; 10]>::try_from(names).unwrap();
        let culprit = Culprit { kind: "timer".into(), label: site, name: flood.clone(), file, ..culprit("") };
        let mut one = Incident {
            id: format!("4194304-{number}").parse().unwrap(),
            r#loop: label,
            group,
            phase,
            kind,
            class,
            culprit,
            flood,
            summary,
            groups: vec![Group { parent: Some(parent), ..Group::default() }],
            waiting_in: Some(call),
            watched_ns: 100_000_000,
            cpu_ns: 9_000_000,
            runqueue_ns: 80_000_000,
            throttled_ns,
            ..incident()
        };
        one.stacks[0].frames[1].function = function;
        one
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// How long it lasted and which incident it is are in every line; of names there is as much as has room.
    #[test]
    fn no_line_is_longer_than_its_bound_whatever_the_names_are(one in any_incident(), word in name()) {
        let strange = Incident {
            words: RuntimeWords { parks: word.clone(), between: word.clone(), lane: word, ..one.words.clone() },
            ..one.clone()
        };
        for moment in [Moment::Begin, Moment::Lasts(u64::MAX), Moment::Missed, Moment::End] {
            for (incident, has_short_words) in [(&one, true), (&strange, false)] {
                let line = LogReport::new(moment, incident, (incident.duration_ns, incident.severity)).message;
                prop_assert!(line.chars().count() <= LINE_MAX, "{}: {line}", line.chars().count());
                prop_assert!(line.ends_with(&format!(" [{}]", incident.id)), "{line}");
                prop_assert!(!has_short_words || line.contains("103 ms"), "{line}");
            }
        }
        let suppressed = LogReport::suppressed(&one.r#loop, one.number()).message;
        prop_assert!(suppressed.chars().count() <= LINE_MAX && suppressed.contains("not logged"), "{suppressed}");
    }
}
