//! The rule that a host program compiles few crates for us: as many as are noted in `benches/weight.tsv`, and at most a
//! tenth more.
//!
//! Counted as cargo would compile them on Linux on x86-64, without compiling: with those of build scripts and macros, and
//! our own. `benches/weight` measures what they take in seconds and bytes.

use crate::tracked::{Fault, root};
use std::collections::BTreeSet;
use std::process::Command;

const NOTED: &str = "benches/weight.tsv";

/// What a host can take of us: as it is called in the file, and as cargo is told.
const TAKEN: &[(&str, &[&str])] = &[
    ("loopscope-probe", &["-p", "loopscope-probe"]),
    ("loopscope-agent without default features", &["-p", "loopscope-agent", "--no-default-features"]),
    ("loopscope-agent", &["-p", "loopscope-agent"]),
];

/// Asks cargo, and compares; `UPDATE_EXPECT=1` writes the file anew instead.
pub fn crates() -> Vec<Fault> {
    let counts: Vec<(&str, usize)> = TAKEN.iter().map(|(name, told)| (*name, count(&tree(told)))).collect();
    let path = root().join(NOTED);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, written(&counts)).expect("the repository can be written");
    }
    compare(&std::fs::read_to_string(&path).unwrap_or_default(), &counts)
}

fn tree(told: &[&str]) -> String {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let asked = cargo
        .args(["tree", "--locked", "--edges", "normal,build", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(told)
        .current_dir(root())
        .output();
    let asked = asked.expect("cargo runs this test, so it is there");
    assert!(asked.status.success(), "cargo tree: {}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).expect("names of crates are UTF-8")
}

/// Counts the crates in a list by cargo, each version once: a line is the name, the version, and what cargo adds.
fn count(tree: &str) -> usize {
    let name_and_version = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    tree.lines().filter_map(name_and_version).collect::<BTreeSet<_>>().len()
}

fn written(counts: &[(&str, usize)]) -> String {
    let lines = counts.iter().map(|(name, count)| format!("{name}\t{count}\n"));
    format!("what a host takes\tcrates it compiles\n{}", lines.collect::<String>())
}

fn compare(noted: &str, counts: &[(&str, usize)]) -> Vec<Fault> {
    let noted_for = |name: &str| {
        let line = noted.lines().enumerate().find_map(|(at, line)| {
            line.split_once('\t').filter(|(noted, _)| *noted == name).map(|(_, count)| (at + 1, count))
        });
        line.and_then(|(line, count)| Some((line, count.parse::<usize>().ok()?)))
    };
    let again = "UPDATE_EXPECT=1 notes it, if that is meant to be";
    let faults = counts.iter().filter_map(|(name, count)| match noted_for(name) {
        None => Some((0, format!("`{name}` is not noted: {again}"))),
        Some((line, noted)) if count * 10 > noted * 11 => {
            Some((line, format!("`{name}` makes a host compile {count} crates instead of {noted}: {again}")))
        }
        Some(_) => None,
    });
    faults.map(|(line, remedy)| Fault::new(NOTED, line, remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_a_crate_counts_once() {
        let tree = "a v0.1.0 (/x)\nb v1.0.0\nc v1.0.0 (proc-macro)\nb v1.0.0 (*)\nb v2.0.0\n\n";
        assert_eq!(count(tree), 4);
    }

    #[test]
    fn a_host_that_compiles_a_tenth_more_is_found() {
        let noted = written(&[("probe", 2), ("agent", 100)]);
        let lines = |counts: &[(&str, usize)]| -> Vec<usize> {
            compare(&noted, counts).iter().map(|fault| fault.line).collect()
        };
        assert_eq!(lines(&[("probe", 2), ("agent", 110)]), [0; 0]);
        assert_eq!(lines(&[("probe", 3), ("agent", 111)]), [2, 3]);
        assert_eq!(lines(&[("probe", 1), ("agent", 50)]), [0; 0]);
        assert_eq!(lines(&[("host", 1)]), [0], "what is not noted");
    }
}
