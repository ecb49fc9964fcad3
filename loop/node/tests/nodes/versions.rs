//! Versions of Node.js to run programs on, and the addon: for the tests of the addon, and of the command.

use std::path::{Path, PathBuf};

const ALL: [&str; 5] = ["18", "20", "22", "24", "26"];

/// The addon: cargo builds it beside the tests of its package.
pub fn addon() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libloopscope_node.so")
}

/// The versions that are installed in `folder`, which is `tests/versions` of the addon, by name. What is not here is said.
pub fn versions_in(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let file = |version: &str| folder.join(format!("node_modules/node-{version}/bin/node"));
    let found: Vec<_> =
        ALL.into_iter().map(|version| (version, file(version))).filter(|(_, file)| file.exists()).collect();
    if found.len() < ALL.len() {
        let part = if found.is_empty() { "skipped" } else { "skipped in part" };
        println!("{part}: Node.js 18 to 26: run `npm install --no-package-lock` in loop/node/tests/versions");
    }
    found
}
