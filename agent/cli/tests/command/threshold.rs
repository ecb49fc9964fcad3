//! Thresholds are shown and changed while the program runs.

use crate::child::Running;
use crate::scratch::Scratch;

#[test]
fn thresholds_are_changed_for_one_loop_and_stay_so() {
    let scratch = Scratch::new("threshold");
    let demo = Running::demo(&scratch, &["--rate", "5"]);
    let pid = demo.pid();
    let line = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let shown = scratch.run(&["threshold", &pid]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert_eq!(line(&shown.stdout, "web"), "web 100 ms 250 ms");
    let changed = scratch.run(&["threshold", &pid, "--loop", "web", "--warning", "50ms", "--critical", "2s"]);
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    let shown = scratch.run(&["threshold", &pid]).stdout;
    assert_eq!(
        (line(&shown, "web"), line(&shown, "load")),
        ("web 50 ms 2.0 s".into(), "load 100 ms 250 ms".into())
    );
    for (arguments, code, part) in [
        (
            &["threshold", "--loop", "nope", "--warning", "50ms"][..],
            3,
            "no loop `nope`; there are:\n  web\n  load",
        ),
        (&["threshold", "--loop", "load", "--warning", "1s"], 1, "refused"),
        (&["threshold", "--warning", "1ms"], 2, "lowest threshold is 2ms"),
        (&["threshold", "--warning", "2s", "--critical", "1s"], 2, "above --critical 1s"),
        (&["threshold", "4000001"], 3, "4000001"),
    ] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
    }
}

#[test]
fn the_agent_is_asked_by_its_socket_file_then_at_the_address_of_its_page() {
    let scratch = Scratch::new("threshold-socket");
    let mut demo = Running::demo(&scratch, &["--rate", "5"]);
    let pid = demo.pid();
    let is_socket = |name: &str| name.starts_with(&format!("agent-{pid}-")) && name.ends_with(".sock");
    let file = std::fs::read_dir(scratch.runtime())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| is_socket(&path.file_name().unwrap().to_string_lossy()))
        .expect("the agent has one beside its pages");
    // Only a socket file tells the agent which process asks.
    let changed = scratch.run(&["threshold", &pid, "--warning", "60ms"]);
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    let line = demo.error_with("stall thresholds of all loops changed");
    assert!(line.contains(" in process "), "{line}");
    std::fs::remove_file(&file).unwrap();
    let changed = scratch.run(&["threshold", &pid, "--warning", "70ms"]);
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    // A token is for who is known, and a page is no proof.
    let token = scratch.work().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let shown = scratch.run(&["threshold", &pid, "--token-file", token.to_str().unwrap()]);
    assert_eq!(shown.code, Some(0), "a token that the agent has not would be refused: {}", shown.stderr);
}
