//! Flamegraphs over HTTP: what ran, what still runs, and nothing.

mod support;

use loopscope_probe::Kind;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{HandLoop, builder, get, turn};

const ONE_SECOND: &str = "/debug/loopscope/flamegraph?seconds=1";

#[test]
fn a_capture_shows_callbacks_and_the_spans_inside_them() {
    use tracing_subscriber::layer::SubscriberExt;
    let _turn = turn();
    let subscriber = tracing_subscriber::registry().with(loopscope_agent::SpanLayer::new());
    // Only this test program; no other test of it installs one.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    let is_over = AtomicBool::new(false);
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
    assert!(request + query <= 1_500_000, "{}", answer.body);
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
    assert!(answer.body.contains("nothing ran in these 1 seconds"), "{}", answer.body);
}

#[test]
fn a_third_capture_at_once_is_refused() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let captures: Vec<_> = (0..3).map(|_| scope.spawn(|| get(&agent, ONE_SECOND).status)).collect();
        captures.into_iter().map(|capture| capture.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);
    hand.park();
}
