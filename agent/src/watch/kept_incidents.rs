//! The last incidents beside the pages: they outlive their process, so that a command tells them after it was killed or has
//! started anew.
//!
//! The directory `incidents` in the runtime directory is in memory, and its user's alone. All processes of a user
//! share it: so many files of one process, so many in all, so many bytes, and none for longer than a day. Of each
//! incident its stacks are kept and the last records. A process that died during a stall is shown from its page
//! (`loopscope_report::diagnose::blackbox`); the command reads both.

use crate::watch::incident_writer::{DiskBounds, IncidentWriter, prune};
use loopscope_probe::raw::directory::{make_private, runtime_directory};
use loopscope_report::incident::Incident;
use loopscope_report::incident::file_name::KEPT_FOR_NS;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bounds of what is kept.
const BOUNDS: DiskBounds = DiskBounds {
    files: 200,
    files_of_process: 64,
    bytes: 8 << 20,
    age_ns: Some(KEPT_FOR_NS),
    is_private: true,
};

/// Records, iterations and jobs of an incident that are kept, the last ones of each.
const EXTRACT_MAX: usize = 100;

/// The agent's end: its thread starts with the first incident.
#[derive(Debug)]
pub(crate) struct KeptIncidents {
    directory: PathBuf,
    bounds: DiskBounds,
    disk: Option<IncidentWriter>,
    /// There is no thread for it.
    is_refused: bool,
    notes: Vec<String>,
}

impl KeptIncidents {
    /// Of this process, in its runtime directory. Removes what is too old there.
    pub(crate) fn new() -> KeptIncidents {
        KeptIncidents::within(&runtime_directory())
    }

    fn within(runtime: &Path) -> KeptIncidents {
        KeptIncidents::bounded(runtime, BOUNDS)
    }

    fn bounded(runtime: &Path, bounds: DiskBounds) -> KeptIncidents {
        let directory = loopscope_report::incident::file_name::kept_directory(runtime);
        // Where it is not there, or somebody else's, there is nothing of ours to remove.
        if directory.is_dir() && make_private(&directory).is_ok() {
            prune(&directory, bounds);
        }
        KeptIncidents { directory, bounds, disk: None, is_refused: false, notes: Vec::new() }
    }

    /// Hands over the newest version of an incident; never waits for it to be written.
    pub(crate) fn keep(&mut self, incident: &Arc<Incident>) {
        if self.is_refused {
            return;
        }
        if self.disk.is_none() {
            match IncidentWriter::start(self.directory.clone(), self.bounds) {
                Ok(disk) => self.disk = Some(disk),
                Err(error) => {
                    self.is_refused = true;
                    self.notes.push(format!("cannot start the thread that keeps incidents: {error}"));
                }
            }
        }
        if let Some(disk) = &self.disk {
            disk.keep(Arc::new(incident.abridged(EXTRACT_MAX)));
        }
    }

    /// Takes what there is to say.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.disk.as_ref().map(IncidentWriter::notes).unwrap_or_default());
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::clock::unix_ns;
    use loopscope_report::incident::Record;
    use loopscope_report::incident::file_name::file_name;
    use std::fs;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    /// A private directory in memory that goes away with the test.
    struct Runtime(PathBuf);

    impl Runtime {
        fn new(name: &str) -> Runtime {
            let path = PathBuf::from(format!("/dev/shm/loopscope-kept-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            Runtime(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.join("incidents")).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Runtime {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn incident(pid: u32, number: u64, age_ms: u64) -> Arc<Incident> {
        let now = unix_ns();
        Arc::new(Incident {
            id: format!("{pid}-{number}").parse().unwrap(),
            pid,
            begin_unix_ns: now - age_ms * 1_000_000 + number,
            records: vec![Record::default(); 1_000],
            ..Incident::default()
        })
    }

    #[test]
    fn the_last_ones_are_kept_for_their_user_alone() {
        let runtime = Runtime::new("bounds");
        let mut kept = KeptIncidents::within(&runtime.0);
        assert_eq!(runtime.names(), [""; 0], "nothing before the first");
        let day_ms = KEPT_FOR_NS / 1_000_000;
        kept.keep(&incident(5, 1, day_ms + 1_000));
        for number in 1..=70 {
            kept.keep(&incident(7, number, 1_000));
        }
        drop(kept);
        let names = runtime.names();
        assert_eq!(names.len(), 64, "of one process");
        assert!(names.iter().all(|name| !name.contains("-5-")), "a day old: {names:?}");
        let file = runtime.0.join("incidents").join(&names[0]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&runtime.0.join("incidents")), mode(&file)), (0o700, 0o600));
        let read = Incident::parse(&fs::read(&file).unwrap()).unwrap();
        assert_eq!((read.records.len(), read.records_lost), (100, 900), "abridged, and that is said");
        // Another process of the user leaves them there.
        let mut other = KeptIncidents::within(&runtime.0);
        other.keep(&incident(9, 1, 0));
        drop(other);
        assert_eq!(runtime.names().len(), 65);
        // One that was kept long ago goes when the next process starts, also where that keeps none.
        let old = incident(11, 1, day_ms + 1_000);
        let path = runtime.0.join("incidents").join(file_name(&old));
        fs::write(&path, old.to_json()).unwrap();
        drop(KeptIncidents::within(&runtime.0));
        assert!(!path.exists() && runtime.names().len() == 65, "{:?}", runtime.names());
    }

    #[test]
    fn what_others_left_is_within_the_bounds_when_a_process_starts() {
        let runtime = Runtime::new("start");
        let place = runtime.0.join("incidents");
        fs::DirBuilder::new().mode(0o700).create(&place).unwrap();
        let all: Vec<Arc<Incident>> =
            (1..=6).map(|pid| incident(pid, 1, u64::from(10 - pid) * 60_000)).collect();
        let bytes: Vec<u64> = all.iter().map(|incident| incident.to_json().len() as u64).collect();
        let left = |bounds: DiskBounds| -> Vec<String> {
            for incident in &all {
                fs::write(place.join(file_name(incident)), incident.to_json()).unwrap();
            }
            drop(KeptIncidents::bounded(&runtime.0, bounds));
            runtime.names()
        };
        let newest = |number: usize| -> Vec<String> {
            all[all.len() - number..].iter().map(|incident| file_name(incident)).collect()
        };
        assert_eq!(left(BOUNDS), newest(6));
        assert_eq!(left(DiskBounds { files: 4, ..BOUNDS }), newest(4));
        assert_eq!(left(DiskBounds { bytes: bytes[3..].iter().sum(), ..BOUNDS }), newest(3));
        assert_eq!(left(DiskBounds { bytes: bytes[3..].iter().sum::<u64>() - 1, ..BOUNDS }), newest(2));
        assert_eq!(left(DiskBounds { age_ns: Some(330_000_000_000), ..BOUNDS }), newest(2));
        // What is not only ours to read is not ours to remove either.
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(left(DiskBounds { files: 4, ..BOUNDS }), newest(6));
    }

    #[test]
    fn a_place_that_is_not_private_is_refused() {
        for name in ["mode", "link"] {
            let runtime = Runtime::new(name);
            let (elsewhere, place) = (runtime.0.join("elsewhere"), runtime.0.join("incidents"));
            fs::DirBuilder::new().mode(0o755).create(&elsewhere).unwrap();
            match name {
                "link" => symlink(&elsewhere, &place).unwrap(),
                _ => fs::rename(&elsewhere, &place).unwrap(),
            }
            let mut kept = KeptIncidents::within(&runtime.0);
            kept.keep(&incident(7, 1, 0));
            let notes = loop {
                match kept.notes() {
                    notes if notes.is_empty() => std::thread::yield_now(),
                    notes => break notes,
                }
            };
            let expected = format!("incidents are not kept after the process exits: {}: ", place.display());
            assert!(notes[0].starts_with(&expected), "{notes:?}");
            assert_eq!(runtime.names(), [""; 0]);
        }
    }
}
