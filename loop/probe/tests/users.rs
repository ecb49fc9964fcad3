//! Whose directory pages go to: here it is shown, as several users, that root with the variables of another user leaves his
//! directory alone, and what becomes of the pages of a program that drops its privileges.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use loopscope_probe::Writer;
use loopscope_probe::raw::directory::{self, DIRECTORY_VARIABLE, own_user};
use loopscope_probe::raw::registry;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says what a process of these tests does.
const TASK: &str = "LOOPSCOPE_TEST_USERS";

/// Nobody's number, who owns no files.
const OTHER: u32 = 65_534;

/// A private directory in memory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(made(PathBuf::from(format!("/dev/shm/loopscope-users-{name}-{}", std::process::id()))))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn made(path: PathBuf) -> PathBuf {
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}

fn of_other(path: PathBuf) -> PathBuf {
    chown(&path, Some(OTHER), Some(OTHER)).unwrap();
    path
}

/// Returns the test of that name as a process of its own, with no other directories than those that are set.
fn process(test: &str, task: &str) -> Command {
    // Another user need not reach the folder that this program is in.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--nocapture"]).env(TASK, task);
    command.env_remove(DIRECTORY_VARIABLE).env_remove("XDG_RUNTIME_DIR");
    command
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn is_root(what: &str) -> bool {
    let is_root = own_user() == 0;
    if !is_root {
        println!("skipped: {what}: only root can become another user");
    }
    is_root
}

#[test]
fn the_directory_of_another_user_is_not_taken() {
    let this = "the_directory_of_another_user_is_not_taken";
    if std::env::var_os(TASK).is_some() {
        println!("directory: {}", directory::runtime_directory().display());
        return directory::passed_over().iter().for_each(|line| println!("{line}"));
    }
    let in_memory = |user: u32| format!("directory: /dev/shm/loopscope-{user}\n");
    if own_user() != 0 {
        // Root's, for everybody, and so no session's.
        let everybodys = said(process(this, "ask").env("XDG_RUNTIME_DIR", "/dev/shm"));
        assert!(everybodys.contains(&in_memory(own_user())), "{everybodys}");
    }
    if !is_root("directories of several users") {
        return;
    }
    let scratch = Scratch::new("several");
    fs::set_permissions(&scratch.0, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let session = of_other(made(scratch.0.join("session")));
    let own = session.join("own");
    for (variable, path) in [("XDG_RUNTIME_DIR", &session), (DIRECTORY_VARIABLE, &own)] {
        let as_root = said(process(this, "ask").env(variable, path));
        assert!(as_root.contains(&in_memory(0)), "{as_root}");
        assert!(as_root.contains(&format!("{variable} is ignored: ")), "{as_root}");
    }
    let as_other = |command: &mut Command| said(command.uid(OTHER).gid(OTHER));
    let in_session = as_other(process(this, "ask").env("XDG_RUNTIME_DIR", &session));
    assert!(in_session.contains(&format!("directory: {}/loopscope\n", session.display())), "{in_session}");
    // As an older version left it, run with `sudo -E`.
    made(session.join("loopscope"));
    let healed = as_other(process(this, "ask").env("XDG_RUNTIME_DIR", &session));
    assert!(healed.contains(&in_memory(OTHER)), "{healed}");
}

/// Makes a loop, drops the privileges, makes another, and ends both.
fn drop_privileges() {
    let before = Writer::builder("before").build();
    let path = registry::pages()[0].path().unwrap().to_owned();
    // SAFETY: changes the user of this process, which is a test's own.
    assert_eq!(unsafe { libc::setresuid(OTHER, OTHER, OTHER) }, 0);
    let after = Writer::builder("after").build();
    let because = registry::pages()[1].private_because().unwrap().to_owned();
    drop((before, after));
    println!("page: {}\nbecause: {because}", path.display());
}

fn line<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {said}"))
}

#[test]
fn a_program_that_drops_its_privileges_has_one_directory_and_its_pages_end() {
    let this = "a_program_that_drops_its_privileges_has_one_directory_and_its_pages_end";
    if std::env::var_os(TASK).is_some() {
        return drop_privileges();
    }
    if !is_root("a program that drops its privileges") {
        return;
    }
    let scratch = Scratch::new("drops");
    let said = said(process(this, "drop").env(DIRECTORY_VARIABLE, &scratch.0));
    let path = Path::new(line(&said, "page: "));
    assert!(path.starts_with(&scratch.0), "{said}");
    let because = line(&said, "because: ");
    let is_told = because.contains(scratch.0.to_str().unwrap()) && because.ends_with("ran as uid 0");
    assert!(is_told, "one directory: {because}");
    // It could not remove the page, and said on it that the loop has ended.
    assert!(directory::read_page(path).unwrap().is_closed());
    let next = Writer::builder("next").directory(&scratch.0).build();
    assert!(!path.exists(), "the next program of that user removes it");
    drop(next);
}
