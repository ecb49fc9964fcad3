//! What the kernel says about a thread of this process: what it is doing or waiting for, and its processor time.
//!
//! All of it is read from `/proc/self/task`, without disturbing the thread, and needs no privilege. A look takes 100 us.

use crate::memory::Memory;
use crate::proc::Stat;
use crate::syscall::{Shape, find};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::{fs, io};

/// What a thread was doing at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadState {
    /// The kernel's letter: R running or runnable, S sleeping, D uninterruptible, T stopped, t traced, Z or X ended.
    pub letter: char,
    /// What it is doing.
    pub activity: Activity,
    /// The kernel's function that it waits in, where the kernel tells.
    pub wait_channel: Option<String>,
    /// Why the kernel does not tell its system call: a program that may not be debugged, for one, cannot read its own. `None`
    /// where it does.
    pub call_untold: Option<String>,
}

/// What a thread is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It has a processor, or waits for one.
    Running,
    /// It waits in a system call.
    Syscall(Syscall),
    /// It waits in the kernel outside of a system call: for a page of memory.
    PageFault,
    /// A signal stopped it.
    Stopped,
    /// A debugger stopped it.
    Traced,
    /// It has ended.
    Ended,
    /// It waits, and the kernel does not say in what.
    Waiting,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its number on this processor.
    pub number: i64,
    /// Its name; "syscall 999" for one that is not known here.
    pub name: String,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// What the arguments mean, such as `fd 3 -> pipe:[81]`; may be empty.
    pub details: String,
}

impl ThreadState {
    /// Looks at a thread.
    ///
    /// # Errors
    /// With kind `NotFound` when the thread has ended; else what reading `/proc` failed with.
    pub fn look(tid: u32) -> io::Result<ThreadState> {
        let letter = stat(tid)?.letter;
        // A kernel without these files still tells the letter.
        let (call, call_untold) = match read(tid, "syscall") {
            Ok(call) => (call, None),
            Err(error) => (String::new(), Some(error.to_string())),
        };
        let wait_channel = read(tid, "wchan").ok().filter(|channel| !channel.is_empty() && channel != "0");
        let activity = match letter {
            'T' => Activity::Stopped,
            't' => Activity::Traced,
            'Z' | 'X' | 'x' => Activity::Ended,
            _ => activity(call.trim(), letter),
        };
        Ok(ThreadState { letter, activity, wait_channel, call_untold })
    }

    /// Returns it in words: `running`, `read(fd 3 -> pipe:[81])`, `page fault in folio_wait_bit_common`; or what is
    /// known where the system call is not told, and why it is not:
    /// `hrtimer_nanosleep of the kernel (its system call is not told: Permission denied (os error 13))`. Names of
    /// files are in them as they are, and may hold what a terminal acts on.
    pub fn words(&self) -> String {
        let waiting = |what: &str| match &self.wait_channel {
            Some(channel) => format!("{what} in {channel}"),
            None => what.to_owned(),
        };
        let untold = || {
            let channel = self.wait_channel.as_ref();
            let place = channel.map_or("the kernel".to_owned(), |channel| format!("{channel} of the kernel"));
            let why = self.call_untold.as_ref();
            place + &why.map_or(String::new(), |why| format!(" (system call unknown: {why})"))
        };
        match &self.activity {
            Activity::Running => "running".to_owned(),
            Activity::Syscall(call) => format!("{}({})", call.name, call.details),
            Activity::PageFault => waiting("page fault"),
            Activity::Stopped => "stopped by a signal".to_owned(),
            Activity::Traced => "stopped by a debugger".to_owned(),
            Activity::Ended => "ended".to_owned(),
            Activity::Waiting if self.letter == 'D' => format!("an uninterruptible wait in {}", untold()),
            Activity::Waiting => untold(),
        }
    }
}

/// Returns the processor time of a thread of this process, in nanoseconds; `None` when it has ended.
///
/// # Source
/// The clock id of a thread is `~tid << 3 | 6` (`CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED`), see clock_getres(2) and the
/// kernel's `posix-timers_types.h`.
pub fn cpu_ns(tid: u32) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = !(tid as libc::clockid_t) << 3 | 6;
    // SAFETY: `time` is a live timespec for the call to fill; an unknown clock makes it fail and fill nothing.
    let answer = unsafe { libc::clock_gettime(clock, &mut time) };
    (answer == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Whether a thread blocks a signal, so that it will not be captured; `None` when the thread has ended.
pub fn is_blocking(tid: u32, signal: i32) -> Option<bool> {
    has_in_set(tid, "SigBlk:", signal)
}

/// Whether a signal that was sent to a thread has not been taken by it; `None` when the thread has ended.
pub(crate) fn is_pending(tid: u32, signal: i32) -> Option<bool> {
    has_in_set(tid, "SigPnd:", signal)
}

fn has_in_set(tid: u32, set: &str, signal: i32) -> Option<bool> {
    let status = read(tid, "status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix(set))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
}

/// Reads what the kernel says about a thread. Two of the files hold the thread's name, which may end in half a letter: the
/// kernel cuts it off at 15 bytes.
fn read(tid: u32, name: &str) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/self/task/{tid}/{name}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn stat(tid: u32) -> io::Result<Stat> {
    let path = format!("/proc/self/task/{tid}/stat");
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, format!("cannot parse {path}"));
    Stat::parse(&fs::read(&path)?).ok_or_else(unknown)
}

/// Reads the line of `/proc/self/task/TID/syscall`: "running", or "-1 sp pc", or a number, six arguments, sp and pc.
fn activity(line: &str, letter: char) -> Activity {
    if line == "running" || letter == 'R' {
        return Activity::Running;
    }
    let mut fields = line.split_whitespace();
    let Some(number) = fields.next().and_then(|number| number.parse::<i64>().ok()) else {
        return Activity::Waiting;
    };
    if number < 0 {
        return Activity::PageFault;
    }
    let mut arguments = [0; 6];
    for (argument, field) in arguments.iter_mut().zip(fields) {
        *argument = u64::from_str_radix(field.trim_start_matches("0x"), 16).unwrap_or(0);
    }
    let (name, details) = match find(number) {
        Some((name, shape)) => (name.to_owned(), details(shape, &arguments)),
        None => (format!("syscall {number}"), String::new()),
    };
    Activity::Syscall(Syscall { number, name, arguments, details })
}

/// Tells what a call's arguments mean. What they point to is read while the thread waits; it may be gone by then.
fn details(shape: Shape, arguments: &[u64; 6]) -> String {
    let memory = Memory::open().ok();
    let memory = memory.as_ref();
    let or_nothing = |text: Option<String>| text.unwrap_or_default();
    match shape {
        Shape::Plain => String::new(),
        Shape::Descriptor => descriptor(arguments[0]),
        Shape::Address => {
            let address = memory.and_then(|memory| socket_address(memory, arguments[1]));
            let address = address.map(|address| format!(", {address}"));
            descriptor(arguments[0]) + &or_nothing(address)
        }
        Shape::Path(index) => or_nothing(memory.and_then(|memory| path(memory, arguments[index]))),
        Shape::Duration(index) => or_nothing(memory.and_then(|memory| duration(memory, arguments[index]))),
        Shape::Poll { is_ms } => {
            let limit = match is_ms {
                true => milliseconds(arguments[2]),
                false => memory.and_then(|memory| duration(memory, arguments[2])),
            };
            let limit = limit.map(|limit| format!(", {limit}"));
            polled(memory, arguments[0], arguments[1]) + &or_nothing(limit)
        }
        Shape::Epoll => {
            let limit = milliseconds(arguments[3]).map(|limit| format!(", {limit}"));
            descriptor(arguments[0]) + &or_nothing(limit)
        }
        Shape::Futex => futex(arguments),
        Shape::Process => match arguments[0] as i32 {
            -1 => "any child".to_owned(),
            pid => format!("pid {pid}"),
        },
    }
}

fn descriptor(number: u64) -> String {
    let number = number as i32;
    match fs::read_link(format!("/proc/self/fd/{number}")) {
        Ok(target) => format!("fd {number} -> {}", shown(&target.to_string_lossy())),
        Err(_) => format!("fd {number}"),
    }
}

/// Returns the beginning of a name that anybody may have given a file. As it is: whoever shows it to people filters it.
fn shown(name: &str) -> String {
    const CHARACTERS: usize = 200;
    match name.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// Reads an address as `connect` takes it.
fn socket_address(memory: &Memory, at: u64) -> Option<String> {
    let family = memory.read::<2>(at).map(u16::from_ne_bytes)?;
    let port = || memory.read::<2>(at + 2).map(u16::from_be_bytes);
    match libc::c_int::from(family) {
        libc::AF_INET => {
            let ip = IpAddr::from(memory.read::<4>(at + 4)?);
            Some(SocketAddr::new(ip, port()?).to_string())
        }
        libc::AF_INET6 => {
            let ip = IpAddr::from(memory.read::<16>(at + 8)?);
            Some(SocketAddr::new(ip, port()?).to_string())
        }
        libc::AF_UNIX => path(memory, at + 2),
        _ => None,
    }
}

/// Reads the beginning of a path, byte by byte, because the next page may not be there.
fn path(memory: &Memory, at: u64) -> Option<String> {
    const BYTES: u64 = 200;
    let bytes = (0..BYTES).map_while(|index| memory.read::<1>(at.wrapping_add(index)));
    let bytes: Vec<u8> = bytes.map(|[byte]| byte).take_while(|byte| *byte != 0).collect();
    (!bytes.is_empty()).then(|| shown(&String::from_utf8_lossy(&bytes)))
}

fn duration(memory: &Memory, at: u64) -> Option<String> {
    if at == 0 {
        return None;
    }
    let seconds = memory.read::<8>(at).map(u64::from_ne_bytes)?;
    let nanoseconds = memory.read::<8>(at + 8).map(u64::from_ne_bytes)?;
    // More than a century is no duration: the memory was used for something else by now.
    let is_plausible = seconds < 1 << 32 && nanoseconds < 1_000_000_000;
    is_plausible.then(|| format!("{:?}", Duration::new(seconds, nanoseconds as u32)))
}

fn milliseconds(argument: u64) -> Option<String> {
    let ms = argument as i32;
    (ms >= 0).then(|| format!("{:?}", Duration::from_millis(ms as u64)))
}

/// Reads the descriptors of a `poll`, the first few of them.
fn polled(memory: Option<&Memory>, at: u64, count: u64) -> String {
    const SHOWN: u64 = 4;
    let number = |index: u64| memory.and_then(|memory| memory.read::<4>(at.wrapping_add(index * 8)));
    let numbers = (0..count.min(SHOWN)).map_while(number).map(i32::from_ne_bytes);
    let mut text = numbers.map(|number| descriptor(number as u64)).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        let _ = write!(text, " and {} more", count - SHOWN);
    }
    text
}

fn futex(arguments: &[u64; 6]) -> String {
    let operation = arguments[1] as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => format!("wait at {:#x}", arguments[0]),
        libc::FUTEX_LOCK_PI => format!("lock at {:#x}", arguments[0]),
        other => format!("operation {other} at {:#x}", arguments[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_says_what_the_thread_does() {
        assert_eq!(activity("running", 'S'), Activity::Running);
        assert_eq!(activity("-1 0x7ffd 0x55", 'D'), Activity::PageFault);
        assert_eq!(activity("", 'S'), Activity::Waiting);
        let Activity::Syscall(call) = activity("9999 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd 0x55", 'S') else {
            panic!("a call");
        };
        assert_eq!((call.name.as_str(), call.arguments), ("syscall 9999", [1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn a_call_that_is_not_told_is_said_to_be_and_why() {
        let waiting = |letter, wait_channel: Option<&str>, why: Option<&str>| {
            let call_untold = why.map(str::to_owned);
            let wait_channel = wait_channel.map(str::to_owned);
            ThreadState { letter, activity: Activity::Waiting, wait_channel, call_untold }.words()
        };
        assert_eq!(
            waiting('S', Some("hrtimer_nanosleep"), Some("Permission denied (os error 13)")),
            "hrtimer_nanosleep of the kernel (system call unknown: Permission denied (os error 13))"
        );
        assert_eq!(waiting('S', None, None), "the kernel");
        assert_eq!(waiting('D', Some("x"), None), "an uninterruptible wait in x of the kernel");
    }

    #[test]
    fn the_own_thread_runs_and_has_used_time() {
        let tid = crate::Target::this_thread().tid;
        assert_eq!(ThreadState::look(tid).unwrap().words(), "running");
        assert!(cpu_ns(tid).unwrap() > 0);
        assert_eq!(is_blocking(tid, libc::SIGUSR1), Some(false));
        assert_eq!(ThreadState::look(u32::MAX >> 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(cpu_ns(u32::MAX >> 4), None);
    }

    #[test]
    fn a_thread_is_looked_at_whatever_its_name_is() {
        // The kernel keeps 15 bytes of it, and so half of the last letter.
        let named = std::thread::Builder::new().name("é".repeat(8));
        let looked = named.spawn(|| {
            let tid = crate::Target::this_thread().tid;
            let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
            assert!(name.is_err(), "{name:?}");
            (ThreadState::look(tid).unwrap().words(), is_blocking(tid, libc::SIGUSR1))
        });
        assert_eq!(looked.unwrap().join().unwrap(), ("running".to_owned(), Some(false)));
    }

    #[test]
    fn the_name_of_an_open_file_is_given_on_as_it_is_and_cut() {
        use std::os::fd::AsRawFd;
        let directory = std::env::temp_dir().join(format!("loopscope-names-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for name in ["a\u{1b}]0;x\u{7}\nERROR fake \u{202e}txt", "é 中文 😀 \"\\"] {
            let file = fs::File::create(directory.join(name)).unwrap();
            let words = descriptor(file.as_raw_fd() as u64);
            assert!(words.ends_with(name), "{words:?}");
        }
        assert_eq!(shown(&"x".repeat(300)), format!("{}...", "x".repeat(200)));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn arguments_are_told_by_what_they_point_to() {
        let time = [2_u64, 500_000_000];
        let at = (&raw const time).addr() as u64;
        assert_eq!(details(Shape::Duration(0), &[at, 0, 0, 0, 0, 0]), "2.5s");
        assert_eq!(details(Shape::Duration(0), &[8, 0, 0, 0, 0, 0]), "");
        let path = c"/tmp/some path";
        assert_eq!(details(Shape::Path(1), &[0, path.as_ptr().addr() as u64, 0, 0, 0, 0]), "/tmp/some path");
        assert_eq!(details(Shape::Futex, &[0x10, 128, 0, 0, 0, 0]), "wait at 0x10");
        assert_eq!(details(Shape::Process, &[u64::from(u32::MAX), 0, 0, 0, 0, 0]), "any child");
    }
}
