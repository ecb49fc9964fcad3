//! Breaks a copy of the loop in one way after the other, and tells which of them the tests of its order notice.
//!
//! ```text
//! cargo test -p loopscope-tests --test mutants                 every way; about 25 s each on two busy cores
//! cargo test -p loopscope-tests --test mutants -- timer close  those whose names hold one of these words
//! ```
//!
//! It takes too long for the suite. The copy is a small workspace of its own, with the probe, the engine and the
//! programs that judge order, [`JUDGES`], and is built in one folder again and again. A way that does
//! not apply to the sources any more, or does not compile, is a failure like one that nobody notices.

mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use table::{Edit, MUTANTS};

/// What is copied; the model and the programs are what judges.
const COPIED: &[&str] = &[
    "loop/probe",
    "loop/engine",
    "tests/src/lib.rs",
    "tests/src/model",
    "tests/src/noise.rs",
    "tests/src/schedule",
    "tests/conformance.rs",
    "tests/conformance",
    "tests/order.rs",
    "tests/order",
];

/// The programs that are asked, each with its package; the first that fails has noticed.
const JUDGES: &[(&str, &str)] = &[
    ("loopscope-tests", "conformance"),
    ("loopscope-loop", "rules"),
    ("loopscope-tests", "order"),
    ("loopscope-loop", "random_streams"),
    ("loopscope-loop", "connections"),
];

/// Where the sources that are broken lie.
const ENGINE: &str = "loop/engine/src";

/// How long the judges may take: a broken loop may never end.
const SECONDS_MAX: &str = "120";

const WORKSPACE: &str = r#"
[workspace]
resolver = "3"
members = ["loop/probe", "loop/engine", "tests"]

[profile.dev]
debug = false

[profile.dev.package."*"]
opt-level = 1
"#;

const MANIFEST: &str = r#"
[package]
name = "loopscope-tests"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true
autotests = false

[dependencies]
loopscope-probe.workspace = true
loopscope-loop.workspace = true
serde = { version = "1", features = ["derive"] }
serde_json = "1"

[dev-dependencies]
proptest = { version = "1", default-features = false, features = ["std"] }

[[test]]
name = "conformance"
path = "conformance.rs"

[[test]]
name = "order"
path = "order.rs"
"#;

/// What became of a broken loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Noticed(&'static str),
    Unnoticed,
    /// The sources have changed since it was written.
    DoesNotApply,
    DoesNotCompile,
}

struct Copy {
    root: PathBuf,
    target: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let copy = Copy::make().expect("the copy can be written");
    if copy.judge() != Verdict::Unnoticed {
        println!("the loop as it is does not pass: mend that first");
        return ExitCode::FAILURE;
    }
    let mut tally = [0, 0];
    for (name, edits) in MUTANTS.iter().filter(|(name, _)| is_wanted(name)) {
        let verdict = copy.with(edits, || copy.judge()).expect("the copy can be written");
        let said = match verdict {
            Verdict::Noticed(by) => format!("noticed by {by}"),
            Verdict::Unnoticed => "NOT NOTICED".to_owned(),
            Verdict::DoesNotApply => "DOES NOT APPLY: write it anew in tests/mutants/table.rs".to_owned(),
            Verdict::DoesNotCompile => "DOES NOT COMPILE: write it anew in tests/mutants/table.rs".to_owned(),
        };
        println!("{name:48} {said}");
        tally[usize::from(matches!(verdict, Verdict::Noticed(_)))] += 1;
    }
    println!("{} of {} noticed", tally[1], tally[0] + tally[1]);
    if tally[0] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Copy {
    fn make() -> io::Result<Copy> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| from.join("target"), PathBuf::from);
        let root = target.join("mutants/copy");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for path in COPIED {
            copy_tree(&from.join(path), &root.join(path))?;
        }
        let whole = fs::read_to_string(from.join("Cargo.toml"))?;
        fs::write(root.join("Cargo.toml"), format!("{WORKSPACE}{}", package_tables(&whole)))?;
        fs::write(root.join("tests/Cargo.toml"), MANIFEST)?;
        fs::copy(from.join("Cargo.lock"), root.join("Cargo.lock"))?;
        Ok(Copy { root, target: target.join("mutants/build") })
    }

    /// Breaks the copy, asks, and mends it again.
    fn with(&self, edits: &[Edit], ask: impl FnOnce() -> Verdict) -> io::Result<Verdict> {
        let mut before: Vec<(PathBuf, String)> = Vec::new();
        for (file, search, replacement) in edits {
            let path = self.root.join(ENGINE).join(file);
            let text = fs::read_to_string(&path)?;
            if text.matches(search).count() != 1 {
                mend(&before)?;
                return Ok(Verdict::DoesNotApply);
            }
            fs::write(&path, text.replacen(search, replacement, 1))?;
            before.push((path, text));
        }
        let verdict = ask();
        mend(&before)?;
        Ok(verdict)
    }

    fn judge(&self) -> Verdict {
        let tests: Vec<&str> =
            JUDGES.iter().flat_map(|(package, test)| ["-p", package, "--test", test]).collect();
        if !self.cargo("1200", &[&["--no-run"], &tests[..]].concat()).is_ok_and(|code| code == Some(0)) {
            return Verdict::DoesNotCompile;
        }
        for (package, test) in JUDGES {
            match self.cargo(SECONDS_MAX, &["-p", package, "--test", test]) {
                Ok(Some(0)) => {}
                Ok(Some(124 | 137)) => return Verdict::Noticed("its never ending"),
                _ => return Verdict::Noticed(test),
            }
        }
        Verdict::Unnoticed
    }

    /// Runs `cargo test` in the copy, for so many seconds at most; returns its exit code.
    fn cargo(&self, seconds: &str, arguments: &[&str]) -> io::Result<Option<i32>> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", seconds, "cargo", "test", "--offline", "--quiet"]).args(arguments);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).env("RUSTFLAGS", "-Awarnings");
        Ok(command.output()?.status.code())
    }
}

/// Writes back what was there, the last change first.
fn mend(before: &[(PathBuf, String)]) -> io::Result<()> {
    before.iter().rev().try_for_each(|(path, text)| fs::write(path, text))
}

/// Returns the parts of the workspace's manifest that its packages inherit.
fn package_tables(manifest: &str) -> String {
    let wanted = ["[workspace.package]", "[workspace.dependencies]", "[workspace.lints"];
    let mut is_wanted = false;
    let mut tables = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_wanted = wanted.iter().any(|table| line.starts_with(table));
        }
        if is_wanted {
            tables.push_str(line);
            tables.push('\n');
        }
    }
    tables
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_file() {
        fs::create_dir_all(to.parent().expect("it is below the copy's root"))?;
        return fs::copy(from, to).map(drop);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
