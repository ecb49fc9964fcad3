//! Incidents on disk: bounded, atomic, and nothing that a broken disk can do stops the agent.

use super::*;
use loopscope_report::incident::Record;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("loopscope-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Reads the incidents, newest first, and counts the files that are named like one and are none.
    fn incidents(&self) -> (Vec<Incident>, usize) {
        let names = self.names().into_iter().rev().filter(|name| is_incident_name(name));
        let read: Vec<_> = names.map(|name| Incident::parse(&fs::read(self.0.join(name)).unwrap())).collect();
        let unreadable = read.iter().filter(|read| read.is_err()).count();
        (read.into_iter().flatten().collect(), unreadable)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn incident(number: u64, records: usize) -> Arc<Incident> {
    Arc::new(Incident {
        id: format!("7-{number}").parse().unwrap(),
        pid: 7,
        begin_unix_ns: (1_700_000_000_000 + number) * 1_000_000,
        records: vec![Record::default(); records],
        ..Incident::default()
    })
}

#[test]
fn the_newest_stay_within_the_bounds_and_foreign_files_are_left_alone() {
    let scratch = Scratch::new("bounds");
    fs::create_dir_all(&scratch.0).unwrap();
    let dead = scratch.0.join(".1700000000000-7-1.json.4294967295.tmp");
    for foreign in [&scratch.0.join("notes.json"), &scratch.0.join("x.tmp"), &dead] {
        fs::write(foreign, "{").unwrap();
    }
    let disk = IncidentWriter::start(
        scratch.0.clone(),
        DiskBounds { files: 3, bytes: 1 << 20, ..DiskBounds::default() },
    )
    .unwrap();
    for number in 1..=9 {
        disk.keep(incident(number, 1));
        disk.keep(incident(number, 5));
    }
    drop(disk);
    assert_eq!(
        scratch.names(),
        ["1700000000007-7-7.json", "1700000000008-7-8.json", "1700000000009-7-9.json", "notes.json", "x.tmp"]
    );
    fs::write(scratch.0.join("1700000000010-7-10.json"), "{\"id\":\"7-1").unwrap();
    let (incidents, unreadable) = scratch.incidents();
    let numbers: Vec<u64> = incidents.iter().map(Incident::number).collect();
    assert_eq!(numbers, [9, 8, 7]);
    assert_eq!((incidents[0].records.len(), unreadable), (5, 1));
}

#[test]
fn bytes_are_bounded_too() {
    let scratch = Scratch::new("bytes");
    let disk = IncidentWriter::start(
        scratch.0.clone(),
        DiskBounds { files: 100, bytes: 100_000, ..DiskBounds::default() },
    )
    .unwrap();
    for number in 1..=20 {
        disk.keep(incident(number, 200));
    }
    drop(disk);
    let bytes: u64 =
        scratch.names().iter().map(|name| fs::metadata(scratch.0.join(name)).unwrap().len()).sum();
    assert!(bytes <= 100_000 && scratch.names().len() > 1, "{bytes} in {} files", scratch.names().len());
    assert!(scratch.names().last().unwrap().contains("-7-20"));
}

/// Writing fails for root too where a file is in the place of the directory, and where the disk is full.
#[test]
fn a_disk_that_fails_is_told_once_and_counted_and_used_again() {
    let scratch = Scratch::new("fails");
    fs::write(&scratch.0, "a file in the way").unwrap();
    let disk = IncidentWriter::start(scratch.0.clone(), DiskBounds::default()).unwrap();
    let until = |what: &str, is_good: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_good() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    };
    for number in 1..=3 {
        disk.keep(incident(number, 1));
        until("a failure", &|| disk.outcomes().failed == number);
    }
    let notes = disk.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("kept only in memory"), "{notes:?}");
    fs::remove_file(&scratch.0).unwrap();
    disk.keep(incident(4, 1));
    until("a success", &|| disk.outcomes().ok == 1);
    assert!(disk.notes()[0].contains("again"));
    // The directory vanishes.
    fs::remove_dir_all(&scratch.0).unwrap();
    disk.keep(incident(4, 2));
    until("it to be made again", &|| disk.outcomes().ok == 2);
    assert_eq!(scratch.names(), ["1700000000004-7-4.json"]);
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    // The device that is always full.
    let error = write_synced(Path::new("/dev/full"), b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_slow_disk_gets_the_newest_version_of_each_and_the_rest_is_counted() {
    let shared: Arc<(Mutex<Shared>, Condvar)> = Arc::default();
    lock(&shared.0).is_ended = true;
    let disk = IncidentWriter { shared };
    for number in 1..=300 {
        disk.keep(incident(number, 0));
        disk.keep(incident(number, 1));
    }
    assert_eq!(disk.outcomes().dropped, 2 * 44);
    let held = lock(&disk.shared.0);
    assert_eq!((held.waiting.len(), held.waiting[0].records.len()), (256, 1));
    drop(held);
}

/// Names the directory that a process of the test below writes to.
const DIRECTORY: &str = "LOOPSCOPE_TEST_DISK_LIMIT";

/// The limit is a process's own.
#[test]
fn a_small_limit_on_the_size_of_files_is_a_failure_like_a_full_disk() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        let disk = IncidentWriter::start(path.into(), DiskBounds::default()).unwrap();
        disk.keep(incident(1, 2_000));
        let shared = disk.shared.clone();
        drop(disk);
        let held = lock(&shared.0);
        assert_eq!((held.outcomes.failed, held.outcomes.ok, held.notes.len()), (1, 0, 1));
        return println!("said: {}", held.notes[0]);
    }
    let scratch = Scratch::new("limit");
    let test = std::thread::current().name().unwrap().to_owned();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$0\" --exact \"$1\" --nocapture"]);
    let output =
        limited.arg(std::env::current_exe().unwrap()).arg(test).env(DIRECTORY, &scratch.0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}, {said}", output.status);
    assert!(said.contains("kept only in memory"), "{said}");
    assert_eq!(scratch.names(), [""; 0], "no half of a file is left");
}
