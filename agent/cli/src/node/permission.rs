//! Programs that Node lets do only what is permitted: preloading what such a one may not read would end it.

use crate::node::command_line::CommandLine;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

/// Options that restrict a program: Node 20 has the second one alone.
const RESTRICTING: [&str; 2] = ["--permission", "--experimental-permission"];
const ADDONS: &str = "--allow-addons";
const READ: &str = "--allow-fs-read";
const INSPECTOR: &str = "--allow-inspector";
/// What package managers start is written in this file, of the folder or of one above it.
const MANIFEST: &str = "package.json";

/// Returns which options are missing for loading the addon by the scripts in this folder; `None` where none is, and where the
/// command is no Node: what a Node that it starts may do is not known, see [`may_be_restricted`].
pub fn lacking(
    program: &OsStr,
    arguments: &[OsString],
    set: Option<&OsStr>,
    scripts: &Path,
) -> Option<String> {
    if !is_node(program) {
        return None;
    }
    let missing = missing(&CommandLine::new(arguments, set), scripts)?;
    (!missing.is_empty()).then(|| format!("add {}", missing.join(" ")))
}

/// Tells whether a command that is no Node itself may start one that is restricted: its words, what NODE_OPTIONS has, or a
/// script of the package that is in `current` name such an option.
pub fn may_be_restricted(
    program: &OsStr,
    arguments: &[OsString],
    set: Option<&OsStr>,
    current: Option<&Path>,
) -> bool {
    if is_node(program) {
        return false;
    }
    let words = arguments.iter().map(OsString::as_os_str).chain(set);
    let is_said = words.map(OsStr::to_string_lossy).any(|word| names_restriction(&word));
    let manifest = current.into_iter().flat_map(Path::ancestors).map(|folder| folder.join(MANIFEST));
    is_said || manifest.flat_map(fs::read_to_string).next().is_some_and(|text| names_restriction(&text))
}

/// Returns why a program that was started with these options can open no inspector, or load no addon; `None` where it can.
pub fn not_attachable(line: &CommandLine, scripts: &Path) -> Option<String> {
    let mut missing = missing(line, scripts)?;
    if !line.has(INSPECTOR) {
        missing.insert(0, format!("{INSPECTOR} (Node 24 and later)"));
    }
    (!missing.is_empty()).then(|| {
        format!(
            "it was started with --permission and without {}: start it with that, or by `loopscope run`, which needs no \
             inspector",
            missing.join(" ")
        )
    })
}

/// Tells whether a command is Node itself, which some systems call `nodejs` or by its version. Others begin like it: nodemon.
fn is_node(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().map(OsStr::to_string_lossy);
    let rest = name.as_deref().and_then(|name| name.strip_prefix("node"));
    rest.is_some_and(|rest| matches!(rest, "" | "js") || rest.starts_with(|next: char| !next.is_alphabetic()))
}

fn names_restriction(text: &str) -> bool {
    RESTRICTING.into_iter().any(|option| text.contains(option))
}

/// Returns which options are missing among these; `None` where the program is not restricted.
fn missing(line: &CommandLine, scripts: &Path) -> Option<Vec<String>> {
    if !RESTRICTING.into_iter().any(|option| line.has(option)) {
        return None;
    }
    let folders = line.options().filter(|(name, _)| *name == READ).filter_map(|(_, value)| value);
    let may_read = |folder: &str| folder == "*" || scripts.starts_with(folder.trim_end_matches('*'));
    let mut missing = Vec::new();
    if !folders.flat_map(|folders| folders.split(',')).any(may_read) {
        missing.push(format!("{READ}={}/*", scripts.display()));
    }
    if !line.has(ADDONS) {
        missing.push(ADDONS.to_owned());
    }
    Some(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |program: &str, arguments: &[&str]| {
            lacking(OsStr::new(program), &words(arguments), None, Path::new("/dev/shm/own"))
        };
        assert_eq!(missing("node", &["app.js", "--permission"]), None);
        assert_eq!(missing("npm", &["--permission"]), None);
        assert_eq!(missing("node", &["--permission", "--allow-fs-read=*", "--allow-addons"]), None);
        assert_eq!(
            missing("node", &["--permission", "--allow-fs-read", "*", "--allow-addons", "app.js"]),
            None
        );
        for before in
            [&["--permission"][..], &["-r", "./x.cjs", "--permission"], &["-e", "1", "--permission"]]
        {
            let arguments = [before, &["--allow-fs-read=/srv,/dev/shm/*"]].concat();
            assert_eq!(
                missing("/usr/bin/node", &arguments).as_deref(),
                Some("add --allow-addons"),
                "{before:?}"
            );
        }
        assert_eq!(
            missing("node", &["--permission"]).as_deref(),
            Some("add --allow-fs-read=/dev/shm/own/* --allow-addons")
        );
    }

    #[test]
    fn a_command_that_names_the_option_anywhere_may_start_a_restricted_program() {
        let folder = std::env::temp_dir().join(format!("loopscope-permission-{}", std::process::id()));
        let inner = folder.join("src");
        fs::create_dir_all(&inner).unwrap();
        let may = |program: &str, arguments: &[&str], set: Option<&str>| {
            may_be_restricted(OsStr::new(program), &words(arguments), set.map(OsStr::new), Some(&inner))
        };
        fs::write(folder.join(MANIFEST), r#"{ "scripts": { "start": "node app.js" } }"#).unwrap();
        assert!(!may("npm", &["start"], None));
        assert!(may("npx", &["node", "--permission", "app.js"], None));
        assert!(may("sh", &["-c", "node --experimental-permission app.js"], None));
        assert!(may("npm", &["start"], Some("--permission")));
        assert!(!may("node", &["app.js", "--permission"], None), "known by `lacking`");
        assert!(
            may("nodemon", &["--exec", "node --permission app.js"], None),
            "begins like Node, and is none"
        );
        for name in ["node", "/usr/bin/nodejs", "node22", "node-22", "/opt/node.22/bin/node_22"] {
            assert!(is_node(OsStr::new(name)), "{name}");
        }
        fs::write(folder.join(MANIFEST), r#"{ "scripts": { "start": "node --permission app.js" } }"#)
            .unwrap();
        assert!(may("npm", &["start"], None));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_restricted_program_needs_its_inspector_too() {
        let why = |arguments: &[&str]| {
            not_attachable(&CommandLine::new(&words(arguments), None), Path::new("/dev/shm/own"))
        };
        assert_eq!(why(&["app.js"]), None);
        let all = ["--permission", "--allow-inspector", "--allow-addons", "--allow-fs-read=*", "app.js"];
        assert_eq!(why(&all), None);
        let said = why(&["--permission", "--allow-fs-read=*", "app.js"]).unwrap();
        assert!(said.contains("--allow-inspector (Node 24 and later) --allow-addons"), "{said}");
    }
}
