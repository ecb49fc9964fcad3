//! The scripts that load the addon into a program: those of the npm package, written to memory where only the addon is there.

use crate::error::Failure;
use loopscope_probe::directory::{DIRECTORY_VARIABLE, make_private, runtime_directory};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// The file that a program is started with.
pub const SCRIPT: &str = "register.cjs";

/// The scripts, with what they say of themselves.
const SCRIPTS: [(&str, &str); 6] = [
    (SCRIPT, include_str!("../../../../loop/node/npm/register.cjs")),
    ("index.cjs", include_str!("../../../../loop/node/npm/index.cjs")),
    ("addon.cjs", include_str!("../../../../loop/node/npm/addon.cjs")),
    ("attach.cjs", include_str!("../../../../loop/node/npm/attach.cjs")),
    ("ticks.cjs", include_str!("../../../../loop/node/npm/ticks.cjs")),
    ("package.json", include_str!("../../../../loop/node/npm/package.json")),
];

/// Tells whether they are in a folder.
pub fn are_in(folder: &Path) -> bool {
    SCRIPTS.iter().all(|(name, _)| folder.join(name).is_file())
}

/// Writes them into the runtime directory, where they are not there yet. They stay: what a program starts later needs them.
///
/// # Errors
/// There is no such directory, and none can be made; the message says what to do.
pub fn written() -> Result<PathBuf, Failure> {
    placed("preload", &SCRIPTS)
}

/// Writes files into a folder of the runtime directory that is named after this name and what is in them: a program that runs
/// keeps those that it was started with.
///
/// # Errors
/// As [`written`].
pub fn placed(name: &str, files: &[(&str, &str)]) -> Result<PathBuf, Failure> {
    let directory = runtime_directory();
    let refused = |because: String| {
        let directory = directory.display();
        Failure::system(
            "write the scripts that load the addon",
            format!(
                "{directory} {because}; name a private directory in memory by {DIRECTORY_VARIABLE}, or use the npm package"
            ),
        )
    };
    make_private(&directory).map_err(refused)?;
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let folder = directory.join(format!("{name}-{:016x}", hasher.finish()));
    if !files.iter().all(|(name, _)| folder.join(name).is_file()) {
        write(&folder, files).map_err(|error| refused(error.to_string()))?;
    }
    Ok(folder)
}

/// Writes each file as a whole or not at all: several commands may do this at the same time.
fn write(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for (name, text) in files {
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        let placed = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, folder.join(name)));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed?;
    }
    Ok(())
}
