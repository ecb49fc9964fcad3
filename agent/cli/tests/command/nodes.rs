//! Versions of Node.js to run programs on, and the addon, which cargo builds with the workspace.

use crate::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The addon: beside the tests, where the tests of its own package have it built.
pub fn addon() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libloopscope_node.so")
}

/// The versions that are here, with their names. Says what is not here; none without the addon.
pub fn versions() -> Vec<(&'static str, PathBuf)> {
    if !addon().exists() {
        println!("skipped: Node.js: {} is not built: test the whole workspace", addon().display());
        return Vec::new();
    }
    let all = ["18", "20", "22", "24", "26"];
    let file = |version: &str| {
        Path::new(ROOT).join(format!("loop/node/tests/versions/node_modules/node-{version}/bin/node"))
    };
    let found: Vec<_> =
        all.into_iter().map(|version| (version, file(version))).filter(|(_, file)| file.exists()).collect();
    if found.len() < all.len() {
        let part = if found.is_empty() { "skipped" } else { "skipped in part" };
        println!("{part}: Node.js 18 to 26: run `npm install --no-package-lock` in loop/node/tests/versions");
    }
    found
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
