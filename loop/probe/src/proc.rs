//! What the kernel says of processes and threads: `stat`, `schedstat` and `status` of proc(5), for this project's crates.
//!
//! All three are read as bytes: two of them have the name of the process or thread, which may hold parentheses and blanks, and
//! which the kernel cuts off at 15 bytes, in the middle of a letter, too. What is missing or no number is "not told".
//!
//! `loopscope-stacks` depends on no other crate of this project, and has a reader of its own (`agent/stacks/src/proc.rs`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Nanoseconds per clock tick of `/proc`: the kernel shows 100 a second to programs on all its platforms.
pub const CLOCK_TICK_NS: u64 = 10_000_000;

/// What `/proc/PID/stat` says of a process, or `/proc/PID/task/TID/stat` of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R` runs, `S` sleeps, `D` sleeps and cannot be woken, `T` is stopped, `Z` and `X` have ended ...
    pub state: char,
    /// Processor time in the program and in the kernel, in nanoseconds, by whole clock ticks.
    pub cpu_ns: u64,
    /// Threads of the process.
    pub threads: u64,
    /// Start, in clock ticks since the machine started.
    pub start_ticks: u64,
    /// Size of the address space.
    pub virtual_bytes: u64,
    /// Pages in memory.
    pub resident_pages: u64,
}

impl Stat {
    /// Reads what is said of a process; `None` where there is none, or it is not told.
    pub fn of_process(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads what is said of this process: also where `/proc` shows other numbers than this process has for itself.
    pub fn own() -> Option<Stat> {
        Stat::parse(&fs::read("/proc/self/stat").ok()?)
    }

    /// Reads what is said of a thread; `None` where there is none, or it is not told.
    pub fn of_thread(pid: u32, tid: u32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?)
    }

    /// Tells whether a thread is stopped by a signal or a debugger; 0 for the thread asks about the whole process.
    pub fn is_stopped(pid: u32, tid: u32) -> bool {
        let stat = if tid == 0 { Stat::of_process(pid) } else { Stat::of_thread(pid, tid) };
        stat.is_some_and(|stat| matches!(stat.state, 'T' | 't'))
    }

    /// Reads the file's text.
    fn parse(stat: &[u8]) -> Option<Stat> {
        // The second field is the name in parentheses and may hold anything, so count from the last one.
        let after_name = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
        let mut fields = words(after_name);
        let state = char::from(*fields.next()?.first()?);
        // Field n of the manual; the state was field 3.
        let mut next = 4;
        let mut field = |n: usize| {
            let word = fields.nth(n - next)?;
            next = n + 1;
            number::<u64>(word)
        };
        Some(Stat {
            state,
            cpu_ns: field(14)?.saturating_add(field(15)?).saturating_mul(CLOCK_TICK_NS),
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// What `schedstat` says of a thread, since it began.
///
/// # Source
/// The kernel's `Documentation/scheduler/sched-stats.rst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    /// On a processor, in nanoseconds.
    pub run_ns: u64,
    /// Ready to run, and without a processor, in nanoseconds.
    pub runqueue_ns: u64,
}

impl Sched {
    /// Reads what is said of a thread; `None` where there is none, or the kernel does not count.
    pub fn of_thread(pid: u32, tid: u32) -> Option<Sched> {
        Sched::at(Path::new(&format!("/proc/{pid}/task/{tid}/schedstat")))
    }

    /// Reads a file of [`own_sched_path`]; `None` where the thread has ended.
    pub fn at(path: &Path) -> Option<Sched> {
        Sched::parse(&fs::read(path).ok()?)
    }

    /// Reads an open file once more, without an allocation: opening it costs most of a reading.
    pub fn read(file: &File) -> Option<Sched> {
        let mut bytes = [0; 96];
        let length = file.read_at(&mut bytes, 0).ok()?;
        Sched::parse(bytes.get(..length)?)
    }

    /// Reads the file's text.
    fn parse(schedstat: &[u8]) -> Option<Sched> {
        let mut fields = words(schedstat);
        Some(Sched { run_ns: number(fields.next()?)?, runqueue_ns: number(fields.next()?)? })
    }
}

/// Opens the `schedstat` of a thread of this process, for [`Sched::read`].
///
/// # Errors
/// There is no such thread, or the kernel does not count.
pub fn open_sched(tid: u32) -> io::Result<File> {
    File::open(format!("/proc/self/task/{tid}/schedstat"))
}

/// Returns where the `schedstat` of the calling thread can be read, from any thread; `None` where `/proc` is not there.
pub fn own_sched_path() -> Option<PathBuf> {
    Some(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?).join("schedstat"))
}

/// What `/proc/PID/status` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    text: Vec<u8>,
}

/// The users that a process runs as. The one that started it is not among them: of a set-user-ID program that may be
/// anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Whose rights it has.
    pub effective: u32,
    /// The one that it can become again.
    pub saved: u32,
}

impl Status {
    /// Reads what is said of a process.
    ///
    /// # Errors
    /// There is no such process, or it is hidden.
    pub fn of_process(pid: u32) -> io::Result<Status> {
        Ok(Status { text: fs::read(format!("/proc/{pid}/status"))? })
    }

    /// Reads what is said of this process.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn own() -> io::Result<Status> {
        Ok(Status { text: fs::read("/proc/self/status")? })
    }

    /// Reads what is said of a thread of this process.
    ///
    /// # Errors
    /// There is no such thread, or `/proc` is not there.
    pub fn of_own_thread(tid: u32) -> io::Result<Status> {
        Ok(Status { text: fs::read(format!("/proc/self/task/{tid}/status"))? })
    }

    /// Returns the process that traces it, such as a debugger.
    pub fn tracer(&self) -> Option<u32> {
        number(self.words_of("TracerPid:")?.next()?).filter(|pid| *pid != 0)
    }

    /// Returns the users that it runs as: of real, effective, saved, and that for files, the two in the middle.
    pub fn users(&self) -> Option<Users> {
        let mut users = self.words_of("Uid:")?.skip(1);
        Some(Users { effective: number(users.next()?)?, saved: number(users.next()?)? })
    }

    /// Returns how many processors it may use; 0 where that is not told.
    pub fn processors(&self) -> u64 {
        let list = self.words_of("Cpus_allowed_list:").and_then(|mut words| words.next()).unwrap_or_default();
        list.split(|byte| *byte == b',').filter_map(length_of_range).fold(0, u64::saturating_add)
    }

    /// Returns the words of a line. The kernel writes a line break in a name as `\n` of two letters, so no name is a line.
    fn words_of(&self, name: &str) -> Option<impl Iterator<Item = &[u8]>> {
        let mut lines = self.text.split(|byte| *byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name.as_bytes())).map(words)
    }
}

/// Counts `3` as one and `0-7` as eight.
fn length_of_range(range: &[u8]) -> Option<u64> {
    let mut ends = range.splitn(2, |byte| *byte == b'-').map(number::<u64>);
    let first = ends.next()??;
    let last = ends.next().unwrap_or(Some(first))?;
    last.checked_sub(first)?.checked_add(1)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn number<T: FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(text: impl Into<Vec<u8>>) -> Status {
        Status { text: text.into() }
    }

    const REST: &str = "S 1 42 42 0 -1 4194560 1000 0 1 0 250 50 0 0 20 0 7 0 12345 8192000 300 1844";

    #[test]
    fn a_stat_is_read_past_any_name() {
        let expected = Stat {
            state: 'S',
            cpu_ns: 3_000_000_000,
            threads: 7,
            start_ticks: 12_345,
            virtual_bytes: 8_192_000,
            resident_pages: 300,
        };
        for name in [&b"a"[..], b"a) b) (c", b") R 1 2 3", b"", b"\xc3\xa9\xc3", b"a\nb", b"((", b"))"] {
            let text = [b"42 (", name, b") ", REST.as_bytes()].concat();
            assert_eq!(Stat::parse(&text), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn cut_and_foreign_texts_tell_nothing() {
        let whole = format!("42 (x) {REST}");
        // Field 24, the last one that is wanted, is whole or cut in the last four bytes and the blank before it.
        for length in 0..whole.len() - " 300 1844".len() {
            assert_eq!(Stat::parse(&whole.as_bytes()[..length]), None, "{length}");
        }
        for text in ["42 (x", "42 x S 1", ")", ") ", "42 (x) S a b c d", &whole.replace("12345", "-1")] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["", "17", "17 x", "x 17", "-1 2 3", "\u{e9} 1", "99999999999999999999 1"] {
            assert_eq!(Sched::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Sched::parse(b"17 4 2\n"), Some(Sched { run_ns: 17, runqueue_ns: 4 }));
        assert_eq!(Sched::parse(b"17 4"), Some(Sched { run_ns: 17, runqueue_ns: 4 }));
    }

    #[test]
    fn users_are_those_that_it_runs_as() {
        let status =
            "Name:\ta\\nUid:\t7\t7\t7\t7\nUmask:\t0022\nUid:\t1002\t1000\t1001\t1000\nGid:\t1\t1\t1\t1\n";
        assert_eq!(status_of(status).users(), Some(Users { effective: 1000, saved: 1001 }));
        for broken in ["", "Uid:", "Uid:\t1\t2", "Uid:\t1\tx\t2\t2", "Name:\tUid:\t1\t1\t1\t1"] {
            assert_eq!(status_of(broken).users(), None, "{broken}");
        }
    }

    #[test]
    fn a_tracer_is_told_whatever_the_name_is() {
        assert_eq!(status_of(b"Name:\t\xc3\nTracerPid:\t81\nUid:\t0".to_vec()).tracer(), Some(81));
        for none in ["Name:\tx\nTracerPid:\t0\n", "Name:\tx", "TracerPid:\t", "TracerPid:\t-3"] {
            assert_eq!(status_of(none).tracer(), None, "{none}");
        }
    }

    #[test]
    fn processors_are_counted() {
        for (list, count) in [
            ("0", 1),
            ("0-7", 8),
            ("0-3,8,10-11", 7),
            ("", 0),
            ("7-0", 0),
            ("x,1", 1),
            ("-", 0),
            ("1-", 0),
            ("0-18446744073709551615", 0),
        ] {
            let status = status_of(format!("Name:\tx\nCpus_allowed_list:\t{list}\n"));
            assert_eq!(status.processors(), count, "{list}");
        }
        assert_eq!(status_of("").processors(), 0);
    }

    #[test]
    #[cfg(not(miri))]
    fn a_stopped_process_is_told_from_one_that_sleeps() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(!Stat::is_stopped(pid, pid));
        let signal = |signal: &str| {
            let kill = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
            assert!(kill.unwrap().success());
        };
        signal("-STOP");
        while !Stat::is_stopped(pid, pid) {
            std::thread::yield_now();
        }
        assert!(Stat::is_stopped(pid, 0));
        signal("-CONT");
        while Stat::is_stopped(pid, pid) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    #[cfg(not(miri))]
    fn this_process_and_thread_are_told() {
        let pid = std::process::id();
        let (stat, status) = (Stat::of_process(pid).unwrap(), Status::of_process(pid).unwrap());
        assert_eq!(Stat::own().unwrap().start_ticks, stat.start_ticks);
        assert_eq!(Status::own().unwrap().users(), status.users());
        assert!(stat.threads > 0 && stat.resident_pages > 25 && stat.virtual_bytes > stat.resident_pages);
        assert!(status.users().is_some() && status.processors() >= 1);
        let path = own_sched_path().unwrap();
        let tid: u32 = path.parent().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(Stat::of_thread(pid, tid).unwrap().state, 'R', "who looks is running");
        // Kernels without CONFIG_SCHED_INFO have no such file.
        if let Some(before) = Sched::at(&path) {
            let file = open_sched(tid).unwrap();
            assert!(Sched::read(&file).unwrap().run_ns >= before.run_ns);
            assert!(Sched::of_thread(pid, tid).unwrap().run_ns >= before.run_ns);
        }
        assert_eq!(Stat::of_process(u32::MAX), None);
        assert!(!Stat::is_stopped(pid, tid) && !Stat::is_stopped(pid, 0) && !Stat::is_stopped(u32::MAX, 0));
        assert!(Status::of_process(u32::MAX).is_err());
    }
}
