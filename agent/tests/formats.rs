//! The page over HTTP: which format and coding it comes in, and that all formats tell the same.

mod support;

use flate2::read::GzDecoder;
use loopscope_agent::Agent;
use loopscope_probe::Kind;
use std::io::{Read, Write};
use support::{HandLoop, builder, connect, turn};

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// An answer whose body need not be text.
struct Page {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn ask(agent: &Agent, method: &str, headers: &str) -> Page {
    let mut stream = connect(agent);
    let request =
        format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Page { status, head, body: answer[end..].to_vec() }
}

#[test]
fn each_format_is_had_by_its_name_and_text_otherwise() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let _hand = HandLoop::start("main");
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let protobuf =
        "application/vnd.google.protobuf; proto=io.prometheus.client.metricfamily; encoding=delimited";
    let text = "text/plain; version=0.0.4; charset=utf-8";
    for (accept, expected) in [
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", open),
        (PROTOBUF, protobuf),
        ("image/png", text),
        ("\u{e9};;;,,,q=", text),
    ] {
        let page = ask(&agent, "GET", &format!("Accept: {accept}\r\n"));
        assert_eq!((page.status, page.header("content-type")), (200, Some(expected)), "{accept}");
        assert_eq!(page.header("vary"), Some("accept, accept-encoding"));
        assert_eq!(page.header("content-encoding"), None);
        assert_eq!(page.body.ends_with(b"\n# EOF\n"), expected == open);
    }
    let page = ask(&agent, "GET", "");
    assert_eq!(page.header("content-type"), Some(text));
    // Pages were had in all three, so all are counted.
    let page = String::from_utf8(page.body).unwrap();
    for format in ["text", "openmetrics", "protobuf"] {
        let series = format!("loopscope_agent_scrape_duration_seconds_count{{format=\"{format}\"}} ");
        assert!(page.contains(&series), "{page}");
    }
}

#[test]
fn gzip_holds_the_same_page_and_head_has_no_body() {
    let _turn = turn();
    let agent = builder().process_metrics(false).start().unwrap();
    let _hand = HandLoop::start("main");
    for accept in ["text/plain", PROTOBUF] {
        let page =
            ask(&agent, "GET", &format!("Accept: {accept}\r\nAccept-Encoding: br;q=1, gzip;q=0.5\r\n"));
        assert_eq!(page.header("content-encoding"), Some("gzip"));
        let mut plain = Vec::new();
        GzDecoder::new(&page.body[..]).read_to_end(&mut plain).unwrap();
        let name = b"loopscope_loop_iterations_total";
        assert!(plain.windows(name.len()).any(|part| part == name), "{accept}");
        assert!(page.body.len() < plain.len() / 2, "{} of {}", page.body.len(), plain.len());
        let head = ask(&agent, "HEAD", &format!("Accept: {accept}\r\nAccept-Encoding: gzip\r\n"));
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-type"), page.header("content-type"));
        assert_eq!(head.header("content-encoding"), Some("gzip"));
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!(length.abs_diff(page.body.len()) < page.body.len() / 2, "{length}");
    }
    let page = ask(&agent, "GET", "Accept-Encoding: gzip;q=0\r\n");
    assert_eq!(page.header("content-encoding"), None);
}

#[test]
fn headers_of_a_megabyte_are_refused_and_nobody_is_held_up() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let hand = HandLoop::start("main");
    hand.block(Kind::Timer, "work");
    for headers in [
        format!("Accept: {}\r\n", "text/plain,".repeat(100_000)),
        (0..2_000).map(|number| format!("X-{number}: {}\r\n", "y".repeat(500))).collect::<String>(),
    ] {
        let page = ask(&agent, "GET", &headers);
        assert!(matches!(page.status, 431 | 400 | 0), "{}", page.head);
        assert_eq!(ask(&agent, "GET", "").status, 200);
    }
    // What fits is read, however strange.
    let page = ask(&agent, "GET", &format!("Accept: {}{PROTOBUF}\r\n", "a/b;q=0.1,".repeat(40)));
    assert!(page.header("content-type").unwrap().contains("protobuf"));
}
