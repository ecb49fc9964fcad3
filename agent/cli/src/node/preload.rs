//! The scripts that load the addon into a program: those of the npm package, written to memory where only the addon is there.

use crate::error::Failure;
use loopscope_probe::raw::directory::{DIRECTORY_VARIABLE, make_private, runtime_directory};
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Permissions};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file that a program is started with.
pub const SCRIPT: &str = "register.cjs";

/// The scripts, with what they say of themselves.
const SCRIPTS: [(&str, &str); 7] = [
    (SCRIPT, include_str!("npm/register.cjs")),
    ("index.cjs", include_str!("npm/index.cjs")),
    ("addon.cjs", include_str!("npm/addon.cjs")),
    ("attach.cjs", include_str!("npm/attach.cjs")),
    ("ticks.cjs", include_str!("npm/ticks.cjs")),
    ("workers.cjs", include_str!("npm/workers.cjs")),
    ("package.json", include_str!("npm/package.json")),
];

/// Tells whether they are in a folder.
pub fn are_in(folder: &Path) -> bool {
    SCRIPTS.iter().all(|(name, _)| folder.join(name).is_file())
}

/// Writes them to memory, where they are not there yet. They stay: what a program starts later needs them, also one that has
/// become another user meanwhile, and Node does not start without a file that it is told to load. They are no secret.
///
/// # Errors
/// There is no such directory, and none can be made; the message says what to do.
pub fn written() -> Result<PathBuf, Failure> {
    placed("preload", &SCRIPTS)
}

/// Writes files into a folder that is named after this name and what is in them: a program that runs keeps those that it was
/// started with. It is in a directory that all users can read, or else in the runtime directory.
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
                "{directory}: {because}; set {DIRECTORY_VARIABLE} to a private directory in memory, or use the npm package"
            ),
        )
    };
    make_private(&directory).map_err(refused)?;
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let place = readable_place(&directory).unwrap_or(directory.clone());
    let folder = place.join(format!("{name}-{:016x}", hasher.finish()));
    if !files.iter().all(|(name, _)| folder.join(name).is_file()) {
        write(&folder, files).map_err(|error| refused(error.to_string()))?;
    }
    Ok(folder)
}

/// Returns a directory that all can read and only this user can write; `None` where that cannot be had, such as
/// where another user's is in its place. It is beside `directory`, which is the user's own; where that is in a private one that nobody
/// named, it is in `/dev/shm`.
fn readable_place(directory: &Path) -> Option<PathBuf> {
    let own = fs::symlink_metadata(directory).ok()?.uid();
    let is_reachable = fs::metadata(directory.parent()?).is_ok_and(|facts| facts.mode() & 0o001 != 0);
    let place = if is_reachable || std::env::var_os(DIRECTORY_VARIABLE).is_some() {
        directory.with_file_name(format!("{}-scripts", directory.file_name()?.to_str()?))
    } else {
        PathBuf::from(format!("/dev/shm/loopscope-{own}-scripts"))
    };
    // It is there already, in most cases.
    let _ = fs::create_dir(&place);
    let facts = fs::symlink_metadata(&place).ok()?;
    let is_own = facts.is_dir() && facts.uid() == own && facts.mode() & 0o022 == 0;
    (is_own && fs::set_permissions(&place, Permissions::from_mode(0o755)).is_ok()).then_some(place)
}

/// Writes each file as a whole or not at all: several commands may do this at the same time.
fn write(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Whatever the umask is: see `written`.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for (name, text) in files {
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        let placed = fs::write(&temporary, text)
            .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&temporary, folder.join(name)));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed?;
    }
    Ok(())
}
