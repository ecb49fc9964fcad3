//! A small limit on the size of files, a full file system, a signal that is pending: here it is shown that a loop runs all
//! the same, that it is said why others do not see it, and that nothing is left behind. The limit is a process's own.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, SiteId, TaskTimes, Writer};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Names the directory that a process of this test puts its page into.
const DIRECTORY: &str = "LOOPSCOPE_TEST_FILE_LIMIT";

/// A private directory in memory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/dev/shm/loopscope-limit-{name}-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Scratch(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Returns the thread's blocked signals, and those pending for it and the process.
fn signals() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let is_of_signals =
        |line: &&str| ["SigBlk", "SigPnd", "ShdPnd"].iter().any(|name| line.starts_with(name));
    status.lines().filter(is_of_signals).map(str::to_owned).collect()
}

/// Runs a loop, and says why its page is private.
fn run_loop(directory: &Path) {
    let before = signals();
    let mut writer = Writer::builder("limited").directory(directory).build();
    assert_eq!(signals(), before);
    writer.resume();
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    writer.end();
    writer.suspend();
    assert_eq!(writer.page().snapshot(writer.clock()).run[Kind::Timer.index()].count(), 1);
    println!("because: {}", registry::pages()[0].private_because().unwrap_or("it is not private"));
}

/// Runs the test of that name in a process of its own, after these commands of the shell.
fn run_after(commands: &str, test: &str, directory: &Path) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{commands}; exec \"$0\" --exact {test} --nocapture")]);
    command.arg(std::env::current_exe().unwrap()).env(DIRECTORY, directory).output().unwrap()
}

fn assert_runs_because(output: &Output, reason: &str) {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}, {said}, {errors}", output.status);
    let because = said.lines().find(|line| line.starts_with("because:")).unwrap_or_else(|| panic!("{said}"));
    assert!(because.contains(reason), "{because}");
}

#[test]
fn a_small_limit_on_the_size_of_files_makes_the_page_private() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_loop(Path::new(&directory));
    }
    let this = "a_small_limit_on_the_size_of_files_makes_the_page_private";
    for limit in ["ulimit -f 256", "ulimit -f 0"] {
        let scratch = Scratch::new("small");
        let output = run_after(limit, this, &scratch.0);
        assert_runs_because(&output, "the file size limit");
        assert_eq!(scratch.names(), [""; 0], "{limit}");
    }
}

/// Ends the page of a program before it, which means to write to a file.
fn replace_program(directory: &Path) {
    let writer = Writer::builder("replaced").directory(directory).build();
    match std::env::args().any(|argument| argument == "--quiet") {
        true => drop(writer),
        false => {
            use std::os::unix::process::CommandExt;
            let this = std::env::current_exe().unwrap();
            let mut next = Command::new("sh");
            next.args(["-c", "ulimit -f 0; exec \"$0\" --exact --quiet \"$1\" --nocapture"]);
            let error = next.arg(this).arg("a_program_is_replaced_under_a_limit").exec();
            panic!("{error}");
        }
    }
}

#[test]
fn a_program_is_replaced_under_a_limit() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return replace_program(Path::new(&directory));
    }
    let scratch = Scratch::new("replaced");
    let output = run_after(":", "a_program_is_replaced_under_a_limit", &scratch.0);
    assert!(output.status.success(), "{}, {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(scratch.names(), [""; 0], "the pages of both programs are gone");
}

/// A memory file system with room for half a page, unmounted at the end.
struct Small<'a>(&'a Path);

impl Small<'_> {
    fn mounted(at: &Path) -> Result<Small<'_>, String> {
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"]).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Ok(Small(at)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_memory_file_system_makes_the_page_private() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_loop(Path::new(&directory));
    }
    let scratch = Scratch::new("full");
    let small = match Small::mounted(&scratch.0) {
        Ok(small) => small,
        Err(reason) => return println!("skipped: a full memory file system: cannot mount one ({reason})"),
    };
    let output = run_after(":", "a_full_memory_file_system_makes_the_page_private", &scratch.0);
    assert_runs_because(&output, "No space left");
    assert_eq!(scratch.names(), [""; 0]);
    drop(small);
}
