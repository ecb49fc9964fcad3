//! The package as people get it: packed, installed from a registry into a fresh folder, and imported on every version of Node.

#[expect(dead_code, reason = "programs of `tests/programs` are for other tests")]
mod nodes;

use nodes::{addon, versions};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const PLATFORM: &str = "linux-x64-glibc";
/// What npm is not to install here.
const OTHERS: [&str; 3] = ["linux-x64-musl", "linux-arm64-glibc", "linux-arm64-musl"];

/// A program that blocks its loop in a function of its own, and says what of the API it met.
const PROGRAM: &str = "\
import { label, onStall, snapshot, expectBlock, url } from 'loopscope';
const busy = (ms) => { const end = Date.now() + ms; while (Date.now() < end); };
const isWatched = snapshot() !== null;
console.log(isWatched ? 'watched' : 'not watched', expectBlock('planned', () => (busy(300), 'planned')), url());
function finish(stall) { console.log(stall.loop, stall.culprit, stall.durationMs >= 250); clearTimeout(last); }
const last = setTimeout(() => console.log('no stall'), isWatched ? 20000 : 100);
onStall(finish);
setTimeout(() => { label('checkout'); busy(300); }, 50);
";

/// A folder in memory, and a registry with the packages.
struct Project {
    folder: PathBuf,
    registry: Child,
    url: String,
}

impl Project {
    /// Packs everything; `None` without npm, which is said.
    fn new(name: &str) -> Option<Project> {
        if versions().is_empty() || cfg!(not(target_arch = "x86_64")) {
            return None;
        }
        if Command::new("npm").arg("--version").output().is_err() {
            println!("skipped: the package of Node.js: there is no npm");
            return None;
        }
        let folder = PathBuf::from(format!("/dev/shm/loopscope-package-{}-{name}", std::process::id()));
        for part in ["packed", "app", "pages"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.join("pages"), fs::Permissions::from_mode(0o700)).unwrap();
        let other = folder.join("other.node");
        fs::write(&other, "for another system").unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut pack = Command::new(sources.join("npm/pack"));
        pack.arg("--any-glibc").arg(folder.join("packed"));
        pack.arg(format!("{PLATFORM}={}", addon().display()));
        pack.args(OTHERS.map(|platform| format!("{platform}={}", other.display())));
        succeeded(&pack.env("npm_config_cache", folder.join("cache")).output().unwrap());
        let mut registry = Command::new("node")
            .arg(sources.join("tests/programs/registry.cjs"))
            .arg(folder.join("packed"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(registry.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let project = Project { folder, registry, url: url.trim().to_owned() };
        fs::write(project.app().join("package.json"), "{ \"name\": \"app\", \"version\": \"1.0.0\" }")
            .unwrap();
        fs::write(project.app().join("app.mjs"), PROGRAM).unwrap();
        Some(project)
    }

    fn app(&self) -> PathBuf {
        self.folder.join("app")
    }

    fn npm(&self, arguments: &[&str]) {
        let mut npm = Command::new("npm");
        npm.args(arguments).args(["--no-audit", "--no-fund", "--registry", &self.url]);
        npm.env("npm_config_cache", self.folder.join("cache")).current_dir(self.app());
        succeeded(&npm.output().unwrap());
    }

    fn installed(&self) -> Vec<String> {
        let all = fs::read_dir(self.app().join("node_modules")).unwrap();
        let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    fn run(&self, node: &Path, flag: &str) -> Output {
        Command::new(node)
            .args([flag, "loopscope/register", "app.mjs"])
            .env("LOOPSCOPE_RUNTIME_DIR", self.folder.join("pages"))
            .env("LOOPSCOPE_LISTEN", "off")
            .env_remove("LOOPSCOPE")
            .env_remove("LOOPSCOPE_NODE_ADDON")
            .env_remove("NODE_OPTIONS")
            .current_dir(self.app())
            .output()
            .unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_import_shows_a_stall_and_without_the_addon_everything_does_nothing() {
    let Some(project) = Project::new("install") else { return };
    project.npm(&["install", "loopscope"]);
    assert_eq!(project.installed(), ["loopscope", &format!("loopscope-{PLATFORM}")]);
    for (version, node) in versions() {
        for flag in ["--import", "--require"] {
            let ended = project.run(&node, flag);
            let said = text(&ended.stdout);
            let what = format!("Node {version}, {flag}: {said}{}", text(&ended.stderr));
            assert_eq!(said, "watched planned \napp.mjs checkout true\n", "{what}");
            assert_eq!(ended.status.code(), Some(0), "{what}");
        }
    }
    project.npm(&["ci", "--omit=optional"]);
    assert_eq!(project.installed(), ["loopscope"]);
    for (version, node) in versions() {
        let ended = project.run(&node, "--import");
        let (said, why) = (text(&ended.stdout), text(&ended.stderr));
        let what = format!("Node {version}: {said}{why}");
        assert_eq!(said, "not watched planned \nno stall\n", "{what}");
        assert_eq!((why.lines().count(), ended.status.code()), (1, Some(0)), "{what}");
        assert!(why.contains(&format!("npm install loopscope-{PLATFORM}@")), "{what}");
    }
}

#[test]
fn an_addon_for_a_newer_system_than_promised_is_not_packed() {
    let versions_needed = Command::new("objdump").arg("-T").arg(addon()).output();
    let Ok(symbols) = versions_needed.map(|output| text(&output.stdout)) else {
        println!("skipped: versions of glibc: there is no objdump");
        return;
    };
    let folder = PathBuf::from(format!("/dev/shm/loopscope-glibc-{}", std::process::id()));
    let is_new = (29..60).any(|minor| symbols.contains(&format!("GLIBC_2.{minor}")));
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm/pack");
    let file = format!("{PLATFORM}={}", addon().display());
    if Command::new("npm").arg("--version").output().is_ok() {
        let ended = Command::new(pack)
            .arg(&folder)
            .arg(file)
            .env("npm_config_cache", folder.join("cache"))
            .output()
            .unwrap();
        assert_eq!(ended.status.success(), !is_new, "{}", text(&ended.stderr));
    }
    let _ = fs::remove_dir_all(folder);
}
