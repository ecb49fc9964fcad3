//! The demo serves, misbehaves as told, and its agent answers while its loop does not.

use crate::child::{Running, exchange, get, until};
use crate::scratch::Scratch;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// Returns the value of a metric of the loop or pool `web` on a page of metrics; 0 where it is not there.
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let fits = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
            && line.contains("=\"web\"")
            && labels.iter().all(|label| line.contains(label))
    };
    let line = page.lines().find(fits);
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn metrics_answer_during_a_block_with_a_growing_stall_age() {
    let scratch = Scratch::new("demo-block");
    let mut demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "0"]);
    let agent = demo.address("metrics");
    let stall = || value(&get(&agent, "/metrics"), "loopscope_loop_stall_seconds", &[]);
    // The ages of one block, each later than the one before: the agent answers while the loop cannot.
    let ages = until(|| {
        let mut ages = vec![stall()];
        while ages.is_sorted_by(|one, next| one < next) && ages[ages.len() - 1] < 0.2 {
            ages.push(stall());
        }
        (ages.len() >= 3 && ages[ages.len() - 1] >= 0.2).then_some(ages)
    });
    assert!(ages[0] < 0.2 && ages[ages.len() - 1] < 10.0, "{ages:?}");
    // The agent lives all the time; the loop is not ready while it is stalled for long.
    assert!(get(&agent, "/-/healthy").starts_with("HTTP/1.1 200"));
    until(|| get(&agent, "/-/ready").starts_with("HTTP/1.1 503").then_some(()));
    until(|| get(&agent, "/-/ready").starts_with("HTTP/1.1 200").then_some(()));
}

#[test]
fn every_trouble_shows_under_its_own_name() {
    let starvation = "loopscope_starvation_total";
    let blocked = "loopscope_blocked_total";
    for (trouble, metric, label) in [
        ("microtasks", starvation, "cause=\"microtask\""),
        ("nexttick", starvation, "cause=\"nexttick\""),
        ("pool", "loopscope_pool_saturated_seconds_total", "pool=\"web\""),
        ("timers", blocked, "severity=\"warning\""),
    ] {
        let scratch = Scratch::new(&format!("demo-{trouble}"));
        let mut demo = Running::demo(&scratch, &["--trouble", trouble, "--rate", "20"]);
        let agent = demo.address("metrics");
        until(|| (value(&get(&agent, "/metrics"), metric, &[label]) > 0.0).then_some(()));
    }
}

#[test]
fn the_service_answers_keeps_connections_and_has_limits() {
    let scratch = Scratch::new("demo-http");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    let service = demo.address("service");
    for (path, body) in [
        ("/hello", "hello\n"),
        ("/work?ms=1", "\n"),
        ("/fs", "bytes\n"),
        ("/chain?n=10", "ran 10 microtasks\n"),
        ("/nothing", "no such route; see / for the list\n"),
    ] {
        let answer = get(&service, path);
        assert!(answer.ends_with(body), "{path}: {answer}");
    }
    // Pipelined: answered in order, though the first one waits for the pool.
    let three = "GET /work?ms=20 HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
                 HEAD /hello HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answers = exchange(&service, three);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    let (work, echo) = (answers.find("worked 20 ms").unwrap(), answers.find("abc").unwrap());
    assert!(work < echo && answers.ends_with("\r\n\r\n"), "{answers}");
    // A client that has sent everything and says so still gets its answer.
    let mut half = TcpStream::connect(&service).unwrap();
    half.write_all(b"GET /work?ms=20 HTTP/1.1\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut late = String::new();
    half.read_to_string(&mut late).unwrap();
    assert!(late.contains("worked 20 ms"), "{late}");
    for (request, status) in [
        ("\0\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9_000)), "431"),
        ("POST /echo HTTP/1.1\r\nContent-Length: 70000\r\n\r\n".to_owned(), "413"),
        ("PUT /hello HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "405"),
    ] {
        let answer = exchange(&service, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    let page = get(&demo.address("metrics"), "/metrics");
    let own = page.lines().find(|line| {
        line.starts_with("demo_http_requests_total{") && line.contains("/echo") && line.contains("200")
    });
    assert!(own.is_some_and(|line| line.ends_with(" 1")), "the host's own counter is on the page: {own:?}");
}

#[test]
fn an_address_in_use_is_named_with_the_remedy() {
    let scratch = Scratch::new("demo-address");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    for (place, option) in [(1, "--listen"), (3, "--metrics-listen")] {
        let mut arguments = [&["demo"], &free[..]].concat();
        arguments[place + 1] = &address;
        let done = scratch.run(&arguments);
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        assert!(
            done.stderr.contains(&address) && done.stderr.contains("in use"),
            "{option}: {}",
            done.stderr
        );
    }
}

#[test]
fn a_start_that_fails_leaves_no_page() {
    let scratch = Scratch::new("demo-leaves");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // The loop was there already, on a thread that raced with the end of the process.
    for _ in 0..24 {
        let done = scratch.run(&["demo", "--listen", &address, "--metrics-listen", "127.0.0.1:0"]);
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        assert_eq!(scratch.pages(), [""; 0].map(std::path::PathBuf::from));
    }
}

#[test]
fn two_demos_at_once_pick_different_ports() {
    let scratch = Scratch::new("demo-two");
    let mut demos = [Running::start(&scratch, &["demo"]), Running::start(&scratch, &["demo"])];
    let mut addresses: Vec<String> =
        demos.iter_mut().flat_map(|demo| [demo.address("service"), demo.address("metrics")]).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
}

#[test]
fn it_ends_by_time_and_by_interrupt_with_a_summary() {
    let scratch = Scratch::new("demo-end");
    let (code, by_time, stderr) =
        Running::demo(&scratch, &["--for", "3s", "--trouble", "block", "--rate", "50"]).end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(by_time.contains(" req/s | p99 lag "), "{by_time}");
    // How long it was, and whether there were more, is also the machine's doing.
    let stalls = by_time.lines().last().unwrap();
    // On a busy machine another callback may have had the worst.
    assert!(stalls.contains(" the worst ") && stalls.contains("(agent/cli/src/demo/"), "{by_time}");
    // A stall in which the end is asked for is told like any other.
    let mut demo = Running::demo(&scratch, &["--rate", "0", "--quiet", "--trouble", "block"]);
    demo.error_with("blocked for");
    demo.signal("INT");
    let (_, in_a_stall, stderr) = demo.end();
    let last = in_a_stall.lines().last().unwrap();
    assert!(
        last.contains("1 stall, the worst ") && last.contains("in timer parse_invoices ("),
        "{in_a_stall}{stderr}"
    );
    let demo = Running::demo(&scratch, &["--rate", "0", "--quiet", "--trouble", "pool", "--for", "4s"]);
    let (_, with_pool, stderr) = demo.end();
    assert!(with_pool.contains("The pool was full with jobs queued for "), "{with_pool}{stderr}");
    let demo = Running::demo(&scratch, &["--rate", "0", "--quiet"]);
    demo.signal("INT");
    let (code, by_interrupt, stderr) = demo.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(by_interrupt.contains("Served 0 requests"), "{by_interrupt}");
    assert!(!by_interrupt.contains("req/s |"), "{by_interrupt}");
    assert!(scratch.pages().is_empty(), "pages of loops that ended in order are removed");
}

#[test]
fn it_serves_under_a_small_limit_on_the_size_of_files() {
    let scratch = Scratch::new("demo-limit");
    let program = scratch.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    let arguments = "demo --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --trouble block --incidents-dir kept --for 4s";
    command.args(["-c", &format!("ulimit -f 1; exec \"$0\" {arguments}")]).arg(program);
    command.env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime()).current_dir(scratch.work());
    let mut demo =
        Running::of(command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()));
    demo.error_with("visible only to this process");
    demo.error_with("kept only in memory");
    let (code, _, stderr) = demo.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(scratch.pages(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn turned_off_it_serves_and_says_that_nothing_is_told() {
    let scratch = Scratch::new("demo-off");
    let mut command = scratch.command(&[
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--trouble",
        "block",
        "--for",
        "3s",
        "--rate",
        "20",
    ]);
    command.env("LOOPSCOPE", "off").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut demo = Running::of(&mut command);
    demo.line_with("LOOPSCOPE=off: no page, no agent");
    let service = demo.address("service");
    assert!(get(&service, "/hello").ends_with("hello\n"));
    let listed = scratch.run(&["ls"]);
    assert!(listed.stdout.contains("No instrumented process") && listed.code == Some(0), "{}", listed.stdout);
    let threads = std::fs::read_dir(format!("/proc/{}/task", demo.pid())).unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    let ours: Vec<String> = names.filter(|name| name.starts_with("loopscope-")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert_eq!(scratch.pages(), [""; 0].map(std::path::PathBuf::from));
    let (code, stdout, stderr) = demo.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!stdout.contains("stall"), "nothing was measured: {stdout}");
}
