//! How a thread of another process spends its time, from `/proc`: no privilege, and nothing happens to the thread.

use std::fs;

/// Returns the time that a thread has been on a processor, and the time that it was ready to run and had none, in
/// nanoseconds since it began. `None` where it is gone or the kernel does not tell.
///
/// # Source
/// `/proc/PID/task/TID/schedstat`, see the kernel's `Documentation/scheduler/sched-stats.rst`.
pub fn times(pid: u32, tid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns what a thread is asleep in: the kernel's function, or `the kernel` where it does not name it. `None` where
/// the thread runs, is ready to run, or is gone.
pub fn asleep_in(pid: u32, tid: u32) -> Option<String> {
    let file = |name: &str| read_lossy(&format!("/proc/{pid}/task/{tid}/{name}"));
    let stat = file("stat")?;
    // The second field is the name in parentheses and may hold anything, so count from the last one.
    let letter = stat.get(stat.rfind(')')? + 2..)?.chars().next()?;
    let channel = file("wchan").filter(|channel| !channel.is_empty() && channel != "0");
    matches!(letter, 'S' | 'D').then(|| channel.unwrap_or_else(|| "the kernel".to_owned()))
}

/// Returns how many processors a process may use; 0 where the kernel does not tell.
pub fn processors(pid: u32) -> u64 {
    let status = read_lossy(&format!("/proc/{pid}/status")).unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("").trim();
    list.split(',').filter_map(range).sum()
}

/// Reads a file that may hold a name, which may end in half a letter: the kernel cuts it off at 15 bytes.
fn read_lossy(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Counts `3` as one and `0-7` as eight.
fn range(text: &str) -> Option<u64> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (last.parse::<u64>().ok()? + 1).checked_sub(first.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_sleeps_is_told_from_one_that_runs() {
        let (pid, (say, hear), (end, until)) = (std::process::id(), channel(), channel::<()>());
        // The kernel keeps 15 bytes of a name, and so half of the last letter.
        let named = std::thread::Builder::new().name("é".repeat(8));
        let sleeper = named.spawn(move || {
            let own = fs::read_link("/proc/thread-self").unwrap();
            say.send(own.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap()).unwrap();
            until.recv().unwrap_err();
        });
        let sleeper = sleeper.unwrap();
        let tid = hear.recv().unwrap();
        while asleep_in(pid, tid).is_none() {
            std::thread::yield_now();
        }
        let own = fs::read_link("/proc/thread-self").unwrap();
        let own: u32 = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(asleep_in(pid, own), None, "who looks is running");
        assert!(times(pid, own).is_none_or(|(run_ns, _)| run_ns > 0));
        drop(end);
        sleeper.join().unwrap();
        // It is there for a moment more: who joins is told before the kernel has put it away.
        while times(pid, tid).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(asleep_in(pid, tid), None);
        assert!(processors(pid) >= 1);
    }

    #[test]
    fn lists_of_processors_are_counted() {
        for (text, count) in [("0", Some(1)), ("0-7", Some(8)), ("", None), ("7-0", None)] {
            assert_eq!(range(text), count, "{text}");
        }
    }
}
