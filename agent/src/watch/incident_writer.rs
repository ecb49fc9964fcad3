//! Writes incidents to a directory, on a thread of its own: a disk may be slow, full or gone, and the agent must not wait.
//!
//! Each version of an incident is written whole to a temporary file, synchronized, and renamed over the one before, so
//! a reader finds an old version or the new one, whatever happens in between. An incident is there from its detection
//! on. The oldest files are removed when there are too many or too large ones.

use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::directory::make_private;
use loopscope_probe::raw::file_limit::without_signals;
use loopscope_report::incident::Incident;
use loopscope_report::incident::file_name::{begin_and_pid, file_name, is_incident_name};
use loopscope_report::metrics::loop_metrics::Outcomes;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// Incidents that may wait to be written; a newer version takes the place of the one that waits.
const WAITING_MAX: usize = 256;

/// Bounds of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskBounds {
    pub files: usize,
    /// Of one process, by its pid.
    pub files_of_process: usize,
    pub bytes: u64,
    /// Since the begin of an incident, in nanoseconds; `None` for no bound.
    pub age_ns: Option<u64>,
    /// It is in memory, and its user's alone; else any directory will do.
    pub is_private: bool,
}

impl Default for DiskBounds {
    fn default() -> Self {
        DiskBounds { files: 500, files_of_process: 500, bytes: 64 << 20, age_ns: None, is_private: false }
    }
}

/// Removes what is beyond the bounds of a directory now.
pub(crate) fn prune(path: &Path, bounds: DiskBounds) {
    Folder { path: path.to_owned(), bounds }.make_room(None);
}

#[derive(Debug, Default)]
struct Shared {
    waiting: VecDeque<Arc<Incident>>,
    outcomes: Outcomes,
    /// What to tell the program's log.
    notes: Vec<String>,
    is_closed: bool,
    is_ended: bool,
}

/// A file is written within so long, on a disk that works.
const WRITTEN_WITHIN_NS: u64 = 60_000_000_000;

/// An ending agent waits at most so long for the disk.
const FAREWELL: Duration = Duration::from_secs(2);

/// The agent's end.
#[derive(Debug)]
pub(crate) struct IncidentWriter {
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl IncidentWriter {
    /// Starts the thread, which makes the directory where it is not there.
    pub(crate) fn start(path: PathBuf, bounds: DiskBounds) -> io::Result<IncidentWriter> {
        let shared: Arc<(Mutex<Shared>, Condvar)> = Arc::default();
        let own = shared.clone();
        std::thread::Builder::new().name("loopscope-disk".to_owned()).spawn(move || {
            loopscope_stacks::block_signal();
            let _end = Ended(&own);
            serve(&own, &Folder { path, bounds });
        })?;
        Ok(IncidentWriter { shared })
    }

    /// Hands over the newest version of an incident; never waits for the disk.
    pub(crate) fn keep(&self, incident: Arc<Incident>) {
        let mut held = lock(&self.shared.0);
        let shared = &mut *held;
        let has_room = shared.waiting.len() < WAITING_MAX;
        match shared.waiting.iter_mut().find(|waiting| waiting.id == incident.id) {
            Some(waiting) => *waiting = incident,
            None if has_room => shared.waiting.push_back(incident),
            None => shared.outcomes.dropped += 1,
        }
        self.shared.1.notify_all();
    }

    /// Returns what writing came to.
    pub(crate) fn outcomes(&self) -> Outcomes {
        lock(&self.shared.0).outcomes
    }

    /// Takes what there is to say.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.0).notes)
    }
}

impl Drop for IncidentWriter {
    /// Waits until everything is written: an incident that ends with the program is the interesting one. A disk that
    /// hangs keeps its thread.
    fn drop(&mut self) {
        let mut held = lock(&self.shared.0);
        held.is_closed = true;
        self.shared.1.notify_all();
        let waited = self.shared.1.wait_timeout_while(held, FAREWELL, |held| !held.is_ended);
        drop(waited);
    }
}

/// Tells that the thread has ended, however it did.
struct Ended<'a>(&'a (Mutex<Shared>, Condvar));

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).is_ended = true;
        self.0.1.notify_all();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &(Mutex<Shared>, Condvar), folder: &Folder) {
    folder.tidy();
    let mut is_failing = false;
    loop {
        let mut held = lock(&shared.0);
        let incident = loop {
            match held.waiting.pop_front() {
                Some(incident) => break incident,
                None if held.is_closed => return,
                None => held = shared.1.wait(held).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(held);
        let outcome = folder.write(&incident);
        let mut held = lock(&shared.0);
        match outcome {
            Ok(()) => {
                held.outcomes.ok += 1;
                if std::mem::take(&mut is_failing) {
                    held.notes.push(format!("incidents are written to {} again", folder.path.display()));
                }
            }
            Err(error) => {
                held.outcomes.failed += 1;
                if !std::mem::replace(&mut is_failing, true) {
                    held.notes.push(folder.failure(&error));
                }
            }
        }
    }
}

/// A directory of incidents.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    bounds: DiskBounds,
}

impl Folder {
    /// Says that incidents cannot be written.
    fn failure(&self, error: &io::Error) -> String {
        let path = self.path.display();
        match self.bounds.is_private {
            true => format!("incidents are not kept after the process exits: {path}: {error}"),
            false => format!(
                "cannot write incidents to {path}: {error}; they are kept only in memory until it works again"
            ),
        }
    }

    /// Makes the directory where it is not there, and checks that it will do.
    fn make(&self) -> io::Result<()> {
        match self.bounds.is_private {
            false => fs::create_dir_all(&self.path),
            true => {
                let parent = self.path.parent().unwrap_or(Path::new("."));
                let made = make_private(parent).and_then(|()| make_private(&self.path));
                made.map_err(io::Error::other)
            }
        }
    }

    fn write(&self, incident: &Incident) -> io::Result<()> {
        let name = file_name(incident);
        let path = self.path.join(&name);
        let is_new = !path.exists();
        if is_new {
            self.make()?;
        }
        let temporary = self.path.join(format!(".{name}.{}.tmp", std::process::id()));
        let written =
            write_synced(&temporary, &incident.to_json()).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // On a full disk the half of a file is in the way of the next.
            let _ = fs::remove_file(&temporary);
        }
        if is_new || written.is_err() {
            self.make_room(Some(&name));
        }
        written
    }

    /// Removes the oldest incidents beyond the bounds; never the one called `newest`, whose process is the one that has a bound.
    fn make_room(&self, newest: Option<&str>) {
        let oldest_ms = self.bounds.age_ns.map_or(0, |age_ns| unix_ns().saturating_sub(age_ns) / 1_000_000);
        let mut files: Vec<(String, u64)> = self
            .names()
            .filter(|name| is_incident_name(name) && newest.is_none_or(|newest| name != newest))
            .map(|name| {
                let bytes = self.bytes_of(&name);
                (name, bytes)
            })
            .collect();
        files.sort();
        let own_bytes = newest.map_or(0, |newest| self.bytes_of(newest));
        let mut bytes = own_bytes + files.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let mut count = files.len() + usize::from(newest.is_some());
        let own_pid = newest.and_then(begin_and_pid).map(|(_, pid)| pid);
        let is_own = |name: &str| begin_and_pid(name).is_some_and(|(_, pid)| Some(pid) == own_pid);
        let mut own_count = 1 + files.iter().filter(|(name, _)| is_own(name)).count();
        for (name, file_bytes) in files {
            let is_too_old = begin_and_pid(&name).is_some_and(|(begin_ms, _)| begin_ms < oldest_ms);
            let is_one_too_many = is_own(&name) && own_count > self.bounds.files_of_process;
            if !is_too_old && !is_one_too_many && count <= self.bounds.files && bytes <= self.bounds.bytes {
                continue;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(self.path.join(&name));
            own_count -= usize::from(is_own(&name));
            (count, bytes) = (count - 1, bytes - file_bytes);
        }
    }

    fn bytes_of(&self, name: &str) -> u64 {
        fs::metadata(self.path.join(name)).map_or(0, |meta| meta.len())
    }

    /// Removes temporary files of processes that ended in the middle of writing, and of the program that this one replaced
    /// (execve); not one that another agent of this process is writing.
    fn tidy(&self) {
        for name in self.names() {
            let pid = name
                .strip_suffix(".tmp")
                .and_then(|name| name.rsplit_once('.'))
                .filter(|(name, _)| name.strip_prefix('.').is_some_and(is_incident_name));
            let Some(Ok(pid)) = pid.map(|(_, pid)| pid.parse::<u32>()) else { continue };
            let path = self.path.join(name);
            let is_left = match pid == std::process::id() {
                true => age_ns(&path) > WRITTEN_WITHIN_NS,
                false => !Path::new(&format!("/proc/{pid}")).exists(),
            };
            if is_left {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.path).ok().into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }
}

/// Returns how long ago a file was written to, in nanoseconds; 0 where that cannot be told.
fn age_ns(path: &Path) -> u64 {
    let written = fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let written_unix = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok());
    written_unix.map_or(0, |written| unix_ns().saturating_sub(written.as_nanos() as u64))
}

/// For its owner only: an incident tells of the program's inside, and its spans may hold its users' data.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    // A limit on the size of files may be lower by now than it was when the program started.
    without_signals(|| file.write_all(bytes))?;
    file.sync_all()
}

#[cfg(test)]
#[path = "incident_writer_tests.rs"]
mod tests;
