//! Where the addon is: named by the environment, beside this command, or in the npm package of the program.

use crate::error::Failure;
use crate::node::preload;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names the addon's file.
pub const ADDON_VARIABLE: &str = "LOOPSCOPE_NODE_ADDON";

/// What the addon may be called beside this command, in a folder for libraries beside that of commands, and where cargo puts both in
/// one folder.
const BESIDE: [&str; 4] = [
    "loopscope.node",
    "libloopscope_node.so",
    "../lib/loopscope/loopscope.node",
    "../node/libloopscope_node.so",
];

/// The script that loads the addon into a program, where it is installed by npm.
const PACKAGE_SCRIPT: &str = "node_modules/loopscope/register.cjs";

/// What is preloaded into a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Preload {
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// The addon; `None` where the scripts find it themselves, in the package beside theirs.
    pub addon: Option<PathBuf>,
}

impl Preload {
    /// Finds the addon, and scripts that load it; writes these where there are none beside it.
    ///
    /// # Errors
    /// It is nowhere: the message lists where it was looked for. Or there is no place for the scripts.
    pub fn find() -> Result<Preload, Failure> {
        let named = std::env::var_os(ADDON_VARIABLE).filter(|value| !value.is_empty());
        let command = std::env::current_exe().ok();
        let current = std::env::current_dir().ok();
        match search(named, command.as_deref(), current.as_deref())? {
            Place::Package(scripts) => Ok(Preload { scripts, addon: None }),
            Place::Addon(addon) => {
                let beside = addon.parent().filter(|folder| preload::are_in(folder));
                let scripts = match beside {
                    Some(folder) => folder.to_owned(),
                    None => preload::written()?,
                };
                Ok(Preload { scripts, addon: Some(addon) })
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Addon(PathBuf),
    /// The folder of the npm package.
    Package(PathBuf),
}

fn search(named: Option<OsString>, command: Option<&Path>, current: Option<&Path>) -> Result<Place, Failure> {
    let mut looked = Vec::new();
    if let Some(named) = named {
        let file = PathBuf::from(named);
        return match absolute(&file) {
            Some(file) => Ok(Place::Addon(file)),
            None => Err(Failure::system(
                "load the addon",
                format!("{ADDON_VARIABLE}={}: no such file", file.display()),
            )),
        };
    }
    for file in command.and_then(Path::parent).into_iter().flat_map(|bin| BESIDE.map(|name| bin.join(name))) {
        if let Some(file) = absolute(&file) {
            return Ok(Place::Addon(file));
        }
        looked.push(file);
    }
    for folder in current.into_iter().flat_map(Path::ancestors) {
        let file = folder.join(PACKAGE_SCRIPT);
        if let Some(scripts) = absolute(&file).as_deref().and_then(Path::parent) {
            return Ok(Place::Package(scripts.to_owned()));
        }
    }
    looked.extend(current.map(|current| current.join(PACKAGE_SCRIPT)));
    let list: String = looked.iter().map(|file| format!("\n  {}", file.display())).collect();
    Err(Failure::system(
        "find the addon",
        format!(
            "not found in any of these places, nor in the parents of the last one; build it in loopscope's repository \
             (`cargo build --profile node -p loopscope-node`: target/node/libloopscope_node.so) and copy it to one of \
             them, or set {ADDON_VARIABLE} to where it is{list}"
        ),
    ))
}

/// Returns the whole path of a file that is there.
fn absolute(file: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(file).ok().filter(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("loopscope-addon-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path.canonicalize().unwrap())
        }

        fn file(&self, name: &str) -> PathBuf {
            let file = self.0.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            file
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_environment_comes_before_the_command_and_that_before_the_package() {
        let folder = Folder::new("order");
        let (command, current) = (folder.0.join("bin/loopscope"), folder.0.join("app/src"));
        let script = folder.file("app/node_modules/loopscope/register.cjs");
        fs::create_dir_all(&current).unwrap();
        let search =
            |named: Option<&Path>| search(named.map(OsString::from), Some(&command), Some(&current)).unwrap();
        assert_eq!(search(None), Place::Package(script.parent().unwrap().to_owned()));
        let beside = folder.file("bin/loopscope.node");
        assert_eq!(search(None), Place::Addon(beside));
        let named = folder.file("own.node");
        assert_eq!(search(Some(&named)), Place::Addon(named.clone()));
    }

    #[test]
    fn an_addon_that_cargo_has_just_built_is_found() {
        let folder = Folder::new("cargo");
        let built = folder.file("target/node/libloopscope_node.so");
        fs::create_dir_all(folder.0.join("target/release")).unwrap();
        let command = folder.0.join("target/release/loopscope");
        assert_eq!(search(None, Some(&command), None).unwrap(), Place::Addon(built));
    }

    #[test]
    fn where_it_was_looked_for_is_said() {
        let folder = Folder::new("nowhere");
        let command = folder.0.join("bin/loopscope");
        let refusal = search(None, Some(&command), Some(&folder.0)).unwrap_err().to_string();
        for part in
            ["bin/loopscope.node", "bin/libloopscope_node.so", "node_modules/loopscope", ADDON_VARIABLE]
        {
            assert!(refusal.contains(part), "{part} is not in {refusal}");
        }
        let refusal = search(Some("/nowhere.node".into()), None, None).unwrap_err().to_string();
        assert!(refusal.contains("/nowhere.node"), "{refusal}");
    }
}
