//! The runtime directory: where page files lie, who may see them, and how they are read.
//!
//! Only a memory file system will do: on a disk file system the kernel's write-back makes the next store to a mapped
//! page wait for the disk. The directory is private (mode 0700, owned by us), its files are too (0600).
//!
//! A file is named `PID-STARTTIME-NUMBER.page`. A pid alone may be reused; with the start time it names one process.
//! Pages of dead processes stay as black boxes, at most [`DEAD_PAGES`] of them, for [`DEAD_AGE`] from
//! when they were first found dead (see `leftover.rs`).

pub use crate::leftover::{DEAD_AGE, DEAD_PAGES};
use crate::leftover::{end_replaced, prune};
use crate::mapping::Mapping;
use crate::page::{COUNTER_RANGES, Page, PageFault, VITAL_RANGES};
use crate::proc::Stat;
pub use crate::runtime_directory::{DIRECTORY_VARIABLE, passed_over, runtime_directory};
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns the user that this process runs as.
pub fn own_user() -> u32 {
    // SAFETY: geteuid only reads the process's credentials.
    unsafe { libc::geteuid() }
}

/// Makes this process's next page file in this directory, which is made if need be, and maps it.
///
/// # Errors
/// Says in a sentence why there can be no such file; the caller goes on with private memory.
pub(crate) fn create_page_file(directory: &Path) -> Result<Mapping, String> {
    let explain = |error: String| format!("runtime directory {}: {error}", directory.display());
    make_private(directory).map_err(explain)?;
    prune(directory);
    let number_min = end_replaced(directory);
    let explain = |error: io::Error| format!("runtime directory {}: {error}", directory.display());
    let path = new_file(directory, number_min).map_err(explain)?;
    Mapping::create(path.clone()).map_err(|error| {
        let _ = fs::remove_file(&path);
        explain(error)
    })
}

/// Makes a runtime directory if need be, and checks that it is ours, private (mode 0700), and in memory.
///
/// # Errors
/// It cannot be made, or is not so; in words, without its path.
pub fn make_private(directory: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.to_string()),
        _ => {}
    }
    let facts = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    let uid = own_user();
    if !facts.is_dir() {
        return Err("is not a directory".to_owned());
    }
    if facts.uid() != uid {
        return Err(format!("belongs to uid {}, and this process runs as uid {uid}", facts.uid()));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(format!("has mode {:o}; it must be private (chmod 700)", facts.mode() & 0o777));
    }
    match is_memory_file_system(directory) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("is on a disk file system, where write-back would stall the loop; a tmpfs is needed"
                .to_owned())
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn is_memory_file_system(path: &Path) -> Result<bool, String> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is a C string and `facts` has room for the answer.
    let failed = unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) } != 0;
    if failed {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: statfs succeeded, so it filled the structure.
    let facts = unsafe { facts.assume_init() };
    #[expect(clippy::unnecessary_cast, reason = "the field has another type with other C libraries")]
    let kind = facts.f_type as i64;
    Ok(kind == TMPFS || kind == RAMFS)
}

/// Makes a file that this process has not had yet, whose number is not below `number_min`.
fn new_file(directory: &Path, number_min: u32) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_max(number_min, Ordering::Relaxed);
    let Owner { pid, start } = Owner::this_process();
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{pid}-{start}-{number}.page"));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        match options.open(&path) {
            // A forked child counts on from its parent's number with another pid, so this happens only with leftovers.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
            Ok(_) => return Ok(path),
        }
    }
}

/// A process as its page's file name tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Tells whether that very process still runs: the pid exists and started at that time.
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
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files: Vec<PageFile> = entries.flatten().filter_map(|entry| parse_name(entry.path())).collect();
    files.sort_by_key(|file| (file.owner.pid, file.owner.start, file.number));
    Ok(files)
}

fn parse_name(path: PathBuf) -> Option<PageFile> {
    let name = path.file_name()?.to_str()?.strip_suffix(".page")?;
    let mut parts = name.split('-');
    let owner = Owner { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? };
    let number = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(PageFile { path, owner, number })
}

/// Returns the path of the socket file that the agent of a process has beside that process's pages:
/// `agent-PID-STARTTIME.sock`. Whoever finds a page finds the agent by it, whatever address the page tells.
pub fn agent_socket(directory: &Path, owner: Owner) -> PathBuf {
    directory.join(format!("agent-{}-{}.sock", owner.pid, owner.start))
}

/// Returns whose agent has this socket file; `None` where the name is none of [`agent_socket`].
pub fn agent_socket_owner(path: &Path) -> Option<Owner> {
    let name = path.file_name()?.to_str()?.strip_prefix("agent-")?.strip_suffix(".sock")?;
    let (pid, start) = name.split_once('-')?;
    Some(Owner { pid: pid.parse().ok()?, start: start.parse().ok()? })
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

/// Reads a page file into this process's own memory. The file is read, not mapped: its writer may truncate it at any
/// moment, and a mapping would then answer with SIGBUS.
///
/// # Errors
/// The file cannot be read, is no regular file, or is not a page of this version; the message names what is wrong.
pub fn read_page(path: &Path) -> io::Result<Box<Page>> {
    read_page_from(&open_page_file(path)?)
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

/// Returns a page of zeros to read others into.
pub fn blank_page() -> Box<Page> {
    crate::memory::zeroed_page()
}

/// Reads a page from an open page file, as [`read_page`] does.
///
/// # Errors
/// As [`read_page`].
pub fn read_page_from(file: &File) -> io::Result<Box<Page>> {
    let mut page = blank_page();
    read_page_into(file, &mut page)?;
    Ok(page)
}

/// Reads a page over another one: who reads hundreds of them a second needs no memory for each.
///
/// # Errors
/// As [`read_page`]; `page` then holds parts of both.
pub fn read_page_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &[(0, size_of::<Page>())])
}

/// Reads over `page` what [`Page::vitals_at`] and the page's checks need, and the numbers of the next record and
/// iteration: some 5 of its 540 KiB. All else in `page` is left as it was.
///
/// # Errors
/// As [`read_page`].
pub fn read_vitals_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &VITAL_RANGES)
}

/// Reads over `page` what [`Page::snapshot_at`] and the page's checks need: no records, iterations or jobs, and of the
/// tables what is in use. All else in `page` is left as it was.
///
/// # Errors
/// As [`read_page`].
pub fn read_counters_into(file: &File, page: &mut Page) -> io::Result<()> {
    read_ranges(file, page, &COUNTER_RANGES)?;
    // The lengths were published after the entries they count, so these are complete now.
    let in_use = page.ranges_in_use();
    read_ranges(file, page, &in_use)
}

/// Reads these parts, from and to, of a page file over `page`, and checks what `page` is then.
fn read_ranges(file: &File, page: &mut Page, ranges: &[(usize, usize)]) -> io::Result<()> {
    for (begin, end) in ranges.iter().copied() {
        let filled = begin + fill(file, &mut page.as_bytes_mut()[begin..end], begin as u64)?;
        if filled < end {
            // Magic and version, if it is even that long.
            let head = if filled < 16 { Err(PageFault::NotAPage) } else { page.check_head() };
            head.map_err(damaged)?;
            return Err(damaged(PageFault::Length(filled as u64)));
        }
    }
    page.check().map_err(damaged)
}

/// Says what is wrong with a page: an error of kind `InvalidData` around the [`PageFault`].
fn damaged(fault: PageFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// Reads until `bytes` is full or the file ends; returns how many were read.
fn fill(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

// Not under Miri, which has neither file modes nor shared mappings.
#[cfg(all(test, not(miri)))]
#[path = "directory_tests.rs"]
mod tests;
