//! Discovery in directories made for the test.

use super::*;
use std::fs;

/// A directory of its own, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loopscope-discover-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn own_file_name() -> String {
    let pid = std::process::id();
    format!("{pid}-{}-0.page", directory::process_start(pid).unwrap())
}

#[test]
fn no_directory_is_no_process() {
    let missing = std::env::temp_dir().join("loopscope-there-is-no-such-directory");
    assert!(processes_in(&missing).unwrap().is_empty());
    let message = find_in(&missing, None).unwrap_err().to_string();
    assert!(
        message.contains("no instrumented process") && message.contains("loopscope-there-is-no"),
        "{message}"
    );
}

#[test]
fn what_is_not_a_directory_is_named_with_the_remedy() {
    let directory = Directory::new("file");
    let path = directory.file("plain", b"");
    let message = find_in(&path, None).unwrap_err().to_string();
    assert!(
        message.contains(path.to_str().unwrap()) && message.contains("LOOPSCOPE_RUNTIME_DIR"),
        "{message}"
    );
}

#[test]
fn a_bad_page_is_told_and_does_not_hide_the_process() {
    let directory = Directory::new("bad");
    directory.file(&own_file_name(), b"not a page at all");
    directory.file("1-1-0.page", b"");
    directory.file("readme.txt", b"ignored");
    let processes = processes_in(&directory.0).unwrap();
    assert_eq!(processes.len(), 2);
    assert_eq!((processes[0].pid, processes[0].alive), (1, Liveness::Dead));
    let own = &processes[1];
    assert_eq!((own.pid, own.alive), (std::process::id(), Liveness::Alive));
    let message = own.pages[0].state.as_ref().unwrap_err();
    assert!(message.contains("not a loopscope page"), "{message}");
    assert!(own.snapshots().is_empty());
    // The dead are not meant by a person who names no one.
    assert_eq!(find_in(&directory.0, None).unwrap().pid, std::process::id());
}

#[test]
fn an_unknown_target_is_answered_with_what_there_is() {
    let directory = Directory::new("unknown");
    directory.file(&own_file_name(), b"");
    let pid = std::process::id().to_string();
    assert!(find_in(&directory.0, Some(&pid)).is_ok());
    let message = find_in(&directory.0, Some("nobody")).unwrap_err().to_string();
    assert!(message.contains("nobody") && message.contains(&pid), "{message}");
}

#[test]
fn a_loop_of_this_process_tells_what_it_does() {
    use loopscope_probe::{Kind, Life, Phase, Writer, registry};
    let mut writer = Writer::builder("discovered").runtime("mio").build();
    let path = registry::pages().into_iter().find(|page| page.page().loop_name() == "discovered").unwrap();
    let path = path.path().expect("tests run where there is a memory file system").to_owned();
    let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "busy");
    writer.resume();
    writer.phase(Phase::Timers);
    writer.begin(Kind::Timer, site, Life::UNKNOWN);
    let mut process = Process {
        pid: std::process::id(),
        name: String::new(),
        alive: Liveness::Alive,
        pages: Vec::new(),
        address: None,
    };
    let file =
        page_files(path.parent().unwrap()).unwrap().into_iter().find(|file| file.path == path).unwrap();
    process.add(&file);
    let state = process.pages[0].state.as_ref().unwrap();
    assert_eq!(state.facts.name, "discovered");
    assert_eq!(state.site.as_ref().unwrap().name, "busy");
    assert!(state.now.unwrap().busy_ns > 0);
    let snapshots = process.snapshots();
    assert_eq!(snapshots[0].facts.name, "discovered");
    writer.end();
}
