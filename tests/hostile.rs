//! A sampled loop survives what signal handlers fear, for two seconds each; `hostile --for 10m` is the long run.

use std::process::Command;

#[test]
fn a_sampled_loop_survives_hostile_callbacks() {
    let told = Command::new(env!("CARGO_BIN_EXE_hostile")).args(["--for", "12s"]).output().unwrap();
    let (lines, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    println!("{lines}");
    // A crash is a status without a code.
    assert_eq!(told.status.code(), Some(0), "{:?}\n{lines}\n{errors}", told.status);
    assert_eq!(lines.lines().filter(|line| line.ends_with("EINTR 0")).count(), 6, "{lines}");
}
