//! The command that was built together with the tests, and what it printed.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};

/// A command line that is to be run.
pub struct Command(process::Command);

/// What it left when it ended.
#[derive(Debug)]
pub struct Done {
    /// As it was called, for messages.
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Returns the program, where it was built.
pub fn program() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap_or(Path::new(".")).join("loopscope");
    program.exists().then_some(program)
}

impl Command {
    pub fn new(arguments: &[&str], runtime: &Path, authority: &Path) -> Command {
        let mut command = process::Command::new(program().expect("looked for at the beginning"));
        command.args(arguments).env("LOOPSCOPE_RUNTIME_DIR", runtime).env("LOOPSCOPE_CA_FILE", authority);
        Command(command)
    }

    /// The same environment for a line of shell.
    pub fn shell(line: &str, runtime: &Path, authority: &Path) -> Command {
        let mut command = process::Command::new("sh");
        command.args(["-c", line]).env("LOOPSCOPE_RUNTIME_DIR", runtime).env("LOOPSCOPE_CA_FILE", authority);
        Command(command)
    }

    /// Starts it; its output is piped.
    pub fn spawn(mut self) -> Child {
        self.0.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Done {
        let words: Vec<String> = self.0.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let output = self.0.stdin(Stdio::null()).output().unwrap();
        Done {
            line: format!("loopscope {words:?}"),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Checks the exit code.
    pub fn expect(self, codes: &[i32]) -> Result<Done, String> {
        match self.code.is_some_and(|code| codes.contains(&code)) {
            true => Ok(self),
            false => Err(format!("{} ended with {:?}: {}{}", self.line, self.code, self.stdout, self.stderr)),
        }
    }

    /// Returns what it printed as JSON, whatever its exit code says of what it found.
    pub fn json(self) -> Result<Value, String> {
        let done = self.expect(&[0, 4])?;
        serde_json::from_str(&done.stdout).map_err(|error| format!("{}: {error}: {}", done.line, done.stdout))
    }
}
