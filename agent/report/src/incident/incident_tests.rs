//! Incidents as JSON: names, leniency, and what a list leaves out.

use super::*;

fn incident() -> Incident {
    let frame = Frame { function: "sum_amounts".into(), line: Some(61), ..Frame::default() };
    let stack = StackCount { count: 2, frames: vec![frame], guilty: Some(0), ..StackCount::default() };
    Incident {
        id: "4711-3".parse().unwrap(),
        pid: 4711,
        r#loop: "main".into(),
        duration_ns: 103_000_000,
        class: Class::StarvedOfCpu,
        severity: Severity::Critical,
        kind: IncidentKind::Starvation,
        stacks: vec![stack],
        records: vec![Record { start_ns: -5, ..Record::default() }],
        iterations: vec![Iteration::default()],
        jobs: vec![Job::default()],
        ..Incident::default()
    }
}

#[test]
fn an_incident_comes_back_from_json_as_it_was() {
    let json = incident().to_json();
    assert_eq!(Incident::parse(&json).unwrap(), incident());
    let text = String::from_utf8(json).unwrap();
    for part in [
        r#""loop":"main""#,
        r#""class":"starved_of_cpu""#,
        r#""kind":"starvation""#,
        r#""severity":"critical""#,
        r#""start_ns":-5"#,
        r#""waiting_in":null"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn files_of_other_versions_are_read_and_foreign_ones_are_not() {
    let known = Incident::parse(br#"{"id":"7-12","pid":7,"added_later":[1],"duration_ns":5}"#).unwrap();
    assert_eq!((known.number(), known.duration_ns, known.class), (12, 5, Class::Unknown));
    for foreign in ["{}", r#"{"id":"7-12","pid":8}"#, r#"{"id":"7-+1","pid":7}"#, r#"{"id":"x"}"#] {
        assert!(matches!(Incident::parse(foreign.as_bytes()), Err(IncidentError::NoIncident)), "{foreign}");
    }
    let whole = incident().to_json();
    for length in 0..whole.len() {
        assert!(matches!(Incident::parse(&whole[..length]), Err(IncidentError::Malformed(_))), "{length}");
    }
}

#[test]
fn a_brief_has_all_but_the_long_parts() {
    let brief = incident().brief();
    assert!(brief.records.is_empty() && brief.iterations.is_empty() && brief.jobs.is_empty());
    assert!(brief.stacks[0].frames.is_empty());
    let again = Incident {
        stacks: incident().stacks,
        records: incident().records,
        iterations: incident().iterations,
        jobs: incident().jobs,
        ..brief
    };
    assert_eq!(again, incident());
}

#[test]
fn names_are_those_of_the_json() {
    for class in [
        Class::Computing,
        Class::Waiting,
        Class::StarvedOfCpu,
        Class::Stopped,
        Class::Suspended,
        Class::Debugger,
        Class::Unknown,
    ] {
        assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
    }
    for kind in IncidentKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    assert_eq!(serde_json::to_string(&Severity::Critical).unwrap(), format!("\"{}\"", Severity::Critical));
}

#[test]
fn a_quota_is_named_where_it_explains_half_of_the_wait_for_a_processor() {
    let of = |class, runqueue_ns, throttled_ns| Incident { class, runqueue_ns, throttled_ns, ..incident() };
    for (class, runqueue_ns, throttled_ns, is_throttled) in [
        (Class::StarvedOfCpu, 90, 80, true),
        (Class::StarvedOfCpu, 90, 45, true),
        (Class::StarvedOfCpu, 90, 44, false),
        (Class::StarvedOfCpu, 0, 0, false),
        (Class::Computing, 90, 80, false),
    ] {
        let told = of(class, runqueue_ns, throttled_ns).is_throttled();
        assert_eq!(told, is_throttled, "{class:?} {runqueue_ns} {throttled_ns}");
    }
}

#[test]
fn an_incident_without_stacks_says_where_those_of_its_culprit_are() {
    let pointing = Incident { stacks_in: Some(2), stacks: Vec::new(), ..incident() };
    assert_eq!(pointing.stacks_elsewhere(), Some("4711-2".parse().unwrap()));
    assert_eq!(Incident { stacks_in: Some(2), ..incident() }.stacks_elsewhere(), None, "it has its own");
    assert_eq!(Incident { stacks_in: None, ..pointing }.stacks_elsewhere(), None);
}

#[test]
fn the_line_that_ran_is_told_where_a_stack_has_it_and_no_other_functions() {
    let frame = |function: &str, line, is_function_start| Frame {
        function: function.into(),
        file: Some("/app.js".into()),
        line: Some(line),
        is_function_start,
        ..Frame::default()
    };
    let stack =
        |frame| StackCount { frames: vec![frame], guilty: Some(0), count: 1, ..StackCount::default() };
    let (begins, ran, other) = (frame("read", 5, true), frame("read", 8, false), frame("parse", 9, false));
    for (stacks, expected) in [
        (vec![], None),
        (vec![&begins], Some(&begins)),
        (vec![&begins, &other], Some(&begins)),
        (vec![&begins, &other, &ran], Some(&ran)),
        (vec![&ran, &begins], Some(&ran)),
        (vec![&other, &ran], Some(&other)),
    ] {
        let stacks = stacks.into_iter().cloned().map(stack).collect();
        let incident = Incident { stacks, ..incident() };
        assert_eq!(incident.guilty_frame(), expected);
    }
}
