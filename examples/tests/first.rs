//! The README's program is the one that is compiled and run here, and it shows its stall.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_program_of_the_readme_shows_its_stall() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_first"));
    // What was killed in between leaves its page to others.
    let directory = format!("/dev/shm/loopscope-first-{}", std::process::id());
    program.env("LOOPSCOPE_RUNTIME_DIR", &directory).env("LOOPSCOPE_LISTEN", "127.0.0.1:0");
    let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    let found =
        lines.inspect(|line| seen.push(line.clone())).any(|line| line.contains("loop main blocked for"));
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = std::fs::remove_dir_all(directory);
    assert!(found, "{seen:#?}");
    let stall = seen.last().unwrap();
    assert!(stall.contains("first.rs:17") && stall.contains("WARN"), "{stall}");
    assert!(seen[0].contains("listening on http://127.0.0.1:"), "{seen:#?}");
}

#[test]
fn the_readme_has_that_program_and_its_dependencies_first() {
    let (readme, program) = (format!("{ROOT}/README.md"), format!("{ROOT}/examples/first.rs"));
    let [readme, source] = [readme, program].map(|path| std::fs::read_to_string(path).unwrap());
    let (_, code) = source.split_once("\n\n").unwrap();
    let program = format!("```rust,no_run\n{code}```");
    let (before, _) = readme.split_once(&program).expect("copy examples/first.rs to the README");
    // Right before it, its dependencies: those that are ours are where the lines say.
    let (_, lines) = before.rsplit_once("```toml\n").expect("the lines of its Cargo.toml come first");
    let (lines, between) = lines.split_once("```").unwrap();
    assert_eq!(between.trim(), "", "nothing else between");
    let ours =
        lines.lines().filter_map(|line| line.split("path = \"../loopscope/").nth(1)?.split('"').next());
    let ours: Vec<&str> = ours.collect();
    assert!(ours.len() >= 3, "{lines}");
    for folder in ours {
        let manifest = std::fs::read_to_string(format!("{ROOT}/{folder}/Cargo.toml")).unwrap();
        let name = lines.lines().find(|line| line.contains(&format!("/{folder}\""))).unwrap();
        let name = name.split(' ').next().unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in {folder}");
    }
}
