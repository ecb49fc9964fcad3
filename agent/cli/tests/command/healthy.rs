//! A health check tells a healthy agent from an address where nobody is.

use crate::child::Running;
use crate::scratch::Scratch;

#[test]
fn an_agent_is_healthy_until_it_is_gone() {
    let scratch = Scratch::new("healthy");
    let mut demo = Running::demo(&scratch, &["--rate", "5"]);
    let url = format!("http://{}", demo.address("metrics"));
    let done = scratch.run(&["healthy", &url]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.starts_with("healthy: watching "), "{}", done.stdout);

    demo.signal("TERM");
    demo.end();
    let done = scratch.run(&["healthy", &url]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(done.stderr.contains(&url) && done.stderr.contains("connection refused"), "{}", done.stderr);
}

#[test]
fn an_answer_that_is_not_200_is_not_healthy() {
    let scratch = Scratch::new("healthy-service");
    let mut demo = Running::demo(&scratch, &["--rate", "5"]);
    // The demo's service has no such path.
    let done = scratch.run(&["healthy", &format!("http://{}", demo.address("service"))]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("answered 404"), "{}", done.stderr);
    assert_eq!(scratch.run(&["healthy", "ftp://127.0.0.1:1"]).code, Some(2));
}
