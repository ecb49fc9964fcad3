//! Lists of agents that tell too much, or of others, beside those that are as they should be.

use super::*;
use crate::access::Access;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_report::incident::{Group, Record};
use std::io::{Read, Write};
use std::net::TcpListener;

/// What the clock shows.
const NOW: u64 = 1_700_000_000_000_000_000;

/// The process that is asked.
const SEVEN: ProcessId = ProcessId::new(7, 0, 0, 0);

fn incident(pid: u32, number: u64, begin_unix_ns: u64) -> Incident {
    Incident { id: format!("{pid}-{number}").parse().unwrap(), pid, begin_unix_ns, ..Incident::default() }
}

fn json(incidents: &[Incident]) -> Vec<u8> {
    serde_json::to_vec(incidents).unwrap()
}

fn ids(incidents: &[Incident]) -> Vec<String> {
    incidents.iter().map(|incident| incident.id.to_string()).collect()
}

#[test]
fn a_list_is_read_as_it_is() {
    let told = [incident(7, 2, NOW), incident(7, 1, NOW - 1)];
    assert_eq!(read_list(&json(&told), SEVEN).unwrap(), told);
    assert_eq!(read_list(b" [ ] ", SEVEN), Some(vec![]));
    for foreign in ["", "{}", "null", "not found"] {
        assert_eq!(read_list(foreign.as_bytes(), SEVEN), None, "{foreign}");
    }
}

#[test]
fn what_is_not_an_incident_of_that_process_is_left_out() {
    let others =
        r#"[{"id":"8-1","pid":8},{},{"id":"8-2","pid":7},{"id":"7-x","pid":7},{"id":"7-3","pid":7},7,null]"#;
    assert_eq!(ids(&read_list(others.as_bytes(), SEVEN).unwrap()), ["7-3"]);
}

#[test]
fn a_list_that_was_cut_off_is_good_up_to_there() {
    let whole = json(&[incident(7, 2, NOW), incident(7, 1, NOW - 1)]);
    for length in 1..whole.len() {
        let read = read_list(&whole[..length], SEVEN).unwrap();
        assert!(read.len() <= 2 && read.iter().zip([2, 1]).all(|(found, number)| found.number() == number));
    }
}

#[test]
fn a_list_without_end_is_read_no_further_than_what_is_listed() {
    let empty = format!("[{}]", vec!["{}"; 300_000].join(","));
    assert_eq!(read_list(empty.as_bytes(), SEVEN), Some(vec![]));
    let own: Vec<_> = (0..2 * LISTED_MAX as u64).map(|number| incident(7, number, NOW)).collect();
    assert_eq!(read_list(&json(&own), SEVEN).unwrap().len(), LISTED_MAX);
}

#[test]
fn an_incident_of_too_many_parts_is_cut_and_a_very_long_one_left_out() {
    let groups = vec![Group::default(); 100];
    let records = vec![Record::default(); 9];
    let read = read_list(&json(&[Incident { groups, records, ..incident(7, 1, NOW) }]), SEVEN).unwrap();
    assert_eq!((read[0].groups.len(), read[0].records.len()), (PARTS_MAX, 0));
    assert_eq!(read[0].groups.capacity(), PARTS_MAX);
    let long = Incident { summary: "x".repeat(LISTED_BYTES_MAX), ..incident(7, 2, NOW) };
    assert_eq!(ids(&read_list(&json(&[long, incident(7, 1, NOW)]), SEVEN).unwrap()), ["7-1"]);
}

#[test]
fn incidents_of_the_future_come_last() {
    let incidents = vec![
        incident(7, 1, u64::MAX),
        incident(7, 2, NOW - 5),
        incident(7, 3, NOW + AHEAD_NS_MAX),
        incident(7, 4, NOW + AHEAD_NS_MAX + 1),
    ];
    let mut gathered = Gathered { incidents, ..Gathered::default() };
    gathered.cut(NOW);
    assert_eq!(ids(&gathered.incidents), ["7-3", "7-2", "7-4", "7-1"]);
}

#[test]
fn who_has_thousands_does_not_push_out_the_others() {
    let of = |pid: u32, count: u64, first: u64| {
        (1..=count).map(move |number| incident(pid, number, first + number))
    };
    let incidents = of(8, 3_000, NOW - 4_000).chain(of(7, 700, 0)).chain(of(9, 3, 0)).collect();
    let mut gathered = Gathered { incidents, ..Gathered::default() };
    gathered.cut(NOW);
    let count = |pid: u32| gathered.incidents.iter().filter(|incident| incident.pid == pid).count();
    assert_eq!((count(7), count(8), count(9)), (498, 499, 3));
    assert_eq!(ids(&gathered.incidents[..2]), ["8-3000", "8-2999"]);
    assert_eq!(ids(&gathered.incidents[499..500]), ["7-700"]);
}

/// Answers one question with this list. Returns the process whose agent that would be.
fn agent(pid: u32, list: Vec<u8>) -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Some(AgentAddress::Tcp(listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            question.push(byte[0]);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
        // Who asked has gone when it has read enough.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&list));
    });
    Asked {
        pid,
        process: ProcessId::new(pid, 1, 0, 0),
        name: "web".to_owned(),
        address,
        socket: Default::default(),
        user: None,
        loops: Vec::new(),
    }
}

#[test]
fn an_agent_that_tells_without_end_is_one_among_others() {
    let entry = r#"{"id":"8-1","pid":8,"begin_unix_ns":18446744073709551615}"#;
    let endless = format!("[{}]", vec![entry; 100_000].join(","));
    assert!(endless.len() > 4 * LIST_BYTES_MAX);
    let own = [incident(7, 2, NOW), incident(7, 1, NOW - 1)];
    let asked = vec![
        agent(8, endless.into_bytes()),
        agent(7, json(&own)),
        agent(9, json(&own)),
        agent(10, b"no list".to_vec()),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut gathered = runtime.block_on(gather(&Forwards::new(Access::default()), asked, Vec::new()));
    assert_eq!((gathered.answered, gathered.failed, gathered.dropped), (3, 1, 0));
    let [untold] = gathered.untold.as_slice() else { panic!("{:?}", gathered.untold) };
    assert_eq!((untold.pid, untold.because.as_deref()), (10, Some("its agent has no list of incidents")));
    assert_eq!(gathered.incidents.len(), LISTED_MAX);
    assert_eq!(ids(&gathered.incidents[..3]), ["7-2", "7-1", "8-1"]);
    gathered.add(vec![Arc::new(incident(10, 1, NOW + 1))]);
    assert_eq!(gathered.incidents.len(), LISTED_MAX);
    assert_eq!(ids(&gathered.incidents[..2]), ["10-1", "7-2"]);
}

#[test]
fn what_a_page_tells_beside_another_with_its_number_is_called_by_its_loop_too() {
    let of_loop = |number: u32| {
        let loop_id = format!("7-1-2-{:032x}.{number}", 3).parse().unwrap();
        Incident { loop_id, ..incident(7, 1, NOW - u64::from(number)) }
    };
    let mut gathered = Gathered { incidents: vec![of_loop(0)], ..Gathered::default() };
    gathered.add(vec![Arc::new(of_loop(0)), Arc::new(of_loop(2))]);
    assert_eq!(ids(&gathered.incidents), ["7-1.0", "7-1.2"]);
}
