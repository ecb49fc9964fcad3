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
        (&["threshold", "--warning", "1ms"], 2, "lowest threshold is 5ms"),
        (&["threshold", "--warning", "2s", "--critical", "1s"], 2, "above --critical 1s"),
        (&["threshold", "4000001"], 3, "4000001"),
    ] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
    }
}
