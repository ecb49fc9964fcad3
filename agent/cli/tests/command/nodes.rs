//! Versions of Node.js to run programs on, and the addon, which cargo builds with the workspace.

#[path = "../../../../loop/node/tests/nodes/versions.rs"]
mod installed;

use crate::scratch::Scratch;
pub use installed::addon;
use installed::versions_in;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The versions that are here, with their names. Says what is not here; none without the addon.
pub fn versions() -> Vec<(&'static str, PathBuf)> {
    if !addon().exists() {
        println!("skipped: Node.js: {} is not built: test the whole workspace", addon().display());
        return Vec::new();
    }
    versions_in(&Path::new(ROOT).join("loop/node/tests/versions"))
}

/// Returns `loopscope` with these arguments, where it finds the addon.
pub fn with_addon(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = scratch.command(arguments);
    command.env("LOOPSCOPE_NODE_ADDON", addon()).env_remove("LOOPSCOPE").env_remove("NODE_OPTIONS");
    command
}

/// Writes a program into the scratch folder.
pub fn program(scratch: &Scratch, name: &str, text: &str) {
    std::fs::write(scratch.work().join(name), text).unwrap();
}
