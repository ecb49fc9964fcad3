//! Help that teaches, and refusals that say what would do.

use crate::scratch::Scratch;

#[test]
fn every_subcommand_has_examples_and_exit_codes_in_its_help() {
    let scratch = Scratch::new("help");
    for subcommand in [
        "ls",
        "top",
        "doctor",
        "incidents",
        "flame",
        "serve",
        "threshold",
        "healthy",
        "run",
        "attach",
        "demo",
        "completions",
        "man",
    ] {
        let done = scratch.run(&[subcommand, "--help"]);
        assert_eq!(done.code, Some(0));
        let examples = done.stdout.matches(&format!("\n  loopscope {subcommand}")).count();
        assert!(examples >= 2, "{subcommand} has {examples} examples: {}", done.stdout);
        assert!(done.stdout.contains("Exit codes:\n  0  "), "{}", done.stdout);
    }
    let all = scratch.run(&["--help"]);
    for part in [
        "ls ",
        "top ",
        "doctor ",
        "incidents ",
        "flame ",
        "serve ",
        "threshold ",
        "healthy ",
        "run ",
        "attach ",
        "demo ",
        "completions ",
        "man ",
        "Exit codes:",
        "loopscope demo --trouble block",
    ] {
        assert!(all.stdout.contains(part), "`{part}` is not in {}", all.stdout);
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_code_2_and_a_way_out() {
    let scratch = Scratch::new("usage");
    for (arguments, parts) in [
        (&["flame", "--for", "10"][..], &["`10` has no unit", "500ms, 10s, 2m"][..]),
        (&["flame", "--for", "0s"], &["must not be zero", "--for"]),
        (&["flame", "--of", "memory"], &["callbacks", "cpu", "stalls", "waits"]),
        (&["flame", "--format", "png"], &["svg", "folded", "pprof", "speedscope", "firefox", "trace"]),
        (&["flame", "--of", "cpu", "--hz", "5"], &["--hz", "49"]),
        (&["flame", "--hz", "99"], &["--hz", "--of cpu"]),
        (&["flame", "--of", "cpu", "--format", "trace"], &["trace", "--of"]),
        (&["flame", "--diff", "missing.folded"], &["--diff missing.folded", "No such file"]),
        (&["flame", "--diff", "/dev/null", "--format", "pprof"], &["--diff", ".svg"]),
        (&["flame", "--diff", "/dev/null"], &["no stacks to compare"]),
        (&["flame", "--normalize"], &["--diff"]),
        (&["flame", "--fail-above", "10%"], &["--diff"]),
        (&["flame", "--diff", "/dev/null", "--fail-above", "much"], &["`much`", "10%"]),
        (&["flame", "-o", "x.png"], &["x.png", ".svg", "--format"]),
        (&["doctor", "--fail-on", "notice"], &["warning", "critical"]),
        (&["incidents", "--class", "lazy"], &["computing", "waiting", "starved", "pool"]),
        (&["flame", "--incident", "1-1", "--of", "cpu"], &["--incident", "--of"]),
        (&["flame", "--json", "-o", "-"], &["--json", "-o"]),
        (&["flame", "unix:agent.sock"], &["unix:/agent.sock"]),
        (&["demo", "--trouble", "fire"], &["block", "microtasks", "nexttick", "pool", "timers", "mixed"]),
        (&["demo", "--listen", "somewhere"], &["`somewhere`", "127.0.0.1:8080"]),
        (&["doctor", "--for", "1ms"], &["--for", "100ms"]),
        (&["completions", "tcsh"], &["bash", "zsh", "fish"]),
        (&["man", "lss"], &["loopscope-lss", "loopscope --help"]),
        (&["lss"], &["ls"]),
        (&[], &["Usage"]),
    ] {
        let done = scratch.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{arguments:?} does not say `{part}`: {}", done.stderr);
        }
        assert_eq!(done.stdout, "");
    }
}
