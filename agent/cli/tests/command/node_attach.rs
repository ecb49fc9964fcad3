//! `loopscope attach`: into processes that run, also into one that hangs, and out of them again.

use crate::child::{Running, until};
use crate::nodes::{program, versions, with_addon};
use crate::scratch::{Done, Scratch};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts a program on a port for its inspector that nobody else has.
pub fn start(scratch: &Scratch, node: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new(node);
    command.arg("--inspect-port=0").args(arguments).current_dir(scratch.work());
    command
        .env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime())
        .env_remove("LOOPSCOPE")
        .env_remove("NODE_OPTIONS");
    Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Starts a program in the same way, and waits until it says `waits`.
pub fn start_waiting(scratch: &Scratch, node: &Path, arguments: &[&str]) -> Running {
    let mut running = start(scratch, node, arguments);
    running.line_with("waits");
    running
}

pub fn attach(scratch: &Scratch, arguments: &[&str]) -> Done {
    let output = with_addon(scratch, &[&["attach"], arguments].concat()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Tells whether the inspector of the process listens: nothing else of these programs does.
pub fn listens(pid: &str) -> bool {
    let sockets = |link: std::io::Result<std::path::PathBuf>| {
        Some(link.ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let own: Vec<String> = files.filter_map(|file| sockets(fs::read_link(file.path()))).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[3] == "0A" && own.iter().any(|socket| socket == fields[9])
    })
}

/// A program that waits, and ends with code 9 when it is told to.
pub const WAITS: &str =
    "process.on('SIGTERM', () => process.exit(9)); console.log('waits'); setInterval(() => {}, 20);";

#[test]
fn a_process_that_runs_is_attached_to_and_left_as_it_was() {
    let scratch = Scratch::new("attach-runs");
    program(&scratch, "waits.js", WAITS);
    for (version, node) in versions() {
        let running = start_waiting(&scratch, &node, &["waits.js"]);
        let pid = running.pid();
        let done = attach(&scratch, &[&pid, "--listen", "off"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{what}");
        for part in ["waits.js, pid ", "Attached in ", "inspector is closed"] {
            assert!(done.stdout.contains(part), "{what}");
        }
        assert!(!listens(&pid), "{what}");
        assert!(scratch.run(&["ls"]).stdout.contains("waits.js"), "{what}");
        let again = attach(&scratch, &[&pid]);
        assert_eq!(
            (again.code, again.stdout.contains("Attached already")),
            (Some(0), true),
            "{}",
            again.stderr
        );

        let done = attach(&scratch, &[&pid, "--detach"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{what}");
        assert!(!listens(&pid) && scratch.pages().is_empty(), "{what}");
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
        assert_eq!(names.filter(|name| name.starts_with("loopscope")).count(), 0, "{what}");
        let again = attach(&scratch, &[&pid, "--detach"]);
        assert_eq!(again.code, Some(3), "{}", again.stderr);
        // And in again.
        assert_eq!(attach(&scratch, &[&pid, "--listen", "off"]).code, Some(0), "Node {version}");
        running.signal("TERM");
        assert_eq!(running.end().0, Some(9), "Node {version}");
    }
}

#[test]
fn a_process_in_an_endless_loop_is_attached_to_and_its_line_is_told_first() {
    let scratch = Scratch::new("attach-hangs");
    let hangs = "console.log('hangs');\nfunction forever() {\n  let x = 0;\n  for (;;) x++;\n}\nsetTimeout(forever, 20);\n";
    program(&scratch, "hangs.js", hangs);
    for (version, node) in versions() {
        let mut running = start(&scratch, &node, &["hangs.js"]);
        running.line_with("hangs");
        let pid = running.pid();
        // Its loop is entered when it has used some processor time.
        until(|| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            let ticks: u64 = fields.split(' ').nth(11).unwrap().parse().unwrap();
            (ticks > 40).then_some(())
        });
        let done = attach(&scratch, &[&pid, "--listen", "off"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{what}");
        let first = done.stdout.lines().next().unwrap();
        assert!(
            first.starts_with("Running now: ") && first.contains("forever") && first.contains("hangs.js:4:"),
            "{what}"
        );
        assert!(done.stdout.contains("inspector is closed") && !listens(&pid), "{what}");
        let listed = until(|| Some(scratch.run(&["ls"]).stdout).filter(|listed| listed.contains("STALLED")));
        assert!(listed.contains("running at attach"), "{listed}");
        let last = until(|| {
            Some(scratch.run(&["incidents", "last"]).stdout).filter(|told| told.contains("has not polled"))
        });
        assert!(last.contains("running at attach"), "{last}");
        let done = attach(&scratch, &[&pid, "--detach"]);
        assert_eq!((done.code, scratch.pages().len()), (Some(0), 0), "Node {version}: {}", done.stderr);
        running.signal("KILL");
        running.end();
    }
}

#[test]
fn what_cannot_be_attached_to_is_refused_and_goes_on() {
    let scratch = Scratch::new("attach-refused");
    program(&scratch, "waits.js", WAITS);
    program(&scratch, "handles.js", &format!("process.on('SIGUSR1', () => console.log('called'));\n{WAITS}"));
    for (version, node) in versions() {
        let mut cases = vec![(&["handles.js"][..], "handles SIGUSR1 itself")];
        // Option of later versions.
        if !["18", "20"].contains(&version) {
            cases.push((&["--disable-sigusr1", "waits.js"], "--disable-sigusr1"));
        }
        for (arguments, why) in cases {
            let running = start_waiting(&scratch, &node, arguments);
            let done = attach(&scratch, &[&running.pid()]);
            assert_eq!(
                (done.code, done.stderr.contains(why)),
                (Some(1), true),
                "Node {version}: {}",
                done.stderr
            );
            running.signal("TERM");
            let (code, said, _) = running.end();
            assert_eq!((code, said.contains("called")), (Some(9), false), "Node {version}: {said}");
        }
    }
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let done = attach(&scratch, &[&other.id().to_string()]);
    assert_eq!((done.code, done.stderr.contains("it is not Node.js")), (Some(1), true), "{}", done.stderr);
    assert!(other.try_wait().unwrap().is_none(), "it was not signalled");
    other.kill().unwrap();
    other.wait().unwrap();
    let gone = attach(&scratch, &[&other.id().to_string()]);
    assert_eq!(gone.code, Some(3), "{}", gone.stderr);
}

/// Each question is answered between two waits.
#[test]
fn an_inspector_that_stays_open_because_native_code_runs_is_said_once() {
    let scratch = Scratch::new("attach-native");
    let native = "console.log('native');\n\
                  for (;;) require('child_process').execSync('sleep 1.5');\n";
    program(&scratch, "native.js", native);
    for (version, node) in versions().into_iter().rev().take(1) {
        let mut running = start(&scratch, &node, &["native.js"]);
        running.line_with("native");
        let pid = running.pid();
        let done = attach(&scratch, &[&pid, "--listen", "off"]);
        let what = format!("Node {version}: {}{}", done.stdout, done.stderr);
        assert_eq!(done.stderr.matches("can run code as the user of the process").count(), 1, "{what}");
        assert!(done.stderr.contains("is open on 127.0.0.1:") && done.stderr.contains(&pid), "{what}");
        // It closes between two waits, if not yet.
        until(|| (!listens(&pid)).then_some(()));
    }
}

#[test]
fn an_inspector_that_is_open_already_is_left_alone() {
    let scratch = Scratch::new("attach-inspected");
    program(&scratch, "waits.js", WAITS);
    let Some((_, node)) = versions().pop() else { return };
    // The kernel gives a port that is free; Node takes it right after.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let running = start_waiting(&scratch, &node, &[&format!("--inspect={port}"), "waits.js"]);
    let done = attach(&scratch, &[&running.pid()]);
    assert_eq!(
        (done.code, done.stderr.contains("inspector is already open")),
        (Some(1), true),
        "{}",
        done.stderr
    );
    assert!(listens(&running.pid()));
}

#[test]
fn of_two_commands_at_the_same_time_one_attaches_and_nothing_breaks() {
    let scratch = Scratch::new("attach-twice");
    program(&scratch, "waits.js", WAITS);
    let Some((_, node)) = versions().pop() else { return };
    let running = start_waiting(&scratch, &node, &["waits.js"]);
    let pid = running.pid();
    let codes: Vec<Done> = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| attach(&scratch, &[&pid, "--listen", "off"])));
        both.map(|one| one.join().unwrap()).into()
    });
    assert!(codes.iter().any(|done| done.code == Some(0)), "{}{}", codes[0].stderr, codes[1].stderr);
    for done in &codes {
        let is_polite = done.stderr.contains("another command") || done.stderr.contains("inspector is open");
        assert!(done.code == Some(0) || is_polite, "{}", done.stderr);
    }
    assert_eq!(scratch.pages().len(), 1);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(9));
}

#[test]
fn a_process_that_ends_during_the_attach_is_said_to_have_ended() {
    let scratch = Scratch::new("attach-ends");
    let ends =
        "console.log('waits'); setInterval(() => { if (require('inspector').url()) process.exit(0); }, 1);";
    program(&scratch, "ends.js", ends);
    let Some((_, node)) = versions().pop() else { return };
    for _ in 0..5 {
        let running = start_waiting(&scratch, &node, &["ends.js"]);
        let done = attach(&scratch, &[&running.pid(), "--listen", "off"]);
        // It may be attached to before it ends.
        let is_told =
            done.code == Some(3) && (done.stderr.contains("ended") || done.stderr.contains("no process"));
        assert!(done.code == Some(0) || is_told, "{:?} {}", done.code, done.stderr);
        running.end();
    }
}
