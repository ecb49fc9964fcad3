//! A process that replaces its program keeps its pid and start time: here it is shown that the loops of the former
//! program end, for those who follow them, and that those of other processes and the new program's own do not.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use loopscope_probe::Writer;
use loopscope_probe::raw::directory;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the directory that a process of this test puts its pages into.
const DIRECTORY: &str = "LOOPSCOPE_TEST_REPLACED";

/// A private directory in memory, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn this_test() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_program_that_replaces_itself_ends_its_loops", "--exact", "--nocapture"]);
    command
}

/// Makes two busy loops, says so, and replaces the program by itself at each byte of the input, until that ends.
fn run_and_replace(directory: &Path) {
    let mut writers = ["main", "second"].map(|name| Writer::builder(name).directory(directory).build());
    writers.iter_mut().for_each(Writer::resume);
    println!("\nmade");
    // The next byte comes when the next program has answered, so that none is read too early and lost.
    let mut byte = [0];
    if std::io::stdin().read(&mut byte).unwrap() > 0 {
        panic!("{}", this_test().exec());
    }
    drop(writers);
}

fn wait_until_made(output: &mut BufReader<ChildStdout>) {
    let mut line = String::new();
    while line != "made\n" {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the process ended");
    }
}

/// Returns the numbers and names of the loops of a process that are shown.
fn shown(directory: &Path, child: &Child) -> Vec<(u32, String)> {
    let files = directory::page_files(directory).unwrap().into_iter();
    let own = files.filter(|file| file.owner.pid == child.id());
    own.map(|file| (file.number, directory::read_page(&file.path).unwrap().loop_name())).collect()
}

#[test]
fn a_program_that_replaces_itself_ends_its_loops() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_and_replace(Path::new(&directory));
    }
    let scratch = Scratch(PathBuf::from(format!("/dev/shm/loopscope-replaced-{}", std::process::id())));
    let bystander = Writer::builder("bystander").directory(&scratch.0).build();
    let mut child =
        this_test().env(DIRECTORY, &scratch.0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    wait_until_made(&mut output);
    for round in 0..3 {
        let files = directory::page_files(&scratch.0).unwrap();
        let of_child = files.iter().filter(|file| file.owner.pid == child.id());
        let followed: Vec<_> =
            of_child.map(|file| (file.owner, directory::open_page_file(&file.path).unwrap())).collect();
        let named = |name: &str, at: u32| (round * 2 + at, name.to_owned());
        assert_eq!(shown(&scratch.0, &child), [named("main", 0), named("second", 1)]);
        input.write_all(b"x").unwrap();
        wait_until_made(&mut output);
        for (owner, file) in &followed {
            assert!(owner.is_alive(), "its pid and start time are what they were");
            assert!(directory::read_page_from(file).unwrap().is_closed());
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(shown(&scratch.0, &child), []);
    assert_eq!(directory::page_files(&scratch.0).unwrap().len(), 1);
    drop(bystander);
}
