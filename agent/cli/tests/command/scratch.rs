//! A runtime directory and a working directory of a test's own, so that tests do not see each other's processes.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two directories in memory, removed when dropped.
pub struct Scratch {
    root: PathBuf,
}

/// What a command that has ended left behind.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Scratch {
    /// Makes them; `name` is the test's.
    pub fn new(name: &str) -> Scratch {
        let root = PathBuf::from(format!("/dev/shm/loopscope-test-{}-{name}", std::process::id()));
        for directory in [root.clone(), root.join("run"), root.join("work")] {
            fs::DirBuilder::new().mode(0o700).create(directory).unwrap();
        }
        Scratch { root }
    }

    /// Where page files are.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where commands run, and write their files.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Returns the command with these arguments, to be run here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loopscope"));
        command.args(arguments).env("LOOPSCOPE_RUNTIME_DIR", self.runtime()).current_dir(self.work());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().unwrap();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Lists the names of the files that commands wrote.
    pub fn written(&self) -> Vec<String> {
        let entries = fs::read_dir(self.work()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the page files.
    pub fn pages(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.runtime()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "page")).collect()
    }

    /// Reads a file that a command wrote.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.work().join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Compares printed text with a file in `agent/cli/tests/expected`; `UPDATE_EXPECT=1` writes the file instead.
pub fn assert_expected(file: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(file);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, printed).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(printed.lines()).position(|(expected, printed)| expected != printed);
    let line = differs.unwrap_or(expected.lines().count().min(printed.lines().count())) + 1;
    assert!(
        expected == printed,
        "{} is not what is printed (line {line}): UPDATE_EXPECT=1 rewrites it",
        path.display()
    );
}
