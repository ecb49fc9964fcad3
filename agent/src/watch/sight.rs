//! What can be seen of a loop's thread from outside, without asking it: the kernel's accounts and its state.
//!
//! A trait, so that the logic above can be tested in virtual time.

use crate::compute::class::Reading;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// How a thread was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Asleep in the kernel (true) or running (false); `None` where the kernel does not tell.
    pub is_asleep: Option<bool>,
    /// Stopped by a signal, a freezer or a debugger.
    pub is_stopped: bool,
    /// What it is asleep in: `read(fd 3 -> pipe:[81])`.
    pub waiting_in: Option<String>,
    /// The process has a debugger.
    pub is_traced: bool,
}

/// Sees one loop's thread.
pub(crate) trait Sight: Send {
    /// Returns the thread's processor and ready time until now; `now_ns` is the moment on the agent's clock.
    fn reading(&mut self, now_ns: u64) -> Option<Reading>;
    /// Looks what the thread is doing.
    fn look(&mut self) -> Found;
}

/// The real one: `/proc`.
#[derive(Debug)]
pub(crate) struct ProcSight {
    tid: u32,
    schedstat: Option<File>,
}

impl ProcSight {
    /// Of a thread of this process.
    pub(crate) fn of(tid: u32) -> Self {
        ProcSight { tid, schedstat: File::open(format!("/proc/self/task/{tid}/schedstat")).ok() }
    }
}

impl Sight for ProcSight {
    fn reading(&mut self, now_ns: u64) -> Option<Reading> {
        let (cpu_ns, runqueue_ns) = read_schedstat(self.schedstat.as_ref()?)?;
        Some(Reading { at_ns: now_ns, cpu_ns, runqueue_ns })
    }

    fn look(&mut self) -> Found {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", self.tid)).unwrap_or_default();
        let state = state_letter(&stat);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Found {
            is_asleep: state.map(|letter| letter != 'R'),
            is_stopped: matches!(state, Some('T' | 't')),
            waiting_in: None,
            is_traced: tracer(&status).is_some_and(|pid| pid != 0),
        }
    }
}

/// Reads an open `schedstat`: the file stays open, because opening it costs most of a reading.
pub(crate) fn read_schedstat(file: &File) -> Option<(u64, u64)> {
    let mut bytes = [0; 96];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let mut fields = std::str::from_utf8(bytes.get(..length)?).ok()?.split_ascii_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Returns the state of proc(5)'s `stat`: the name before it is in parentheses and may hold anything.
fn state_letter(stat: &str) -> Option<char> {
    stat.get(stat.rfind(')')? + 2..)?.chars().next()
}

fn tracer(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_texts_are_read() {
        assert_eq!(state_letter("7 (a) T) b) S 1 2"), Some('S'));
        assert_eq!(state_letter("7 (a)"), None);
        assert_eq!(tracer("Name:\tx\nTracerPid:\t81\nUid:\t0"), Some(81));
        assert_eq!(tracer("Name:\tx"), None);
    }

    #[test]
    fn a_thread_that_computes_is_seen_to() {
        // The test's own thread: it runs while it looks.
        let link = fs::read_link("/proc/thread-self").unwrap();
        let tid = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let mut sight = ProcSight::of(tid);
        let before = sight.reading(1).unwrap();
        let mut sum = 0u64;
        while sight.reading(2).unwrap().cpu_ns < before.cpu_ns + 2_000_000 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert_eq!(sight.look().is_asleep, Some(false), "{sum}");
        let mut gone = ProcSight::of(u32::MAX);
        assert_eq!((gone.reading(1), gone.look().is_asleep), (None, None));
    }
}
