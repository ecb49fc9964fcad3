//! Page files by their names: whose they are, and which process that is.
//!
//! A file is named `PID-STARTTIME-NUMBER.page`. A pid alone may be reused; with the start time it names one process.

use crate::agent_address::AgentAddress;
use crate::proc::Stat;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A process as the names of its files tell it: a key within one directory. Everybody else names it by a
/// [`ProcessId`](crate::process_id::ProcessId).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Owner {
    /// Returns this process.
    pub fn this_process() -> Owner {
        let pid = std::process::id();
        Owner { pid, start: process_start(pid).unwrap_or(0) }
    }

    /// Tells whether that very process still runs: the pid exists and started at that time, in the pid and time namespace of
    /// whoever asks. Of a process in another one, only [`has_writer`](crate::directory::has_writer) tells.
    pub fn is_alive(self) -> bool {
        process_start(self.pid) == Some(self.start)
    }
}

/// One page file.
#[derive(Clone, Debug)]
pub struct PageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Who wrote it.
    pub owner: Owner,
    /// Its number within that process.
    pub number: u32,
}

/// Lists the page files of a directory, in the order of pid, start and number; other files are passed over.
///
/// # Errors
/// The directory cannot be read; a missing directory is an empty list.
pub fn page_files(directory: &Path) -> io::Result<Vec<PageFile>> {
    page_files_among(directory, usize::MAX).map(|(files, _)| files)
}

/// Lists the page files among the first `names_max` names of a directory, as [`page_files`] does, and tells whether it has
/// more names than that: for directories of others, who may make as many files as they like.
///
/// # Errors
/// The directory cannot be read; a missing directory is an empty list.
pub fn page_files_among(directory: &Path, names_max: usize) -> io::Result<(Vec<PageFile>, bool)> {
    let mut entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        entries => entries?.fuse(),
    };
    let names = entries.by_ref().take(names_max).flatten();
    let mut files: Vec<PageFile> = names.filter_map(|entry| parse_name(entry.path())).collect();
    files.sort_by_key(|file| (file.owner.pid, file.owner.start, file.number));
    Ok((files, entries.next().is_some()))
}

pub(crate) fn parse_name(path: PathBuf) -> Option<PageFile> {
    let name = path.file_name()?.to_str()?.strip_suffix(".page")?;
    let mut parts = name.split('-');
    let owner = Owner { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
    let number = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(PageFile { path, owner, number })
}

/// Returns the number of a page by the path of its file; `None` where the name is none of a page.
pub(crate) fn number_of(path: &Path) -> Option<u32> {
    parse_name(path.to_owned()).map(|file| file.number)
}

/// Returns the path of the socket file that the agent of a process has beside that process's pages:
/// `agent-PID-STARTTIME.sock`. Whoever finds a page finds the agent by it, whatever address the page tells.
pub fn agent_socket(directory: &Path, owner: Owner) -> PathBuf {
    directory.join(format!("agent-{}-{}.sock", owner.pid, owner.start))
}

/// Returns the path of the socket file of a further agent of a process, such as that of another version of loopscope in it:
/// `agent-PID-STARTTIME-NUMBER.sock`, from 2. The pages that it watches tell which one is its.
pub fn further_agent_socket(directory: &Path, owner: Owner, number: u32) -> PathBuf {
    directory.join(format!("agent-{}-{}-{number}.sock", owner.pid, owner.start))
}

/// Returns whose agent has this socket file; `None` where the name is none of [`agent_socket`] or [`further_agent_socket`].
pub fn agent_socket_owner(path: &Path) -> Option<Owner> {
    let name = path.file_name()?.to_str()?.strip_prefix("agent-")?.strip_suffix(".sock")?;
    let mut parts = name.split('-');
    let owner = Owner { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
    let is_numbered = parts.next().is_none_or(|number| number.parse::<u32>().is_ok());
    (is_numbered && parts.next().is_none()).then_some(owner)
}

/// Returns where the socket file of an agent lies for whoever reads its page in `directory`: the name is as the page `told` it,
/// where that is one of this process, and the directory is the reader's, who may have it elsewhere; `None` where the page told none.
pub fn told_agent_socket(directory: &Path, owner: Owner, told: Option<&AgentAddress>) -> Option<PathBuf> {
    let Some(AgentAddress::SocketFile(path)) = told else { return None };
    let path = directory.join(path.as_path().file_name()?);
    (agent_socket_owner(&path) == Some(owner)).then_some(path)
}

/// Returns when a process started, in clock ticks since boot, or `None` where there is no such process (a zombie
/// counts as gone: it runs no loop).
pub fn process_start(pid: u32) -> Option<u64> {
    let stat = Stat::of_process(pid)?;
    (stat.state != 'Z' && stat.state != 'X').then_some(stat.start_ticks)
}

/// Returns the inode of this process's pid namespace, 0 where it cannot be told.
pub fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |facts| facts.ino())
}

/// Opens a page file for reading again and again: never through a symbolic link, and without waiting for what is no
/// regular file.
///
/// # Errors
/// It cannot be opened, or is a directory, a pipe or a device.
pub fn open_page_file(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "is not a regular file")),
    }
}

/// Returns the user that a page file belongs to, and so does the process that wrote it; `None` where it cannot be asked.
pub fn user_of(file: &File) -> Option<u32> {
    file.metadata().ok().map(|found| found.uid())
}
