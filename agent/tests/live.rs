//! The live page over HTTP: who gets it, under which policy, and what its data tells while a loop is blocked.

mod support;

use loopscope_agent::Agent;
use loopscope_probe::Kind;
use serde_json::Value;
use std::time::Duration;
use support::{Answer, HandLoop, builder, get, request, turn, until};

fn get_as(agent: &Agent, path: &str, accept: &str) -> Answer {
    let head = format!("Host: localhost\r\nAccept: {accept}\r\nConnection: close");
    request(agent, &format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n"))
}

fn live(agent: &Agent, query: &str) -> Value {
    let answer = get(agent, &format!("/debug/loopscope/live{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn browsers_get_the_page_and_others_the_list_of_paths() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (path, accept) in [("/", browser), ("/live", browser), ("/live", "*/*")] {
        let page = get_as(&agent, path, accept);
        assert_eq!(page.status, 200);
        assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
        let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self' data:;";
        assert!(page.head.contains(policy), "{}", page.head);
        assert!(!page.body.contains("<script>") && !page.body.contains("style="), "nothing is inline");
        assert!(!page.body.contains("//"), "nothing is from elsewhere");
    }
    let list = get_as(&agent, "/", "*/*");
    assert!(list.head.contains("content-type: text/plain") && list.head.contains("vary: accept"));
    assert!(list.body.contains("/metrics") && list.body.contains("/live"), "{}", list.body);
    let script = get(&agent, "/page/main.js");
    assert!(script.status == 200 && script.head.contains("text/javascript"), "{}", script.head);
    for bad in ["/page/", "/page/../../Cargo.toml", "/page/%2e%2e/lib.rs", "/page/page.html", "/livex"] {
        assert_eq!(get(&agent, bad).status, 404, "{bad}");
    }
}

#[test]
fn a_view_tells_a_stall_while_it_lasts_and_the_next_one_of_its_end() {
    let _turn = turn();
    let agent = builder().thresholds(Duration::from_millis(20), Duration::from_millis(120)).start().unwrap();
    let hand = HandLoop::start("main");
    let first = live(&agent, "");
    let told = |view: &Value| view["processes"][0]["loops"][0].clone();
    assert_eq!(told(&first)["state"]["kind"], "idle");
    assert_eq!(first["processes"][0]["base"], "debug/loopscope");
    hand.block(Kind::Timer, "flush");
    let mut view = first;
    until("the stall to be told", || {
        let next = live(&agent, &format!("?after={}", view["number"]));
        assert!(next["number"].as_u64() > view["number"].as_u64(), "no view comes twice");
        view = next;
        told(&view)["state"]["is_critical"] == true
    });
    let stalled = told(&view);
    assert_eq!((&stalled["name"], &stalled["state"]["kind"]), (&"main".into(), &"stalled".into()));
    let words = stalled["state"]["verdict"]["words"].as_str().unwrap();
    assert!(words.starts_with("timer flush ("), "{words}");
    assert_eq!(stalled["stalls"]["critical_count"], 1);
    assert_eq!(stalled["stalls"]["causes"]["callback"], 1);
    hand.park();
    let next = live(&agent, &format!("?after={}", view["number"]));
    assert_eq!(told(&next)["state"]["kind"], "idle");
    let interval_ns = next["interval_ns"].as_u64().unwrap();
    assert!((400_000_000..30_000_000_000).contains(&interval_ns), "{interval_ns}");
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    for query in ["?since=1", "?after=", "?after=-1", "?after=1&x"] {
        let answer = get(&agent, &format!("/debug/loopscope/live{query}"));
        assert!(answer.status == 400 && answer.body.starts_with("parameter"), "{query}: {answer:?}");
    }
}
