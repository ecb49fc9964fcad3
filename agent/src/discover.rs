//! Finding instrumented processes from their page files: living, dead, and not ours to tell.
//!
//! Page files of other users and of other versions are expected: what is wrong with one is told of that file, and the
//! others are read.

use crate::DiscoverError;
use loopscope_probe::directory::{self, PageFile, page_files, pid_namespace, read_page, runtime_directory};
use loopscope_probe::site::Site;
use loopscope_probe::snapshot::Facts;
use loopscope_probe::{Clock, NowValues, Page, Snapshot};
use std::io;
use std::path::{Path, PathBuf};

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It has ended; its pages are what it left.
    Dead,
    /// It is of another pid namespace, where its pid means something else.
    Unknown,
}

/// A process and its pages.
#[derive(Debug)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// File name of its program; empty where none of its pages can be read.
    pub name: String,
    /// Whether it runs.
    pub alive: Liveness,
    /// A page per loop.
    pub pages: Vec<PageEntry>,
    /// Where its agent answers, `host:port`; `None` where it has none or serves nothing.
    pub address: Option<String>,
}

/// A page file, and what it says.
#[derive(Debug)]
pub struct PageEntry {
    /// The file.
    pub path: PathBuf,
    /// The loop, or why the page cannot be read, in words.
    pub state: Result<LoopState, String>,
}

/// What a loop is doing.
#[derive(Clone, Debug)]
pub struct LoopState {
    /// Who it is.
    pub facts: Facts,
    /// What runs now; `None` where its clock cannot be read from here, or the process is dead.
    pub now: Option<NowValues>,
    /// Where that was registered; `None` between callbacks and in the poll.
    pub site: Option<Site>,
    /// The stall thresholds in nanoseconds: warning, critical.
    pub thresholds_ns: [u64; 2],
    /// When its agent last looked at it, nanoseconds since 1970; 0 where it has none.
    pub agent_tick_unix_ns: u64,
}

/// Returns every process that has a page file here, ordered by pid.
///
/// # Errors
/// The runtime directory cannot be read; one that does not exist has no processes.
pub fn processes() -> io::Result<Vec<Process>> {
    processes_in(&runtime_directory())
}

/// Returns every process that has a page file in `directory`, ordered by pid.
///
/// # Errors
/// As [`processes`].
pub fn processes_in(directory: &Path) -> io::Result<Vec<Process>> {
    let mut processes: Vec<Process> = Vec::new();
    let mut owner = None;
    // Files come in the order of their owner.
    for file in page_files(directory)? {
        if owner != Some(file.owner) {
            owner = Some(file.owner);
            let (pid, alive) = (file.owner.pid, liveness(&file));
            processes.push(Process { pid, name: String::new(), alive, pages: Vec::new(), address: None });
        }
        if let Some(process) = processes.last_mut() {
            process.add(&file);
        }
    }
    Ok(processes)
}

/// Finds the process that a person means by `target`: a pid or the name of a program; or, without a target, the only
/// one there is. Only living processes are meant.
///
/// # Errors
/// The directory cannot be read, or none or several are meant; the message lists what there is.
pub fn find(target: Option<&str>) -> Result<Process, DiscoverError> {
    find_in(&runtime_directory(), target)
}

/// Finds the process that a person means, among the page files of `directory`.
///
/// # Errors
/// As [`find`].
pub fn find_in(directory: &Path, target: Option<&str>) -> Result<Process, DiscoverError> {
    let all =
        processes_in(directory).map_err(|error| DiscoverError::Directory(directory.to_owned(), error))?;
    let living: Vec<Process> = all.into_iter().filter(|process| process.alive != Liveness::Dead).collect();
    let list = |processes: &[Process]| -> Vec<String> {
        processes.iter().map(|process| format!("{} ({})", process.name, process.pid)).collect()
    };
    if living.is_empty() {
        return Err(DiscoverError::Nothing(directory.to_owned()));
    }
    let known = list(&living);
    let is_meant = |process: &Process| match target {
        None => true,
        Some(target) => process.name == target || process.pid.to_string() == target,
    };
    let mut meant: Vec<Process> = living.into_iter().filter(is_meant).collect();
    match (meant.pop(), target) {
        (Some(process), _) if meant.is_empty() => Ok(process),
        (Some(process), target) => {
            meant.push(process);
            Err(DiscoverError::Ambiguous { target: target.map(str::to_owned), candidates: list(&meant) })
        }
        (None, target) => {
            Err(DiscoverError::Unknown { target: target.unwrap_or_default().to_owned(), known })
        }
    }
}

fn liveness(file: &PageFile) -> Liveness {
    if file.owner.is_alive() { Liveness::Alive } else { Liveness::Dead }
}

impl Process {
    fn add(&mut self, file: &PageFile) {
        let page = read_page(&file.path);
        let state = page.as_deref().map(|page| self.learn(page)).map_err(io::Error::to_string);
        self.pages.push(PageEntry { path: file.path.clone(), state });
    }

    /// Takes over what a page tells of its process, and returns what it tells of its loop.
    fn learn(&mut self, page: &Page) -> LoopState {
        let facts = page.facts();
        self.name.clone_from(&facts.process);
        if facts.pid_namespace != 0 && facts.pid_namespace != pid_namespace() {
            self.alive = Liveness::Unknown;
        }
        if self.alive != Liveness::Dead {
            self.address = self.address.take().or_else(|| page.control().address());
        }
        let clock = page_clock(page).filter(|_| self.alive != Liveness::Dead);
        let now = clock.map(|clock| page.now_values(clock.now(), &clock));
        let running = now.and_then(|now| now.running);
        LoopState {
            site: running
                .filter(|running| running.kind.is_some())
                .and_then(|running| page.sites().read_one(running.site)),
            now,
            thresholds_ns: [page.control().warning_ns(), page.control().critical_ns()],
            agent_tick_unix_ns: page.control().tick_unix_ns(),
            facts,
        }
    }

    /// Copies the pages of this process as of now; pages that cannot be read are left out.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.pages.iter().filter_map(|page| page.snapshot().ok()).collect()
    }
}

impl PageEntry {
    /// Copies the page as of now.
    ///
    /// # Errors
    /// The file cannot be read, is not a page of this version, or its clock cannot be read from here.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let page = read_page(&self.path)?;
        let no_clock = || io::Error::other("its clock cannot be read from this process");
        Ok(page.snapshot(&page_clock(&page).ok_or_else(no_clock)?))
    }
}

fn page_clock(page: &Page) -> Option<Clock> {
    let (source, scale) = page.clock()?;
    Clock::for_page(source, scale)
}

/// Returns the directory that [`processes`] looks in.
pub fn directory() -> PathBuf {
    directory::runtime_directory()
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
