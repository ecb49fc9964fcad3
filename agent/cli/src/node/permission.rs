//! Programs that Node lets do only what is permitted: preloading what such a one may not read would end it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Options that restrict a program.
const RESTRICTING: [&str; 2] = ["--permission", "--experimental-permission"];
const ADDONS: &str = "--allow-addons";
const READ: &str = "--allow-fs-read";

/// Returns which options are missing for loading the addon by the scripts in this folder; `None` where none is, and where the
/// command is no Node: what a Node that it starts may do is not known.
pub fn lacking(
    program: &OsStr,
    arguments: &[OsString],
    set: Option<&OsStr>,
    scripts: &Path,
) -> Option<String> {
    if !Path::new(program).file_name()?.to_string_lossy().starts_with("node") {
        return None;
    }
    let set = set.unwrap_or_default().to_string_lossy();
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    // Those of the program itself come after its script.
    let mut words = Vec::from_iter(set.split(' ').map(str::to_owned));
    words
        .extend(arguments.map(std::borrow::Cow::into_owned).take_while(|argument| argument.starts_with('-')));
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    if !RESTRICTING.into_iter().any(has) {
        return None;
    }
    let folders = words.iter().filter_map(|word| word.strip_prefix(READ)?.strip_prefix('='));
    let may_read = |folder: &str| folder == "*" || scripts.starts_with(folder.trim_end_matches('*'));
    let mut missing = Vec::new();
    if !folders.flat_map(|folders| folders.split(',')).any(may_read) {
        missing.push(format!("{READ}={}/*", scripts.display()));
    }
    if !has(ADDONS) {
        missing.push(ADDONS.to_owned());
    }
    (!missing.is_empty()).then(|| format!("add {}", missing.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = |program: &str, arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            lacking(OsStr::new(program), &arguments, None, Path::new("/dev/shm/own"))
        };
        assert_eq!(missing("node", &["app.js", "--permission"]), None);
        assert_eq!(missing("npm", &["--permission"]), None);
        assert_eq!(missing("node", &["--permission", "--allow-fs-read=*", "--allow-addons"]), None);
        assert_eq!(
            missing("/usr/bin/node", &["--permission", "--allow-fs-read=/srv,/dev/shm/*"]).as_deref(),
            Some("add --allow-addons")
        );
        assert_eq!(
            missing("node", &["--permission"]).as_deref(),
            Some("add --allow-fs-read=/dev/shm/own/* --allow-addons")
        );
    }
}
