//! Pages that nobody writes any more: how long they are kept.

use crate::directory::page_files;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// At most this many pages of dead processes are kept.
pub const DEAD_PAGES: usize = 32;

/// Pages of dead processes older than this are removed.
pub const DEAD_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes pages of dead processes beyond the bounds of number and age.
pub(crate) fn prune(directory: &Path) {
    let Ok(files) = page_files(directory) else { return };
    let mut dead: Vec<(SystemTime, PathBuf)> = files
        .into_iter()
        .filter(|file| !file.owner.is_alive())
        .map(|file| {
            (
                fs::metadata(&file.path).and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
                file.path,
            )
        })
        .collect();
    dead.sort_by(|a, b| b.cmp(a));
    let now = SystemTime::now();
    for (number, (modified, path)) in dead.into_iter().enumerate() {
        let age = now.duration_since(modified).unwrap_or_default();
        if number >= DEAD_PAGES || age > DEAD_AGE {
            // Another process may have pruned it first.
            let _ = fs::remove_file(path);
        }
    }
}

// Not under Miri, which has neither file modes nor shared mappings.
#[cfg(all(test, not(miri)))]
#[path = "leftover_tests.rs"]
mod tests;
