//! `flame` finds the guilty site, and writes a file exactly when there is something in it.

use crate::child::{Running, get};
use crate::scratch::Scratch;
use std::collections::HashMap;
use std::fs;

/// Adds up a folded file by the frame at this depth; the widest first.
fn widest(folded: &str, depth: usize) -> Vec<(u64, String)> {
    let mut sums: HashMap<String, u64> = HashMap::new();
    for line in folded.lines() {
        let (stack, us) = line.rsplit_once(' ').unwrap();
        if let Some(frame) = stack.split(';').nth(depth) {
            *sums.entry(frame.to_owned()).or_default() += us.parse::<u64>().unwrap();
        }
    }
    let mut widest: Vec<(u64, String)> = sums.into_iter().map(|(frame, us)| (us, frame)).collect();
    widest.sort_by(|a, b| b.cmp(a));
    widest
}

#[test]
fn the_guilty_site_is_the_widest_frame() {
    let scratch = Scratch::new("flame-block");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "50"]);
    let done =
        scratch.run(&["flame", &demo.pid(), "--for", "3s", "--format", "folded", "-o", "block.folded"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let folded = scratch.read("block.folded");
    let sites = widest(&folded, 2);
    assert!(sites[0].1.contains("parse_invoices") && sites[0].1.contains("trouble.rs"), "{sites:?}");
    // A block of 300 ms every 2 s is in any 3 s at least once.
    assert!(sites[0].0 >= 290_000, "{sites:?}");
    let spans = widest(&folded, 4);
    assert!(spans[0].1.contains("sum_amounts"), "{spans:?}");
    assert!(
        done.stdout.contains("parse_invoices") && done.stdout.contains("block.folded"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_picture_is_written_and_an_old_one_replaced() {
    let scratch = Scratch::new("flame-svg");
    let mut demo = Running::demo(&scratch, &["--rate", "200"]);
    fs::write(scratch.work().join("out.svg"), "old").unwrap();
    // The only process that is there, by its loop's name, and by its agent's address.
    let url = format!("http://{}", demo.address("metrics"));
    for target in [&[][..], &["web"], &[&url]] {
        let arguments = [&["flame", "--for", "1s", "-o", "out.svg"], target].concat();
        let done = scratch.run(&arguments);
        assert_eq!(done.code, Some(0), "{target:?}: {}", done.stderr);
        let svg = scratch.read("out.svg");
        assert!(svg.contains("<svg") && svg.contains("serve_connection"), "{target:?}");
        assert_eq!(scratch.written(), ["out.svg"]);
        // Also where an agent drew it, and sent no stacks.
        assert!(
            done.stdout.contains("The widest:") && done.stdout.contains("serve_connection"),
            "{}",
            done.stdout
        );
    }
    let json = scratch.run(&["flame", "--for", "1s", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(summary["ended"], "in_time");
    assert!(scratch.written().contains(&format!("loopscope-{}.svg", demo.pid())));
}

#[test]
fn a_difference_names_what_has_changed_and_fails_where_a_site_grew_by_too_much() {
    let scratch = Scratch::new("flame-diff");
    let demo = Running::demo(&scratch, &["--trouble", "block", "--rate", "20"]);
    // Before, another callback took all of the time, and much of it.
    for (before_us, above, code) in [(1, "10%", 4), (1, "100%", 0), (3_600_000_000_u64, "10%", 0)] {
        let before = format!("web;timers;gone (x.rs:1) {before_us}\n");
        fs::write(scratch.work().join("before.folded"), before).unwrap();
        let what = ["--diff", "before.folded", "-o", "diff.svg", "--loop", "web", "--fail-above", above];
        let done = scratch.run(&[&["flame", &demo.pid(), "--for", "3s"], &what[..]].concat());
        let said = format!("{before_us} {above}: {:?}\n{}\n{}", done.code, done.stdout, done.stderr);
        assert_eq!(done.code, Some(code), "{said}");
        assert!(done.stdout.contains("Changes, as share of the larger of both totals:\n"), "{said}");
        assert!(done.stdout.contains("within") && done.stdout.contains("The widest:\n"), "{said}");
        assert_eq!(done.stderr.contains("more than --fail-above 10%"), code == 4, "{said}");
        let svg = scratch.read("diff.svg");
        assert!(svg.contains("<svg") && svg.contains("parse_invoices"), "{said}");
        fs::remove_file(scratch.work().join("diff.svg")).unwrap();
    }
}

#[test]
fn two_captures_of_before_are_compared_without_any_process() {
    let scratch = Scratch::new("flame-files");
    let write = |name: &str, lines: &str| fs::write(scratch.work().join(name), lines).unwrap();
    write("before.folded", "web;timers;steady (x.rs:1) 900\nweb;timers;grown (x.rs:2) 100\n");
    write("after.folded", "web;timers;steady (x.rs:1) 900\nweb;timers;grown (x.rs:2) 600\n");
    for (after, above, code) in
        [("after.folded", "10%", 4), ("after.folded", "60%", 0), ("before.folded", "0", 0)]
    {
        let what = ["flame", after, "--diff", "before.folded", "-o", "diff.svg", "--fail-above", above];
        let done = scratch.run(&what);
        let said = format!("{after} {above}: {:?}\n{}\n{}", done.code, done.stdout, done.stderr);
        assert_eq!(done.code, Some(code), "{said}");
        assert_eq!(
            done.stdout.contains("600 µs  web;timers;grown (x.rs:2)"),
            after == "after.folded",
            "{said}"
        );
        assert!(!done.stdout.contains("within") && !done.stdout.contains("steady"), "{said}");
        assert!(
            scratch.read("diff.svg").contains("after.folded, compared with before") || code == 0,
            "{said}"
        );
    }
    let json = scratch.run(&["flame", "after.folded", "--diff", "before.folded", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&summary["seconds"], &summary["file"]),
        (&serde_json::Value::Null, &"loopscope-after.folded-diff.svg".into())
    );
    for (wrong, said) in [
        (&["flame", "missing.folded", "--diff", "before.folded"][..], "TARGET missing.folded: No such file"),
        (
            &["flame", "after.folded", "--diff", "before.folded", "--loop", "web"],
            "--loop: two files are compared",
        ),
        // Also what an option would say where it is not given.
        (
            &["flame", "after.folded", "--diff", "before.folded", "--for", "10s"],
            "--for: two files are compared",
        ),
        (
            &["flame", "after.folded", "--diff", "before.folded", "--of", "callbacks"],
            "--of: two files are compared",
        ),
        (&["flame", "after.folded"], "no instrumented process"),
    ] {
        let done = scratch.run(wrong);
        assert!(done.code != Some(0) && done.stderr.contains(said), "{wrong:?}: {}", done.stderr);
    }
}

#[test]
fn a_loop_that_did_nothing_gives_no_file_and_code_3() {
    let scratch = Scratch::new("flame-nothing");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    let url = format!("http://{}", demo.address("metrics"));
    for target in [demo.pid(), url] {
        let done = scratch.run(&["flame", &target, "--for", "1s", "-o", "out.svg"]);
        assert_eq!(done.code, Some(3), "{target}: {}", done.stderr);
        assert!(done.stderr.contains("nothing to draw"), "{}", done.stderr);
        assert!(scratch.written().is_empty(), "{:?}", scratch.written());
    }
}

#[test]
fn an_unknown_target_is_code_3_and_several_are_listed() {
    let scratch = Scratch::new("flame-target");
    let none = scratch.run(&["flame"]);
    assert_eq!(none.code, Some(3));
    assert!(none.stderr.contains("loopscope demo"), "{}", none.stderr);
    let demos = [Running::demo(&scratch, &["--rate", "0"]), Running::demo(&scratch, &["--rate", "0"])];
    let unknown = scratch.run(&["flame", "no-such-name"]);
    assert_eq!(unknown.code, Some(3));
    assert!(unknown.stderr.contains("no-such-name") && unknown.stderr.contains(&demos[0].pid()));
    let several = scratch.run(&["flame"]);
    assert_eq!(several.code, Some(2));
    assert!(demos.iter().all(|demo| several.stderr.contains(&demo.pid())), "{}", several.stderr);
    assert!(scratch.written().is_empty());
}

#[test]
fn a_path_that_cannot_be_written_is_told_before_the_capture() {
    let scratch = Scratch::new("flame-path");
    let demo = Running::demo(&scratch, &["--rate", "0"]);
    // An hour would not end in time.
    let done = scratch.run(&["flame", &demo.pid(), "--for", "1h", "-o", "missing/out.svg"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("missing/out.svg"), "{}", done.stderr);
}

#[test]
fn an_interrupted_capture_is_written() {
    let scratch = Scratch::new("flame-interrupt");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    let arguments = ["flame", &demo.pid(), "--for", "1h", "--format", "folded", "-o", "-"];
    let mut flame = Running::start(&scratch, &arguments);
    flame.error_with("watching");
    let hello = get(&demo.address("service"), "/hello");
    assert!(hello.ends_with("hello\n"), "{hello}");
    flame.signal("INT");
    let (code, folded, stderr) = flame.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(folded.contains("serve_connection"), "{folded}");
    assert!(stderr.contains("Interrupted after"), "{stderr}");
}

#[test]
fn an_interrupted_capture_of_an_agent_is_written_too() {
    let scratch = Scratch::new("flame-interrupt-agent");
    let mut demo = Running::demo(&scratch, &["--rate", "50", "--trouble", "block"]);
    let url = format!("http://{}", demo.address("metrics"));
    for of in ["callbacks", "cpu"] {
        let arguments = ["flame", &url, "--of", of, "--for", "300s", "--format", "folded", "-o", "-"];
        let mut flame = Running::start(&scratch, &arguments);
        flame.error_with("watching");
        // A block that begins from now on, and its end: something is in the capture.
        demo.next_error_with("blocked for");
        demo.next_error_with("polls again");
        flame.signal("INT");
        let (code, folded, stderr) = flame.end();
        assert_eq!(code, Some(0), "{stderr}");
        assert!(folded.contains("web;timers;parse_invoices ("), "{of}: {folded}");
        assert!(stderr.contains("Interrupted after"), "{stderr}");
    }
}

#[test]
fn a_process_that_ends_during_the_capture_is_drawn_until_then() {
    let scratch = Scratch::new("flame-end");
    let mut demo = Running::demo(&scratch, &["--rate", "0"]);
    let arguments = ["flame", &demo.pid(), "--for", "1h", "--format", "folded", "-o", "-"];
    let mut flame = Running::start(&scratch, &arguments);
    flame.error_with("watching");
    get(&demo.address("service"), "/hello");
    demo.signal("INT");
    demo.end();
    let (code, folded, stderr) = flame.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(folded.contains("serve_connection"), "{folded}");
    assert!(stderr.contains("The process exited after"), "{stderr}");
}

#[test]
fn a_file_that_may_not_be_so_large_is_an_error_and_leaves_nothing() {
    let scratch = Scratch::new("flame-limit");
    let demo = Running::demo(&scratch, &["--rate", "200"]);
    let limited = |arguments: &str| {
        let mut command = scratch.command(&[]);
        let program = command.get_program().to_owned();
        command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -f 1; exec \"$0\" {arguments}")]).arg(program);
        command.env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime()).current_dir(scratch.work());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let pid = demo.pid();
    let (code, stderr) = limited(&format!("flame {pid} --for 1s -o out.svg"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("out.svg") && stderr.contains("ulimit -f"), "{stderr}");
    assert_eq!(scratch.written(), [""; 0]);
    let (code, stderr) = limited(&format!("flame {pid} --for 1s -o - > piped.svg"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("stdout") && stderr.contains("ulimit -f"), "{stderr}");
}
