//! The agent answers: while a loop is blocked, to bad requests, and to several at once.

mod support;

use loopscope_agent::{Agent, AgentError, Listen, ServerError};
use loopscope_probe::Kind;
use loopscope_report::incident::Incident;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::time::Duration;
use support::{HandLoop, builder, connect, get, request, turn, until, value};

fn metrics(agent: &Agent) -> String {
    let answer = get(agent, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    answer.body
}

#[test]
fn the_stall_s_age_grows_while_the_loop_is_blocked() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_millis(120)).start().unwrap();
    let hand = HandLoop::start("main");
    let stall = "loopscope_loop_stall_seconds{loop=\"main\"}";
    until("the loop to be seen idle", || value(&metrics(&agent), stall) == Some(0.0));
    assert_eq!(get(&agent, "/-/ready").status, 200);
    hand.block(Kind::Timer, "flush");
    until("the stall to be critical", || value(&metrics(&agent), stall).is_some_and(|age| age > 0.12));
    let (first, second) = (value(&metrics(&agent), stall), value(&metrics(&agent), stall));
    assert!(first < second, "{first:?} {second:?}");
    let ready = get(&agent, "/-/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("loop main has not polled for"), "{}", ready.body);
    assert!(!ready.body.contains("flush"), "what blocks it is told to who may know: {}", ready.body);
    assert_eq!(get(&agent, "/-/healthy").status, 200);
    let page = metrics(&agent);
    let one = |series: &str| assert_eq!(value(&page, series), Some(1.0), "{series}");
    one("loopscope_starvation_active{loop=\"main\",cause=\"callback\"}");
    one("loopscope_starvation_total{loop=\"main\",cause=\"callback\"}");
    one("loopscope_blocked_total{loop=\"main\",severity=\"warning\"}");
    one("loopscope_blocked_total{loop=\"main\",severity=\"critical\"}");
    hand.park();
    until("the loop to be ready again", || get(&agent, "/-/ready").status == 200);
    until("the end to be seen", || {
        value(
            &metrics(&agent),
            "loopscope_starvation_duration_seconds_count{loop=\"main\",cause=\"callback\"}",
        ) == Some(1.0)
    });
    let page = metrics(&agent);
    assert_eq!(value(&page, "loopscope_blocked_duration_seconds_count{loop=\"main\"}"), Some(1.0));
    assert_eq!(value(&page, "loopscope_blocked_total{loop=\"main\",severity=\"critical\"}"), Some(1.0));
}

#[test]
fn a_microtask_flood_is_named_while_it_lasts() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(10), Duration::from_secs(60)).start().unwrap();
    let hand = HandLoop::start("flooded");
    let (mut floods, mut is_named) = (0, false);
    while !is_named {
        hand.flood(300);
        floods += 1;
        until("the flood to be seen", || active_cause(&metrics(&agent)).is_some());
        // A job from which the machine took the processor for half the time is rightly called one long callback.
        is_named = active_cause(&metrics(&agent)).as_deref() == Some("microtask");
        assert!(is_named || floods < 20, "never named: {:?}", active_cause(&metrics(&agent)));
        hand.park();
        until("its end", || active_cause(&metrics(&agent)).is_none());
    }
    let page = metrics(&agent);
    assert_eq!(value(&page, "loopscope_starvation_total{loop=\"flooded\",cause=\"microtask\"}"), Some(1.0));
    assert_eq!(
        value(&page, "loopscope_microtask_jobs_total{loop=\"flooded\",queue=\"microtask\"}"),
        Some(300.0 * f64::from(floods))
    );
}

/// Returns what the loop called `flooded` is starved by now.
fn active_cause(page: &str) -> Option<String> {
    let line = page.lines().find_map(|line| {
        line.strip_prefix("loopscope_starvation_active{loop=\"flooded\",cause=\"")?.strip_suffix("\"} 1")
    });
    line.map(str::to_owned)
}

/// Returns the samples of a page that may only grow.
fn counters(page: &str) -> HashMap<String, f64> {
    let grows =
        |name: &str| ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| name.ends_with(suffix));
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(series, _)| grows(series.split('{').next().unwrap()))
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn counters_never_fall_and_no_scrape_resets_them() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    let mut before = counters(&metrics(&agent));
    for round in 0..40 {
        hand.block(if round % 2 == 0 { Kind::Timer } else { Kind::IoRead }, "work");
        if round % 3 == 0 {
            hand.park();
        }
        let after = counters(&metrics(&agent));
        for (series, value) in &before {
            let now = after.get(series).unwrap_or_else(|| panic!("{series} is gone"));
            assert!(now >= value, "{series} fell from {value} to {now}");
        }
        before = after;
    }
}

#[test]
fn two_scrapers_see_the_same() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    hand.park();
    let (first, second) = (metrics(&agent), metrics(&agent));
    for series in [
        "loopscope_callback_duration_seconds_count{loop=\"main\",kind=\"timer\"}",
        "loopscope_callback_duration_seconds_sum{loop=\"main\",kind=\"timer\"}",
        "loopscope_loop_iterations_total{loop=\"main\"}",
    ] {
        assert!(value(&first, series).is_some_and(|value| value > 0.0), "{series}");
        assert_eq!(value(&first, series), value(&second, series), "{series}");
    }
}

#[test]
fn the_host_s_own_metrics_are_on_the_page() {
    let _turn = turn();
    let agent = builder().install_recorder(true).start().unwrap();
    let _hand = HandLoop::start("main");
    metrics::describe_counter!("orders_total", "Orders taken.");
    metrics::counter!("orders_total", "path" => "C:\\x\"y\\\"z\n").increment(7);
    metrics::histogram!("order_seconds").record(0.3);
    metrics::counter!("loopscope_loop_iterations_total").increment(99);
    let page = crate::metrics(&agent);
    assert!(page.contains("# HELP orders_total Orders taken.\n# TYPE orders_total counter\n"), "{page}");
    assert_eq!(value(&page, "orders_total{path=\"C:\\\\x\\\"y\\\\\\\"z\\n\"}"), Some(7.0));
    assert!(page.contains("order_seconds_bucket{le=\"0.5\"}"));
    assert_eq!(page.matches("# TYPE loopscope_loop_iterations_total ").count(), 1);
    assert!(!page.contains("loopscope_loop_iterations_total 99"));
}

#[test]
fn the_page_names_its_program_and_process() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let program = std::env::current_exe().unwrap();
    let (name, pid) = (program.file_name().unwrap().to_str().unwrap(), std::process::id());
    // Also where no loop tells it.
    for hand in [None, Some(HandLoop::start("main"))] {
        let series = format!("loopscope_process_info{{name=\"{name}\",pid=\"{pid}\"}}");
        assert_eq!(value(&metrics(&agent), &series), Some(1.0), "{}", metrics(&agent));
        assert!(get(&agent, "/").body.starts_with(&format!("loopscope agent of {name} (pid {pid})\n")));
        let title = format!("<title>{name} · pid {pid} · loopscope</title>");
        assert!(get(&agent, "/live").body.contains(&title), "the live page");
        drop(hand);
    }
}

#[test]
fn loops_of_one_name_are_told_apart_and_names_are_escaped() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let _loops = [HandLoop::start("twin"), HandLoop::start("twin"), HandLoop::start("a\"b\\c")];
    let page = metrics(&agent);
    for label in ["twin", "twin#2", "a\\\"b\\\\c"] {
        let info = format!("loopscope_loop_info{{loop=\"{label}\",runtime=\"mio\",backend=\"hand\",");
        assert!(page.contains(&info), "{info}");
    }
}

#[test]
fn bad_requests_are_refused_by_name() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let get_status = |path: &str| get(&agent, path).status;
    assert_eq!(get_status("/"), 200);
    let missing = get(&agent, "/nothing");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("/debug/loopscope/flamegraph"), "{}", missing.body);
    for query in ["seconds=0", "seconds=x", "seconds=301", "format=png", "color=red"] {
        let answer = get(&agent, &format!("/debug/loopscope/flamegraph?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(query.split('=').next().unwrap()), "{}", answer.body);
    }
    let ask = |text: &str| request(&agent, text);
    let refused =
        ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: get, head"), "{}", refused.head);
    let rebound = ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403);
    let nameless = ask("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(nameless.status, 400);
    let head = ask("HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let huge = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(matches!(ask(&huge).status, 431 | 400 | 0));
    assert_eq!(ask("\u{0}\u{1}garbage\r\n\r\n").status, 400);
    assert_eq!(get_status("/metrics"), 200);
    let page = metrics(&agent);
    let refused = value(&page, "loopscope_agent_http_requests_total{path=\"/metrics\",code=\"405\"}");
    assert_eq!(refused, Some(1.0));
}

#[test]
fn what_is_sent_by_mistake_or_malice_is_answered_or_dropped() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    for path in ["/../../etc/passwd", "/%2e%2e/etc/passwd", "/debug/loopscope/incidents/../../x", "//metrics"]
    {
        assert_eq!(get(&agent, path).status, 404, "{path}");
    }
    let accept =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: image/webp;q=1, x/\r\nConnection: close\r\n\r\n";
    let answer = request(&agent, accept);
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    // A megabyte of header, in one and in many.
    let mut large = connect(&agent);
    let lines = "X-Large: 0123456789abcdef\r\n".repeat(40_000);
    // The server has heard enough long before, and closes.
    let _ = large.write_all(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").as_bytes());
    let mut rest = Vec::new();
    let _ = large.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    // A client that has said all it has to say may still be answered, and never holds its place.
    let mut half = connect(&agent);
    half.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(&agent, "/metrics").status, 200);
}

#[test]
fn slow_and_silent_clients_hold_nobody_up() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    // More than there is room for.
    let mut slow: Vec<_> = (0..160).map(|_| connect(&agent)).collect();
    for stream in &mut slow {
        // Some are refused already.
        let _ = stream.write_all(b"GET /metrics HTT");
    }
    // The head's time-out frees the places of the silent ones; the deadline of the test is far longer.
    until("a place to be free", || get(&agent, "/-/healthy").status == 200);
    for stream in &mut slow {
        let mut rest = Vec::new();
        // Closed by the server, orderly or not: that it returns at all is the point.
        let _ = stream.read_to_end(&mut rest);
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let mut stream = connect(&agent);
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ago\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn an_address_in_use_is_named_or_passed_over() {
    let _turn = turn();
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = holder.local_addr().unwrap();
    let error = Agent::builder().listen(Listen::Exactly(taken)).start().unwrap_err();
    assert!(matches!(error, AgentError::Server(ServerError::AddressInUse(address)) if address == taken));
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let agent = Agent::builder().listen(Listen::NextFree(taken)).start().unwrap();
    let found: SocketAddr = agent.address().unwrap();
    assert!(found.port() > taken.port(), "{found}");
    assert!(matches!(builder().start().unwrap_err(), AgentError::AlreadyRunning));
    agent.stop();
    let agent = Agent::builder().listen(Listen::Nowhere).start().unwrap();
    assert_eq!(agent.address(), None);
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    let _turn = turn();
    for (warning, critical) in [(0, 5), (6, 5)] {
        let (warning, critical) = (Duration::from_millis(warning), Duration::from_millis(critical));
        assert!(matches!(
            builder().thresholds(warning, critical).start(),
            Err(AgentError::Thresholds { .. })
        ));
    }
}

#[test]
fn loops_past_the_bound_share_one_label_and_lose_nothing() {
    let _turn = turn();
    let agent = builder().process_metrics(false).start().unwrap();
    let loops: Vec<HandLoop> = (0..67).map(|number| HandLoop::start(&format!("l{number}"))).collect();
    let other = "loopscope_loop_iterations_total{loop=\"_other\"}";
    for hand in &loops {
        hand.block(Kind::Timer, "work");
        hand.park();
    }
    let page = metrics(&agent);
    assert_eq!(page.matches("loopscope_loop_info{").count(), 65, "64 labels and the shared one");
    // Two iterations of each: one at its start, one now.
    assert_eq!(value(&page, other), Some(6.0));
    let left_out = "loopscope_agent_series_overflow{limit=\"loops\"}";
    assert_eq!(value(&page, left_out), Some(3.0));
    assert!(!page.contains("process_open_fds"));
    drop(loops);
    let page = metrics(&agent);
    assert_eq!(value(&page, other), Some(6.0), "what ended loops counted stays");
    assert_eq!(value(&page, left_out), Some(0.0), "nothing is left out any more");
    let series = page.matches("loopscope_loop_iterations_total{").count();
    assert_eq!(series, 1, "series of labelled loops end with them");
    assert_eq!(page.matches("loopscope_loop_info{").count(), 0, "there is no loop");
}

#[test]
fn thresholds_are_changed_while_the_program_runs() {
    let _turn = turn();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let agent =
        builder().thresholds(second, minute).loop_thresholds("b", second * 2, minute).start().unwrap();
    let (a, _b) = (HandLoop::start("a"), HandLoop::start("b"));
    let change = |query: &str, intent: &str| {
        let path = format!("/debug/loopscope/thresholds?{query}");
        request(
            &agent,
            &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{intent}\r\n"),
        )
    };
    let list = get(&agent, "/debug/loopscope/thresholds").body;
    assert!(list.contains(r#"{"loop":"b","name":"b","warning_ns":2000000000,"#), "{list}");
    assert_eq!(change("warning=20ms", "").status, 403);
    assert_eq!(get(&agent, "/debug/loopscope/thresholds?warning=20ms").status, 405);
    let intent = "X-Loopscope: 1\r\n";
    for (query, status) in
        [("warning=1.9ms", 400), ("", 400), ("loop=z&warning=9ms", 404), ("warning=2m", 400)]
    {
        assert_eq!(change(query, intent).status, status, "{query}");
    }
    let list = change("loop=a&warning=20ms", intent).body;
    assert!(list.contains(r#""loops":[{"loop":"a","name":"a","warning_ns":20000000,"#), "{list}");
    let blocked = "loopscope_blocked_total{loop=\"a\",severity=\"warning\"}";
    a.block(Kind::Timer, "work");
    until("a stall by the new threshold", || value(&metrics(&agent), blocked) == Some(1.0));
    a.park();
    assert!(change("warning=40ms", intent).body.contains(r#"{"loop":"b","name":"b","warning_ns":40000000,"#));
}

#[test]
fn incidents_are_answered_while_they_last_and_afterwards() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_secs(60)).start().unwrap();
    let hand = HandLoop::start("main");
    assert_eq!(get(&agent, "/debug/loopscope/incidents").body, "[]");
    hand.block(Kind::Timer, "flush");
    until("an open incident", || {
        get(&agent, "/debug/loopscope/incidents").body.contains("\"is_over\":false")
    });
    hand.park();
    let list = || -> Vec<Incident> {
        serde_json::from_str(&get(&agent, "/debug/loopscope/incidents").body).unwrap()
    };
    until("its end", || list().first().is_some_and(|incident| incident.is_over));
    let brief = list().remove(0);
    assert_eq!((brief.r#loop.as_str(), brief.culprit.name.as_str()), ("main", "flush"));
    assert!(brief.records.is_empty() && brief.duration_ns > 20_000_000);
    let full = get(&agent, &format!("/debug/loopscope/incidents/{}", brief.id));
    assert!(full.head.contains("content-type: application/json"), "{}", full.head);
    let full = Incident::parse(full.body.as_bytes()).unwrap();
    assert!(full.records.iter().any(|record| record.start_ns == 0 && record.run_ns > 20_000_000), "{full:?}");
    assert_eq!(get(&agent, "/debug/loopscope/incidents/1-1").status, 404);
    assert_eq!(get(&agent, &format!("/debug/loopscope/incidents/{}?format=png", brief.id)).status, 400);
    let page = metrics(&agent);
    let counted = |series: &str| value(&page, series);
    assert_eq!(counted("loopscope_incidents_total{loop=\"main\",kind=\"stall\"}"), Some(1.0));
    let path = "loopscope_agent_http_requests_total{path=\"/debug/loopscope/incidents/ID\",code=\"200\"}";
    assert_eq!(counted(path), Some(1.0));
}
