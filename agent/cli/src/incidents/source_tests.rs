//! Sets of incidents: joined, told apart by their ids, filtered, and picked.

use super::*;
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::incident::Class;

fn catch() -> IncidentSet {
    let found = |id: &str, begin_unix_ns| Found {
        incident: Incident { id: id.parse().unwrap(), pid: 47, begin_unix_ns, ..Incident::default() },
        origin: Origin::Page,
    };
    let mut catch = IncidentSet {
        found: vec![found("47-1", 5), found("47-3", 9), found("47-2", 9)],
        quiet: vec![found("47-7", 9)],
        ..IncidentSet::default()
    };
    catch.sort();
    catch
}

#[test]
fn incidents_of_processes_with_one_pid_are_told_apart_and_each_is_opened_by_its_name() {
    let of = |start: u64, begin_unix_ns| {
        let loop_id = LoopId::new(ProcessId::new(1, start, 7, 9), 0);
        let incident = Incident { id: "1-3".parse().unwrap(), loop_id, pid: 1, ..Incident::default() };
        Found { incident: Incident { begin_unix_ns, ..incident }, origin: Origin::Page }
    };
    let mut catch = IncidentSet { found: vec![of(50, 5), of(60, 9)], ..IncidentSet::default() };
    catch.sort();
    let ids: Vec<String> = catch.found.iter().map(|found| found.incident.id.to_string()).collect();
    assert_eq!(ids, ["1-3@60", "1-3@50"]);
    for (id, begin) in [("1-3@60", 9), ("1-3@50", 5), ("1-3@50-7-00000000000000000000000000000009", 5)] {
        assert_eq!(catch.pick(id).unwrap().incident.begin_unix_ns, begin);
    }
    assert!(catch.pick("1-3@70").unwrap_err().to_string().contains("1-3@50"));
}

#[test]
fn incidents_of_two_agents_of_a_process_are_told_apart_by_their_loops() {
    let process = ProcessId::new(47, 50, 7, 9);
    let of = |number: u64, ordinal, begin_unix_ns| Incident {
        id: IncidentId::new(process, number).short(),
        loop_id: LoopId::new(process, ordinal),
        pid: 47,
        process: "web".into(),
        r#loop: format!("loop {ordinal}"),
        begin_unix_ns,
        is_over: true,
        ..Incident::default()
    };
    let found = |incident| Found { incident, origin: Origin::Page };
    let mut catch = IncidentSet {
        found: vec![found(of(1, 0, 5)), found(of(1, 2, 9)), found(of(2, 0, 7))],
        ..IncidentSet::default()
    };
    // The file of an incident that its agent told of is not another one; that of the other agent is.
    catch.add_kept(vec![of(1, 0, 5), of(2, 3, 8)], &[]);
    catch.sort();
    let ids: Vec<String> = catch.found.iter().map(|found| found.incident.id.to_string()).collect();
    assert_eq!(ids, ["47-1.2", "47-2.3", "47-2.0", "47-1.0"], "in order of time");
    for (id, begin) in [("47-1.2", 9), ("47-1.0", 5), ("47-2.3", 8), ("47-1.0@50", 5), ("last", 9)] {
        assert_eq!(catch.pick(id).unwrap().incident.begin_unix_ns, begin, "{id}");
    }
    for id in ["47-1", "1"] {
        let failure = catch.pick(id).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let told = failure.to_string();
        assert!(told.contains("47-1.2  loop 2: ") && told.contains("47-1.0  loop 0: "), "{told}");
    }
    assert_eq!(catch.pick("47-1.1").unwrap_err().exit_code(), 3);
    // By the loop one of them is meant.
    catch.keep(&Filter { loop_name: Some("loop 2"), ..Filter::default() });
    assert_eq!(catch.pick("47-1").unwrap().incident.begin_unix_ns, 9);
}

#[test]
fn the_incidents_of_a_runtime_are_those_of_all_its_workers() {
    let of = |id: &str, label: &str, group: &str, worker| Found {
        incident: Incident {
            id: id.parse().unwrap(),
            r#loop: label.into(),
            group: group.into(),
            worker,
            ..Incident::default()
        },
        origin: Origin::Page,
    };
    let kept = |name: &str| {
        let all = [("47-1", "a", "web", Some(0)), ("47-2", "b", "web", Some(1)), ("47-3", "main", "", None)];
        let found = all.map(|(id, label, group, worker)| of(id, label, group, worker)).to_vec();
        let mut catch = IncidentSet { found, ..IncidentSet::default() };
        catch.keep(&Filter { loop_name: Some(name), ..Filter::default() });
        catch.found.iter().map(|found| found.incident.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kept("web"), ["47-1", "47-2"]);
    assert_eq!(
        (kept("web/1"), kept("b"), kept("main")),
        (vec!["47-2".to_owned()], vec!["47-2".to_owned()], vec!["47-3".to_owned()])
    );
    assert!(kept("").is_empty() && kept("web/2").is_empty());
}

#[test]
fn what_a_killed_process_kept_is_told_once_with_its_last_moment() {
    let process = ProcessId::new(47, 50, 7, 9);
    let of = |number: u64, begin_unix_ns, duration_ns, is_over| Incident {
        id: IncidentId::new(process, number).short(),
        loop_id: LoopId::new(process, 0),
        pid: 47,
        begin_unix_ns,
        duration_ns,
        is_over,
        ..Incident::default()
    };
    let page = Found { incident: of(13, 5_000_000_000, 900, false), origin: Origin::PageOfTheDead };
    let mut catch = IncidentSet { found: vec![page], ..IncidentSet::default() };
    let mut kept = vec![of(1, 1_000, 300, true), of(2, 2_000, 300, true), of(3, 5_000_000_500, 700, false)];
    (kept[2].stacks_in, kept[2].captures_suppressed) = (Some(1), 1);
    catch.add_kept(kept.clone(), &[]);
    catch.add_kept(kept, &[]);
    catch.sort();
    let told: Vec<_> = catch
        .found
        .iter()
        .map(|found| (found.incident.number(), found.incident.duration_ns, found.origin == Origin::Kept))
        .collect();
    assert_eq!(told, [(3, 900, false), (2, 300, true), (1, 300, true)]);
    // What only its agent knew is there, too: where a stack of the same culprit is.
    let last = &catch.found[0].incident;
    assert_eq!((last.stacks_in, last.captures_suppressed), (Some(1), 1));
    // Who read the page, as a server of the host does, calls it by that number.
    assert_eq!(catch.pick("47-13").unwrap().incident.number(), 3);
}

#[test]
fn filters_keep_what_is_of_the_class_and_not_older() {
    let of = |id: &str, class, begin_s: u64| Found {
        incident: Incident {
            id: id.parse().unwrap(),
            class,
            begin_unix_ns: begin_s * 1_000_000_000,
            duration_ns: 1_000_000_000,
            ..Incident::default()
        },
        origin: Origin::Page,
    };
    let kept = |filter: Filter<'_>| {
        let found = vec![
            of("47-1", Class::Computing, 10),
            of("47-2", Class::StarvedOfCpu, 20),
            of("47-3", Class::Computing, 30),
        ];
        let mut catch = IncidentSet { found, ..IncidentSet::default() };
        catch.keep(&filter);
        catch.found.iter().map(|found| found.incident.number()).collect::<Vec<_>>()
    };
    assert_eq!(kept(Filter { class: Some("starved"), ..Filter::default() }), [2]);
    // One that had begun before, and was not over.
    assert_eq!(kept(Filter { since_unix_ns: Some(20_500_000_000), ..Filter::default() }), [2, 3]);
    assert_eq!(kept(Filter::default()), [1, 2, 3]);
}

#[test]
fn an_incident_is_picked_by_id_number_or_as_the_last() {
    for (id, picked) in [("47-1", "47-1"), ("1", "47-1"), ("last", "47-3"), ("7", "47-7")] {
        assert_eq!(catch().pick(id).unwrap().incident.id.to_string(), picked);
    }
    let failure = catch().pick("9").unwrap_err();
    assert_eq!(failure.exit_code(), 3);
    assert!(failure.to_string().contains("`9`; there are:\n  47-3\n  47-2"), "{failure}");
    assert!(IncidentSet::default().pick("last").unwrap_err().to_string().contains("no incident"));
}
