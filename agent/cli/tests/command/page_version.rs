//! A page of another version is refused by every command with one sentence: which version it has, which is ours, what to do.

use crate::child::{Running, until};
use crate::scratch::Scratch;
use loopscope_probe::raw::page::VERSION;
use std::fs;
use std::os::unix::fs::FileExt;

/// Starts a demo and makes its pages such as the release before this one wrote.
fn earlier(scratch: &Scratch) -> Running {
    let demo = Running::demo(scratch, &["--rate", "0"]);
    for path in until(|| Some(scratch.pages()).filter(|pages| !pages.is_empty())) {
        // The version is the second word of the page.
        let page = fs::OpenOptions::new().write(true).open(path).unwrap();
        page.write_all_at(&(VERSION - 1).to_ne_bytes(), 8).unwrap();
    }
    demo
}

#[test]
fn a_page_of_version_2_is_refused_by_every_command_with_one_sentence() {
    assert_eq!(VERSION, 3);
    let scratch = Scratch::new("page-version");
    let demo = earlier(&scratch);
    let pid = demo.pid();
    let sentence = "has page version 2, but this program reads version 3; use the loopscope release of the watched program";
    for (command, code) in [
        (&["ls"][..], 0),
        (&["ls", "--json"], 0),
        (&["top", "--once"], 0),
        (&["top", "--once", "--json"], 0),
        (&["incidents"], 0),
        (&["incidents", "--json"], 0),
        (&["incidents", &pid], 0),
        (&["doctor", "--for", "100ms"], 3),
        (&["doctor", &pid, "--for", "100ms"], 3),
        (&["flame", &pid, "--for", "100ms"], 3),
        (&["threshold", &pid], 3),
        (&["doctor", "web", "--for", "100ms"], 3),
    ] {
        let done = scratch.run(command);
        let said = format!("{}{}", done.stdout, done.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(sentence) && said.contains(".page"), "{command:?}: {said}");
        assert_eq!(done.code, Some(code), "{command:?}: {said}");
    }
    let mut serve = Running::start(&scratch, &["serve", "--listen", "127.0.0.1:0"]);
    let said = serve.error_with("page version 2");
    assert!(said.contains(sentence), "{said}");
}
