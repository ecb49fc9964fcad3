//! Flamegraphs over HTTP: what ran, what still runs, and nothing.

mod support;

use loopscope_probe::{Clock, Kind};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use support::{HandLoop, builder, connect, get, request, turn};

const ONE_SECOND: &str = "/debug/loopscope/flamegraph?seconds=1";

#[test]
fn a_capture_shows_callbacks_and_the_spans_inside_them() {
    use tracing_subscriber::layer::SubscriberExt;
    let _turn = turn();
    let subscriber = tracing_subscriber::registry().with(loopscope_spans::SpanLayer::new());
    // Only this test program; no other test of it installs one.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    let is_over = AtomicBool::new(false);
    let (clock, begun) = (Clock::monotonic(), Clock::monotonic().now());
    let answer = std::thread::scope(|scope| {
        let capture = scope.spawn(|| {
            let answer = get(&agent, &format!("{ONE_SECOND}&format=folded"));
            is_over.store(true, Ordering::Relaxed);
            answer
        });
        while !is_over.load(Ordering::Relaxed) {
            hand.spans(5);
        }
        capture.join().unwrap()
    });
    let took_us = clock.ns_between(begun, clock.now()) / 1_000;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let us = |end: &str| -> u64 {
        let line = answer
            .body
            .lines()
            .find(|line| line.rsplit_once(' ').is_some_and(|(stack, _)| stack.ends_with(end)));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
            .unwrap_or_else(|| panic!("{end}: {}", answer.body))
    };
    let (request, query) = (us(")"), us(";query"));
    assert!(answer.body.starts_with("main;poll;request ("), "{}", answer.body);
    // Four fifths of each callback are in the span; the machine's other work may fall on either.
    assert!(query > request, "{}", answer.body);
    // On a busy machine its end comes late, and what ran until then is in it.
    assert!(request + query <= took_us, "in {took_us}: {}", answer.body);
}

#[test]
fn a_loop_that_is_blocked_throughout_shows_its_culprit() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "guilty");
    let answer = get(&agent, ONE_SECOND);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.head.contains("image/svg+xml") && answer.head.contains("content-security-policy"),
        "{}",
        answer.head
    );
    assert!(answer.body.contains("guilty (") && answer.body.contains("</svg>"));
    hand.park();
}

#[test]
fn a_loop_that_did_nothing_is_said_to_have() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let _hand = HandLoop::start("main");
    let answer = get(&agent, ONE_SECOND);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("nothing ran within 1 seconds"), "{}", answer.body);
}

#[test]
fn a_third_capture_at_once_is_refused() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    let mut answers: Vec<_> = std::thread::scope(|scope| {
        let captures: Vec<_> = (0..3).map(|_| scope.spawn(|| get(&agent, ONE_SECOND))).collect();
        captures.into_iter().map(|capture| capture.join().unwrap()).collect()
    });
    answers.sort_unstable_by_key(|answer| answer.status);
    assert_eq!([0, 1, 2].map(|number: usize| answers[number].status), [200, 200, 503]);
    let refused = &answers[2];
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    for part in ["2 captures in progress: callbacks for ", "uid ", "started ", "done in ", "Try again in 1 s"]
    {
        assert!(refused.body.contains(part), "{}", refused.body);
    }
    hand.park();
}

#[test]
fn a_page_of_another_site_cannot_make_the_process_capture() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let ask = |path: &str, site: &str| {
        let head = format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\nConnection: close\r\n\r\n");
        request(&agent, &format!("GET {path} HTTP/1.1\r\n{head}"))
    };
    // Refused for its parameters, after the question where it comes from, so that it takes no time.
    for path in ["/debug/pprof/profile?seconds=0", "/debug/loopscope/flamegraph?seconds=0"] {
        for site in ["cross-site", "same-site"] {
            let refused = ask(path, site);
            assert_eq!(refused.status, 403, "{path} {site}");
            assert!(refused.body.contains("loopscope flame"), "{}", refused.body);
        }
        for site in ["same-origin", "none"] {
            assert_eq!(ask(path, site).status, 400, "{path} {site}");
        }
    }
    assert_eq!(ask("/debug/loopscope/incidents", "cross-site").status, 200, "a link to what is only read");
    // A browser that does not say: plain HTTP to another address than loopback, or an old one.
    let ask = |from: &str| {
        let head = format!("Host: localhost\r\nUser-Agent: Mozilla/5.0\r\n{from}Connection: close\r\n\r\n");
        request(&agent, &format!("GET /debug/pprof/profile?seconds=0 HTTP/1.1\r\n{head}"))
    };
    for from in ["", "Referer: http://evil.example/\r\n", "Origin: null\r\n"] {
        assert_eq!(ask(from).status, 403, "{from}");
    }
    assert_eq!(ask("Referer: http://localhost/live\r\n").status, 400, "the live page");
    let page = request(&agent, "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(page.head.contains("referrer-policy: same-origin"), "{}", page.head);
}

/// Gets a path whose answer may be no text: its head in lower case, and its body.
fn get_bytes(agent: &loopscope_agent::Agent, path: &str) -> (String, Vec<u8>) {
    let mut stream = connect(agent);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase(), answer[end + 4..].to_vec())
}

#[test]
fn every_format_has_its_type_and_a_file_name() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "guilty");
    let ask = |format: &str| get_bytes(&agent, &format!("{ONE_SECOND}&format={format}&loop=main"));
    let check = |format: &str, content_type: &str, ending: &str, begin: &[u8]| {
        let (head, body) = ask(format);
        assert!(head.starts_with("http/1.1 200") && head.contains(content_type), "{format}: {head}");
        assert!(head.contains(&format!(".{ending}\"")), "{format}: {head}");
        assert!(body.starts_with(begin), "{format} begins with {:?}", &body[..20.min(body.len())]);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            check("pprof", "application/octet-stream", "pb.gz", &[0x1f, 0x8b]);
            check("speedscope", "application/json", "speedscope.json", b"{");
        });
        check("firefox", "application/json", "firefox.json", b"{");
        check("trace", "application/json", "trace.json", b"{\"traceEvents\":[");
    });
    hand.park();
}

#[test]
fn a_waiting_callback_is_sampled_with_what_it_waits_in() {
    let _turn = turn();
    let agent = builder().thresholds(std::time::Duration::from_millis(50), std::time::Duration::from_secs(1));
    let agent = agent.start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "guilty");
    let ask = |of: &str| get(&agent, &format!("{ONE_SECOND}&of={of}&format=folded&hz=199"));
    let (waits, stalls) = std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask("waits"));
        (waits.join().unwrap(), ask("stalls"))
    });
    for answer in [waits, stalls] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let line = answer.body.lines().find(|line| line.contains("[futex(")).expect(&answer.body);
        assert!(line.starts_with("main;timers;guilty (") && line.contains("recv"), "{line}");
    }
    hand.park();
    let idle = ask("stalls");
    assert_eq!(idle.status, 404);
    assert!(idle.body.contains("no loop stalled"), "{}", idle.body);
}

#[test]
fn an_idle_process_gives_a_puller_an_empty_profile() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let _hand = HandLoop::start("main");
    let (head, body) = get_bytes(&agent, "/debug/pprof/profile?seconds=1");
    assert!(head.starts_with("http/1.1 200") && head.contains("-cpu.pb.gz"), "{head}");
    assert_eq!(body[..2], [0x1f, 0x8b]);
}

#[test]
fn what_cannot_be_captured_is_told_with_the_parameter() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let _hand = HandLoop::start("main");
    for (query, status, part) in [
        ("of=memory", 400, "callbacks, cpu, stalls, waits"),
        ("of=cpu&hz=5000", 400, "from 49 to 997"),
        ("of=cpu&format=trace", 400, "parameter format"),
        ("loop=other", 404, "there are: main"),
    ] {
        let answer = get(&agent, &format!("/debug/loopscope/flamegraph?{query}"));
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert!(answer.body.contains(part), "{query}: {}", answer.body);
    }
}
