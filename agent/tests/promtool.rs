//! Prometheus' own checker finds nothing to complain about on a page. Runs where `promtool` is installed.

mod support;

use loopscope_probe::Kind;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use support::{HandLoop, builder, get, turn, until, value};

#[test]
fn promtool_accepts_the_page_without_a_word() {
    let _turn = turn();
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: promtool on a page: install the package prometheus");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let agent = builder()
        .thresholds(std::time::Duration::from_millis(5), std::time::Duration::from_secs(1))
        .install_recorder(true)
        .start()
        .unwrap();
    let hand = HandLoop::start("a \"quoted\\ name");
    metrics::counter!("orders_total").increment(1);
    metrics::histogram!("order_seconds").record(0.2);
    hand.spans(2);
    hand.block(Kind::Timer, "flush;\n\"x\"\\");
    hand.flood(200);
    until("the stall to be counted", || {
        let page = get(&agent, "/metrics").body;
        page.lines().any(|line| line.starts_with("loopscope_starvation_active") && line.ends_with(" 1"))
    });
    hand.park();
    let page = get(&agent, "/metrics").body;
    assert!(value(&page, "orders_total") == Some(1.0));
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}
