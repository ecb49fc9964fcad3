//! Reading the stack of a thread that sleeps in the kernel, without waking it.
//!
//! A signal ends many waits early, whatever `SA_RESTART` says (see signal(7)): `poll`, `epoll_wait`, `nanosleep`, a `recv`
//! with a time-out. So a thread that sleeps is not asked. The kernel tells where its code and its stack are, and another
//! thread copies the stack:
//!
//! ```text
//!   count of switches, syscall file  -- copy of the stack, tag words -->  syscall file, count of switches
//!                                        valid only if both are the same
//! ```
//!
//! The kernel answers with a place only where the thread is off its processor, and counts each time that it comes back: so
//! where both stayed, it did not run in between, and its stack did not change. It may wake at any moment, end, and have its
//! stack unmapped or given to another thread. So everything is read by system call (`memory.rs`), and the two files stay
//! open: they belong to the thread and not to its number, and fail once it has ended.
//!
//! # What is not known
//! All registers but the program counter and the stack pointer. A thread that sleeps for a page of memory ("-1 sp pc") may
//! be at any instruction, also of a function's prologue. It is read all the same, because compilers' unwind tables hold at
//! every instruction. Where they do not suffice, `frame_search.rs` searches, and says that it guessed.
//!
//! # What it costs
//! The thread: nothing. The reader: four reads of `/proc` and one copy, 10 us on a virtual machine. It waits for the
//! kernel's lock on the address space, as every page fault does.
//!
//! # Source
//! `task_current_syscall` in the kernel's `lib/syscall.c`, `sched_info_arrive` in `kernel/sched/stats.h`; Linux 6.12.

use crate::error::SleepingError;
use crate::memory::Memory;
use crate::registers::Registers;
use crate::sample::{Sample, SampleSource};
use crate::slot::STACK_BYTES;
use crate::target::{TagSource, Target, own_tid};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A thread whose stack is read while it sleeps.
pub(crate) struct SleepingThread {
    tid: u32,
    /// The process that it belongs to.
    process: u32,
    stack: Range<usize>,
    tags: TagWords,
    /// Opened at once, so that they are those of the thread that lives now. `None` where that failed.
    files: Option<Arc<Files>>,
}

impl SleepingThread {
    /// Opens the thread's files. `words` are those of the target's tags.
    pub fn new(target: &Target, words: Vec<*const AtomicU64>) -> SleepingThread {
        SleepingThread {
            tid: target.tid,
            process: std::process::id(),
            stack: target.stack.clone(),
            tags: TagWords { words, _source: target.tags.clone() },
            files: Files::open(target.tid).ok().map(Arc::new),
        }
    }

    fn files(&mut self) -> Result<Arc<Files>, SleepingError> {
        match &self.files {
            Some(files) => Ok(files.clone()),
            None => {
                let files = Arc::new(Files::open(self.tid).map_err(|error| self.failure(error))?);
                Ok(self.files.insert(files).clone())
            }
        }
    }

    /// Reads the stack, see [`Capturer::read_sleeping`](crate::Capturer::read_sleeping).
    pub fn read(&mut self) -> Result<Sample, SleepingError> {
        if self.process != std::process::id() {
            return Err(SleepingError::Forked);
        }
        if self.tid == own_tid() {
            // The kernel would tell where this thread reads from.
            return Err(SleepingError::NotAsleep);
        }
        let files = self.files()?;
        let syscall = files.syscall.as_ref().map_err(|error| {
            SleepingError::NotReadable(io::Error::new(
                error.kind(),
                format!("cannot read /proc/self/task/TID/syscall: {error}"),
            ))
        })?;
        let read = || -> io::Result<_> { Ok((files.switches()?, Line::read(syscall)?)) };
        let (switches, line) = read().map_err(|error| self.failure(error))?;
        let place = line.place()?;
        let sample = self.copy(place);
        let again = || -> io::Result<_> { Ok((Line::read(syscall)?, files.switches()?)) };
        let (line_again, switches_again) = again().map_err(|error| self.failure(error))?;
        if line_again.bytes() != line.bytes() || switches_again != switches {
            return Err(SleepingError::Woke);
        }
        sample.map_err(SleepingError::NotReadable)
    }

    /// Returns what the thread has used while it does not sleep, see [`Capturer::progress`](crate::Capturer::progress).
    pub fn progress(&mut self) -> Result<Option<ThreadProgress>, SleepingError> {
        let files = self.files()?;
        let sleeps = files.sleeps().map_err(|error| self.failure(error))?;
        let cpu_ns = crate::thread::cpu_ns(self.tid).ok_or(SleepingError::ThreadGone)?;
        // The state is read last: what is done next relies on it.
        Ok(self.is_running()?.then_some(ThreadProgress { sleeps, cpu_ns }))
    }

    /// Returns whether the thread does not sleep, see [`Capturer::is_running`](crate::Capturer::is_running).
    pub fn is_running(&mut self) -> Result<bool, SleepingError> {
        let files = self.files()?;
        let Ok(syscall) = &files.syscall else {
            let status = files.status().map_err(|error| self.failure(error))?;
            return Ok(is_running(&status));
        };
        let line = Line::read(syscall).map_err(|error| self.failure(error))?;
        let is_this_thread = self.tid == own_tid();
        match line.place() {
            Err(SleepingError::NotAsleep) => Ok(true),
            // The kernel tells where this thread reads from.
            _ if is_this_thread => Ok(true),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Copies what a thread at that place has; the thread may be running by now.
    fn copy(&self, place: SleepPoint) -> io::Result<Sample> {
        let sp = place.sp as usize;
        let is_off_stack = !self.stack.contains(&sp);
        let live = if is_off_stack { 0 } else { self.stack.end - sp };
        let mut stack = vec![0; live.min(STACK_BYTES)];
        if !is_off_stack {
            Memory::open()?.read_into(place.sp, &mut stack)?;
        }
        Ok(Sample {
            at_ns: now_ns(),
            tags: self.tags.load(),
            foreign: None,
            registers: Registers { ip: place.ip, sp: place.sp, fp: 0, lr: 0 },
            is_off_stack,
            is_cut: live > stack.len(),
            stack,
            handler_ns: 0,
            source: SampleSource::Memory,
        })
    }

    /// Tells why a file could not be opened or read.
    fn failure(&self, error: io::Error) -> SleepingError {
        let is_gone = match error.raw_os_error() {
            Some(libc::ESRCH) => true,
            Some(libc::ENOENT) => !Path::new(&format!("/proc/self/task/{}", self.tid)).exists(),
            _ => false,
        };
        if is_gone { SleepingError::ThreadGone } else { SleepingError::NotReadable(error) }
    }
}

/// The target's tag words.
struct TagWords {
    words: Vec<*const AtomicU64>,
    /// Keeps the words where they are.
    _source: Option<Arc<dyn TagSource>>,
}

// SAFETY: the words are atomics that may be read from any thread for as long as their source lives, which is kept here,
// and which may itself be sent.
unsafe impl Send for TagWords {}

impl TagWords {
    fn load(&self) -> Vec<u64> {
        let load = |word: &*const AtomicU64| {
            // SAFETY: the source promises that its words are valid for reads while it lives, and it is kept beside them.
            let word = unsafe { &**word };
            // Relaxed: where the sample is kept, the thread has been off its processor since before the first look, and
            // the kernel's locks order its writes before that.
            word.load(Ordering::Relaxed)
        };
        self.words.iter().map(load).collect()
    }
}

/// What the kernel tells about one thread.
struct Files {
    /// The error of opening it, where the kernel does not let us: the program is not dumpable, as one with file capabilities,
    /// or the kernel was built without it.
    syscall: io::Result<File>,
    /// Its third number counts how often the thread was given a processor. `None` where the kernel does not count that.
    schedstat: Option<File>,
    /// Has the count of voluntary switches.
    status: File,
}

impl Files {
    fn open(tid: u32) -> io::Result<Files> {
        let open = |name: &str| File::open(format!("/proc/self/task/{tid}/{name}"));
        let status = open("status")?;
        let schedstat = open("schedstat").ok().filter(|file| {
            // A kernel that does not count says 0; every thread that lives was given a processor once.
            let read = Text::<128>::read(file);
            read.is_ok_and(|text| number(text.bytes(), 2).is_some_and(|count| count > 0))
        });
        Ok(Files { syscall: open("syscall"), schedstat, status })
    }

    /// Returns a number that grows whenever the thread comes back from sleep.
    fn switches(&self) -> io::Result<u64> {
        match &self.schedstat {
            Some(schedstat) => number(Text::<128>::read(schedstat)?.bytes(), 2).ok_or_else(uncounted),
            None => self.sleeps(),
        }
    }

    /// Returns how often the thread gave its processor back to wait for something.
    fn sleeps(&self) -> io::Result<u64> {
        voluntary_switches(&self.status()?).ok_or_else(uncounted)
    }

    /// Reads `status` to its end, where the counts are: a line before it has all groups of the user.
    fn status(&self) -> io::Result<Vec<u8>> {
        let (mut bytes, mut length) = (vec![0; 4096], 0);
        loop {
            match self.status.read_at(&mut bytes[length..], length as u64)? {
                0 => break,
                more => length += more,
            }
            if length == bytes.len() {
                bytes.resize(2 * length, 0);
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn uncounted() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it has no count of context switches")
}

/// What a thread that does not sleep has used since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadProgress {
    /// How often it gave its processor back to wait for something.
    pub sleeps: u64,
    /// Its processor time, nanoseconds.
    pub cpu_ns: u64,
}

impl ThreadProgress {
    /// Whether a thread that was found like this later has run since, and not slept: then it is not about to return from a
    /// call that waited.
    pub fn has_run_on(&self, later: &ThreadProgress) -> bool {
        /// A thread that was woken leaves the kernel within this; nanoseconds.
        const LEAVES_NS: u64 = 5_000;
        later.sleeps == self.sleeps && later.cpu_ns.saturating_sub(self.cpu_ns) > LEAVES_NS
    }
}

/// What a small file of `/proc` holds.
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    fn read(file: &File) -> io::Result<Text<N>> {
        let mut bytes = [0; N];
        let length = file.read_at(&mut bytes, 0)?;
        Ok(Text { bytes, length })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The line of a thread's `syscall` file; the longest has 9 numbers of 18 letters.
type Line = Text<256>;

impl Line {
    fn place(&self) -> Result<SleepPoint, SleepingError> {
        parse_place(self.bytes())
    }
}

/// Where a thread sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SleepPoint {
    sp: u64,
    ip: u64,
}

/// Reads "running", or "-1 sp pc", or a number, six arguments, sp and pc.
fn parse_place(line: &[u8]) -> Result<SleepPoint, SleepingError> {
    let unexpected = || {
        let line = format!("unexpected line \"{}\"", line.escape_ascii());
        SleepingError::NotReadable(io::Error::new(io::ErrorKind::InvalidData, line))
    };
    let text = std::str::from_utf8(line).map_err(|_| unexpected())?.trim_end();
    if text == "running" {
        return Err(SleepingError::NotAsleep);
    }
    let mut fields = text.rsplit(' ');
    let mut hexadecimal = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (ip, sp) = hexadecimal().zip(hexadecimal()).ok_or_else(unexpected)?;
    match sp {
        // The thread has given its kernel stack back.
        0 => Err(SleepingError::ThreadGone),
        _ => Ok(SleepPoint { sp, ip }),
    }
}

/// Returns the field of a line, counted from 0, as a number.
fn number(line: &[u8], index: usize) -> Option<u64> {
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// Finds the count in a thread's `status`.
fn voluntary_switches(status: &[u8]) -> Option<u64> {
    // Not text as a whole: the thread's name may end in half a letter.
    let lines = status.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"voluntary_ctxt_switches:")).find_map(|rest| number(rest, 0))
}

/// Finds the state in a thread's `status`: whether it runs or waits for a processor.
fn is_running(status: &[u8]) -> bool {
    let mut lines = status.split(|byte| *byte == b'\n');
    let state = lines.find_map(|line| line.strip_prefix(b"State:"));
    state.is_some_and(|state| state.trim_ascii_start().starts_with(b"R"))
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_says_where_the_thread_sleeps() {
        let place = |line: &str| parse_place(line.as_bytes());
        let expected = SleepPoint { sp: 0x7ffd, ip: 0x55 };
        for line in ["7 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd 0x55\n", "-1 0x7ffd 0x55\n"] {
            assert_eq!(place(line).unwrap(), expected, "{line}");
        }
        assert!(matches!(place("running\n"), Err(SleepingError::NotAsleep)));
        assert!(matches!(place("-1 0x0 0x0\n"), Err(SleepingError::ThreadGone)));
        for line in ["", "\n", "7", "7 0x1", "7 1 2", "\u{e9} 0x"] {
            assert!(matches!(place(line), Err(SleepingError::NotReadable(_))), "{line:?}");
        }
    }

    #[test]
    fn switches_are_counted_by_either_file() {
        assert_eq!(number(b"176501 5380699 5\n", 2), Some(5));
        assert_eq!(number(b"0 0\n", 2), None);
        let status =
            b"Name:\tabc\xc3\nSigBlk:\t0\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(voluntary_switches(status), Some(42));
        assert_eq!(voluntary_switches(b"Name:\tabc\n"), None);
        assert!(
            is_running(b"Name:\tState:\tS\nState:\tR (running)\n")
                && !is_running(b"Name:\tx\nState:\tS (sleeping)")
        );
        let tid = Target::this_thread().tid;
        let files = Files::open(tid).unwrap();
        assert!(Files { schedstat: None, ..files }.switches().is_ok());
        // Where the kernel does not tell where a thread sleeps, whether it does is known all the same.
        let refused = Err(io::Error::from_raw_os_error(libc::EACCES));
        let mut thread = SleepingThread::new(&Target::this_thread(), Vec::new());
        thread.files = Some(Arc::new(Files { syscall: refused, ..Files::open(tid).unwrap() }));
        assert!(thread.is_running().unwrap() && thread.progress().unwrap().is_some());
    }
}
