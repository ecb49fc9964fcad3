//! `loopscope attach` to what it leaves alone: one sentence says why and what to do, and nothing is left behind.

use crate::child::{Running, until};
use crate::node_attach::{WAITS, attach, listens, start_waiting};
use crate::nodes::{program, versions, with_addon};
use crate::scratch::{Done, Scratch};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Another user than whoever runs the tests.
const OTHER_USER: u32 = 65534;

/// Checks a refusal: its code, that it is one line with these parts, and that no file of it is left.
fn assert_refused(scratch: &Scratch, done: &Done, code: i32, parts: &[&str]) {
    let said = &done.stderr;
    assert_eq!((done.code, done.stdout.as_str()), (Some(code), ""), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("ws://") && said.len() < 400, "{said}");
    let left = fs::read_dir(scratch.runtime()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.count(), 0, "nothing is left in the runtime directory");
}

/// Checks that a program that waits was not touched, and ends it.
fn assert_untouched(version: &str, running: Running) {
    assert!(!listens(&running.pid()), "Node {version}");
    running.signal("TERM");
    let (code, _, complained) = running.end();
    assert_eq!((code, complained.contains("Debugger")), (Some(9), false), "Node {version}: {complained}");
}

/// A process that was started for a test, and ends with it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_of_another_user_is_left_alone() {
    let scratch = Scratch::new("refused-user");
    if versions().is_empty() {
        return;
    }
    let other = match Command::new("sleep").arg("60").uid(OTHER_USER).spawn() {
        Ok(other) => Ended(other),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: another user's process: this user can start none");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let pid = other.0.id().to_string();
    let done = attach(&scratch, &[&pid]);
    let user = format!("uid {OTHER_USER}");
    assert_refused(&scratch, &done, 1, &[&pid, &user, &format!("sudo -u '#{OTHER_USER}'")]);
}

/// The command of another user sees the process, and may do nothing to it.
#[test]
fn another_user_may_not_attach() {
    let scratch = Scratch::new("refused-stranger");
    program(&scratch, "waits.js", WAITS);
    let Some((version, node)) = versions().pop() else { return };
    let running = start_waiting(&scratch, &node, &["waits.js"]);
    let mut command = with_addon(&scratch, &["attach", &running.pid()]);
    match command.uid(OTHER_USER).current_dir("/").output() {
        Ok(output) => {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let done =
                Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
            assert_refused(&scratch, &done, 1, &["it runs as uid", &format!("uid {OTHER_USER}")]);
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: the command of another user: this user can start none, or it may not read it");
        }
        Err(error) => panic!("{error}"),
    }
    assert_untouched(version, running);
}

#[test]
fn a_process_in_another_pid_namespace_is_left_alone() {
    let scratch = Scratch::new("refused-namespace");
    program(&scratch, "waits.js", WAITS);
    let Some((version, node)) = versions().pop() else { return };
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--"]).arg(&node).arg("waits.js");
    command.current_dir(scratch.work()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if Command::new("unshare").args(["--pid", "--fork", "true"]).status().map_or(true, |done| !done.success())
    {
        println!("skipped: another pid namespace: this user can make none");
        return;
    }
    let mut outer = Running::of(&mut command);
    outer.line_with("waits");
    let outer_pid = outer.pid();
    let children = fs::read_to_string(format!("/proc/{outer_pid}/task/{outer_pid}/children")).unwrap();
    let inner = children.trim();
    let done = attach(&scratch, &[inner]);
    assert_refused(
        &scratch,
        &done,
        1,
        &[inner, "another pid namespace", "run this command in it", "pid is 1"],
    );
    assert!(!listens(inner), "Node {version}");
}

#[test]
fn a_process_that_is_stopped_is_left_alone_and_one_that_has_ended_is_no_process() {
    let scratch = Scratch::new("refused-stopped");
    program(&scratch, "waits.js", WAITS);
    let Some((version, node)) = versions().pop() else { return };
    let running = start_waiting(&scratch, &node, &["waits.js"]);
    let pid = running.pid();
    let is_in_state = |pid: &str, state: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains(&format!("State:\t{state}")).then_some(())
    };
    running.signal("STOP");
    until(|| is_in_state(&pid, "T"));
    assert_refused(&scratch, &attach(&scratch, &[&pid]), 1, &[&pid, "stopped", &format!("kill -CONT {pid}")]);
    running.signal("CONT");
    assert_untouched(version, running);

    let ended = Ended(Command::new("true").spawn().unwrap());
    let pid = ended.0.id().to_string();
    until(|| is_in_state(&pid, "Z"));
    assert_refused(&scratch, &attach(&scratch, &[&pid]), 3, &[&pid, "no such process"]);
}

/// A handler that is removed takes Node's own with it, and the signal would end the program then.
#[test]
fn a_program_that_removes_its_handler_during_the_attach_lives() {
    let scratch = Scratch::new("refused-removed");
    let removes = "const lock = `${process.env.LOOPSCOPE_RUNTIME_DIR}/attach-${process.pid}.lock`;\n\
         const own = () => console.log('called');\n\
         process.on('SIGUSR1', own);\n\
         setInterval(() => { if (require('fs').existsSync(lock)) process.off('SIGUSR1', own); }, 1);\n";
    program(&scratch, "removes.js", &format!("{removes}{WAITS}"));
    for (version, node) in versions() {
        let running = start_waiting(&scratch, &node, &["removes.js"]);
        let done = attach(&scratch, &[&running.pid()]);
        assert_refused(&scratch, &done, 1, &["SIGUSR1", "loopscope run"]);
        assert_untouched(version, running);
    }
}

#[test]
fn a_restricted_program_is_refused_at_once_with_the_options_that_it_needs() {
    let scratch = Scratch::new("refused-permission");
    program(&scratch, "waits.js", WAITS);
    for (version, node) in versions() {
        let option = match version {
            "18" => continue,
            "20" => "--experimental-permission",
            _ => "--permission",
        };
        let own = format!("--allow-fs-read={}/*", scratch.work().display());
        let running = start_waiting(&scratch, &node, &[option, &own, "waits.js"]);
        let done = attach(&scratch, &[&running.pid()]);
        let parts =
            ["--permission", "--allow-inspector", "--allow-fs-read=", "--allow-addons", "loopscope run"];
        assert_eq!(done.code, Some(1), "Node {version}: {}", done.stderr);
        parts.iter().for_each(|part| assert!(done.stderr.contains(part), "Node {version}: {}", done.stderr));
        assert_untouched(version, running);
    }
}

#[test]
fn a_program_that_turned_loopscope_off_is_not_watched_and_says_so() {
    let scratch = Scratch::new("refused-off");
    program(&scratch, "waits.js", WAITS);
    for (version, node) in versions() {
        let mut command = Command::new(&node);
        command.args(["--inspect-port=0", "waits.js"]).current_dir(scratch.work());
        command.env("LOOPSCOPE_RUNTIME_DIR", scratch.runtime()).env("LOOPSCOPE", "off");
        let mut running = Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        running.line_with("waits");
        let done = attach(&scratch, &[&running.pid()]);
        assert_refused(&scratch, &done, 1, &[&running.pid(), "LOOPSCOPE=off is in its environment"]);
        assert!(!listens(&running.pid()), "Node {version}");
    }
}

#[test]
fn what_has_no_program_is_named_all_the_same() {
    let scratch = Scratch::new("refused-kernel");
    if versions().is_empty() || !Path::new("/proc/2/status").exists() {
        return;
    }
    let name = fs::read_to_string("/proc/2/comm").unwrap();
    // A thread of the kernel, where those are seen.
    if name.trim() != "kthreadd" {
        return;
    }
    let done = attach(&scratch, &["2"]);
    assert_refused(&scratch, &done, 1, &["process 2"]);
}
