//! Runs programs on the versions of Node that are installed, with the addon that was built for this test.

mod versions;

use loopscope_probe::raw::directory::read_page;
use loopscope_probe::{Clock, Snapshot, Ticks};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
pub use versions::addon;
use versions::versions_in;

/// What a program said and left behind.
pub struct Ended {
    pub code: Option<i32>,
    pub said: String,
    pub complained: String,
    /// Its incidents, in their order.
    pub incidents: Vec<serde_json::Value>,
    /// Pages that are still there.
    pub pages: Vec<String>,
    /// What they say.
    pub snapshots: Vec<Snapshot>,
    /// Those of them that say that something runs.
    pub busy_pages: usize,
    /// What else is there beside them: socket files.
    pub sockets: Vec<String>,
    /// Events of the trace that its flags asked for.
    pub trace: Vec<serde_json::Value>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

pub fn index() -> PathBuf {
    folder().join("npm/index.cjs")
}

/// The versions that are here, by name. What is not here is said.
pub fn versions() -> Vec<(&'static str, PathBuf)> {
    versions_in(&folder().join("tests/versions"))
}

/// Runs a program of `tests/programs` under the addon, and returns when it has ended.
pub fn run(node: &Path, flags: &[&str], program: &str, arguments: &[&str]) -> Ended {
    run_with(node, flags, program, arguments, &[])
}

/// [`run`], with more in its environment.
pub fn run_with(
    node: &Path,
    flags: &[&str],
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Ended {
    run_loaded("--require", node, flags, program, arguments, environment)
}

/// [`run_with`], with the addon loaded by this option: `--require` or `--import`.
pub fn run_loaded(
    load: &str,
    node: &Path,
    flags: &[&str],
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Ended {
    let scratch = Scratch::new();
    let (pages, incidents) = (scratch.0.join("pages"), scratch.0.join("incidents"));
    let program = folder().join("tests/programs").join(program);
    let Output { status, stdout, stderr } = Command::new(node)
        .args(flags)
        .arg(load)
        .arg(folder().join("npm/register.cjs"))
        .arg(program)
        .args(arguments)
        .env("LOOPSCOPE_NODE_ADDON", addon())
        .env("LOOPSCOPE_INDEX", index())
        .env("LOOPSCOPE_RUNTIME_DIR", &pages)
        .env("LOOPSCOPE_INCIDENTS_DIR", &incidents)
        .env("LOOPSCOPE_LISTEN", "off")
        .env_remove("LOOPSCOPE")
        .envs(environment.iter().copied())
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let names = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).map_or(Vec::new(), |all| all.map(|one| one.unwrap().path()).collect())
    };
    let mut told: Vec<serde_json::Value> = names(&incidents)
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
        .collect();
    told.sort_by_key(|incident| incident["begin_unix_ns"].as_u64().or(incident["started_unix_ns"].as_u64()));
    let is_page = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "page");
    let left = names(&pages);
    let is_busy = |file: &&PathBuf| read_page(file).is_ok_and(|page| page.busy_since() != Ticks::NONE);
    let snapshot = |file: &PathBuf| Some(read_page(file).ok()?.snapshot(&Clock::monotonic()));
    let snapshots = left.iter().filter(is_page).filter_map(snapshot).collect();
    let busy_pages = left.iter().filter(is_page).filter(is_busy).count();
    let pages = left.iter().filter(is_page).map(|file| file.display().to_string()).collect();
    let is_socket = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "sock");
    let sockets = left.iter().filter(is_socket).map(|file| file.display().to_string()).collect();
    let (said, complained) = (text(&stdout), text(&stderr));
    let trace = trace(&scratch.0.join("node_trace.1.log"));
    Ended {
        code: status.code(),
        said,
        complained,
        incidents: told,
        pages,
        snapshots,
        busy_pages,
        sockets,
        trace,
    }
}

/// Reads the events of a trace; none where there is no file.
fn trace(file: &Path) -> Vec<serde_json::Value> {
    let Ok(text) = std::fs::read(file) else { return Vec::new() };
    let trace: serde_json::Value = serde_json::from_slice(&text).unwrap();
    trace["traceEvents"].as_array().cloned().unwrap_or_default()
}

/// A folder in memory, for pages.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        use std::os::unix::fs::DirBuilderExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/loopscope-node-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(path.join("pages")).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
