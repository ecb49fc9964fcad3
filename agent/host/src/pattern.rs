//! Directories of pages by pattern: `/run/user/*/loopscope` stands for those of all users, also of ones who log in later.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Returns the directories that these paths stand for at this moment, each once. In a component, the first `*` stands for
/// any characters, also none, but not for a symbolic link: in a folder that anybody may write to, such as /dev/shm, it
/// could lead anywhere. A path without a star stands for itself, whether it is there or not.
pub(crate) fn directories(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    paths.iter().flat_map(|path| expand(path)).collect()
}

fn expand(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        match component {
            Component::Normal(name) if name.as_bytes().contains(&b'*') => {
                found = found.iter().flat_map(|folder| matching(folder, name)).collect();
            }
            other => found.iter_mut().for_each(|folder| folder.push(other)),
        }
    }
    found
}

/// Lists the folders in a folder whose names fit. One that cannot be listed has none: it may be made later.
fn matching(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(at) else { return Vec::new() };
    let fitting = entries.flatten().filter(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_folder && fits(entry.file_name().as_bytes(), pattern.as_bytes())
    });
    fitting.map(|entry| folder.join(entry.file_name())).collect()
}

fn fits(name: &[u8], pattern: &[u8]) -> bool {
    let star = pattern.iter().position(|byte| *byte == b'*').unwrap_or(pattern.len());
    let (begin, end) = (&pattern[..star], pattern.get(star + 1..).unwrap_or_default());
    name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_folders_and_for_nothing_else() {
        let root = std::env::temp_dir().join(format!("loopscope-pattern-{}", std::process::id()));
        for folder in ["user/7/loopscope", "user/8/other", "shm/loopscope-7", "shm/loopscope-8", "shm/x"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("shm/loopscope-9"), "").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("shm/loopscope-10")).unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let of_root = directories(&[root.join(pattern), root.join(pattern)]);
            let short = |path: PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            of_root.into_iter().map(short).collect()
        };
        assert_eq!(found("shm/loopscope-*"), ["shm/loopscope-7", "shm/loopscope-8"]);
        // What comes after a star need not be there yet.
        assert_eq!(found("user/*/loopscope"), ["user/7/loopscope", "user/8/loopscope"]);
        assert_eq!((found("no/*"), found("no")), (vec![], vec!["no".to_owned()]));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_before_and_behind_the_star_does_not_overlap() {
        for (name, pattern, expected) in
            [("aba", "ab*ba", false), ("abba", "ab*ba", true), ("", "*", true), ("b", "a*", false)]
        {
            assert_eq!(fits(name.as_bytes(), pattern.as_bytes()), expected, "{name} {pattern}");
        }
    }
}
