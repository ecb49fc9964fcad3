//! The files that git tracks, and how a rule tells what is wrong with one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository, by its path from the root, with its text; a file that is not UTF-8 has none.
pub struct Tracked {
    pub path: String,
    pub text: String,
}

/// One offence: where it is, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    pub remedy: String,
}

impl Fault {
    pub fn new(path: &str, line: usize, remedy: impl Into<String>) -> Fault {
        Fault { path: path.to_owned(), line, remedy: remedy.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line.max(1), self.remedy)
    }
}

/// Fails with every fault on a line of its own.
pub fn assert_clean(faults: Vec<Fault>) {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(lines.is_empty(), "{} to mend:\n{}", lines.len(), lines.join("\n"));
}

/// Returns the repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies in the repository")
        .to_owned()
}

/// Returns the paths of all tracked files that exist, from the root.
pub fn paths() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let listed = listed.expect("git is installed, and this is a clone of the repository");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("tracked paths are UTF-8");
    let paths: Vec<String> = paths.split_terminator('\0').map(str::to_owned).collect();
    assert!(paths.len() > 20, "git tracks only {} files here", paths.len());
    // A file that is being removed is tracked until the commit.
    paths.into_iter().filter(|path| root().join(path).exists()).collect()
}

/// Returns the tracked files whose names end with one of `endings`.
pub fn files(endings: &[&str]) -> Vec<Tracked> {
    let wanted = paths().into_iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        Tracked { path, text }
    };
    wanted.map(read).collect()
}

/// Returns a file made up for the proof that a rule can fail.
#[cfg(test)]
pub fn sample(path: &str, text: &str) -> Tracked {
    Tracked { path: path.to_owned(), text: text.to_owned() }
}

/// Returns the number of the line that holds the byte at `offset`.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1
}
