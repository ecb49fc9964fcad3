//! Proof that each rule about sources finds what it looks for, and only that.

use super::*;
use crate::tracked::sample;

/// Asserts that the rule faults the bad text at that line and has nothing against the good one.
fn proves(rule: fn(&[Tracked]) -> Vec<Fault>, path: &str, bad: &str, line: usize, good: &str) {
    let faults = rule(&[sample(path, bad)]);
    let lines: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), fault.line)).collect();
    assert_eq!(lines, [(path, line)], "the bad sample");
    assert_eq!(rule(&[sample(path, good)]), [], "the good sample");
}

#[test]
fn a_file_without_a_sentence_at_its_top_is_found() {
    proves(first_line, "a.rs", "use std::fmt;\n", 1, "//! Says what this is\n//! for.\n\nuse std::fmt;\n");
    proves(first_line, "a.rs", "//! no sentence\n", 1, "//! `name` has its reason.\n");
}

#[test]
fn a_long_file_is_found() {
    proves(file_length, "a.rs", &"\n".repeat(601), 601, &"\n".repeat(600));
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| format!("\nfn long() {{\n{}}}\n", "    x(\"}\");\n".repeat(lines));
    proves(function_length, "a.rs", &function(59), 2, &function(58));
}

#[test]
fn a_name_without_an_idea_is_found() {
    assert_eq!(names(&[sample("agent/src/utils.rs", "")]).len(), 1);
    assert_eq!(names(&[sample("agent/src/common/a.rs", "")]).len(), 1);
    assert_eq!(names(&[sample("agent/src/commonly.rs", "")]), []);
}

#[test]
fn unsafe_outside_the_list_is_found() {
    proves(
        unsafe_code,
        "agent/src/lib.rs",
        "\nunsafe { f() }",
        2,
        "// unsafe\nlet x = \"unsafe\"; deny(unsafe_code);",
    );
    assert_eq!(unsafe_code(&[sample("loop/probe/src/mapping.rs", "unsafe { f() }")]), []);
}

#[test]
fn an_exception_that_nobody_needs_is_found() {
    let is_stale =
        |entry: &str, files: &[Tracked]| stale_entries(files).iter().any(|fault| fault.path == entry);
    let file = "loop/probe/src/mapping.rs";
    assert!(is_stale(file, &[sample(file, "fn safe() {}")]));
    assert!(is_stale(file, &[sample("loop/probe/src/moved.rs", "unsafe {}")]), "there is no such file");
    assert!(!is_stale(file, &[sample(file, "unsafe {}")]));
    assert!(is_stale("benches/", &[sample("loop/benches/a.rs", "")]), "there is no such folder");
    assert!(!is_stale("benches/", &[sample("benches/a.rs", "")]));
}

#[test]
fn a_feature_inside_a_function_is_found() {
    let good = "#[cfg(feature = \"x\")]\nmod a;\nfn f() { g() }";
    proves(features_in_functions, "a.rs", "fn f() {\n#[cfg(feature = \"x\")]\ng() }", 2, good);
    proves(features_in_functions, "a.rs", "fn f() {\nif cfg!(feature = \"x\") { g() } }", 2, good);
}

#[test]
fn a_clock_read_and_a_sleep_are_found() {
    for bad in ["\nInstant::now();", "\nstd::thread::sleep(x);", "\nstd::time::SystemTime::now();"] {
        proves(time, "agent/report/src/compute/lag.rs", bad, 2, "// Instant::now\nclock.now();");
        assert_eq!(time(&[sample("benches/src/a.rs", bad)]), []);
    }
    let deadline = "let deadline = Instant::now() + MINUTE;";
    assert_eq!(time(&[sample("tests/scrape.rs", deadline), sample("agent/src/a_tests.rs", deadline)]), []);
    assert_eq!(time(&[sample("agent/src/a.rs", deadline)]).len(), 1);
}

#[test]
fn what_was_put_off_is_found() {
    proves(put_off, "a.rs", "\n// TODO: later", 2, "let todo = \"TODO\";");
    proves(put_off, "a.rs", "\nfn f() { todo!() }", 2, "fn todo() {}");
}

#[test]
fn an_ignored_test_is_found() {
    proves(ignored_tests, "a.rs", "#[test]\n#[ignore]\nfn f() {}", 2, "// #[ignore]\n#[test]\nfn f() {}");
}

#[test]
fn an_unwrap_outside_tests_is_found() {
    let good = "fn f() { x.unwrap_or(1) }\n#[cfg(test)]\nmod tests { fn g() { x.unwrap() } }";
    proves(unwraps, "agent/src/a.rs", "fn f() {\n x.unwrap() }", 2, good);
    assert_eq!(unwraps(&[sample("examples/src/a.rs", "x.unwrap()")]), []);
}

#[test]
fn a_library_that_touches_the_panic_hook_is_found() {
    let good =
        "// set_hook\nself.set_hook_counts(1);\n#[cfg(test)]\nmod tests { fn f() { panic::set_hook(x); } }";
    for bad in ["fn f() {\n panic::set_hook(x) }", "fn f() {\n std::panic::take_hook() }"] {
        proves(panic_hooks, "loop/tokio/src/a.rs", bad, 2, good);
        assert_eq!(panic_hooks(&[sample("agent/cli/src/top/screen.rs", bad)]), []);
        assert_eq!(panic_hooks(&[sample("loop/engine/tests/panics.rs", bad)]), []);
    }
}

#[test]
fn a_report_that_asks_the_machine_is_found() {
    let good = "use std::{cmp::Ordering, io::Write};\nfn f(now: Ticks) { g(now.0, std::env::consts::ARCH, tokio, \"tokio::x\") }\n\
                #[cfg(test)]\nmod tests { use std::fs; fn f() { clock.now(); } }";
    for bad in [
        "\nlet now = Instant::now();",
        "\nlet now = std::time::SystemTime::now();",
        "\nlet now = self.clock.now();",
        "\nlet clock = Clock::real();",
        "\nuse std::{io, thread};",
        "\nuse std::time::Duration;",
        "\nstd::fs::read(x);",
        "\nuse std::net::TcpStream;",
        "\nstd::env::var(x);",
        "\nuse std::env;",
        "\nstd::process::id();",
        "\nuse tokio::sync::oneshot;",
        "\nfn f(x: hyper::Request) {}",
    ] {
        proves(pure_report, "agent/report/src/lag.rs", bad, 2, good);
        assert_eq!(pure_report(&[sample("agent/report/src/lag_tests.rs", bad)]), []);
        assert_eq!(pure_report(&[sample("agent/report/tests/lag.rs", bad)]), []);
    }
}
