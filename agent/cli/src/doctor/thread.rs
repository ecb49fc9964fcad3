//! How a thread of another process spends its time, from `/proc`: no privilege, and nothing happens to the thread.

use loopscope_probe::raw::proc::Stat;
use loopscope_report::diagnose::ThreadSample;
use std::fs;

/// Returns how a thread is found; `times_ns` are its times.
pub fn look(pid: u32, tid: u32, times_ns: Option<(u64, u64)>) -> ThreadSample {
    let state = Stat::of_thread(pid, tid).map(|stat| stat.state);
    let is_stopped = matches!(state, Some('T' | 't'));
    ThreadSample { asleep_in: asleep_in(pid, tid), is_stopped, times_ns, ..ThreadSample::default() }
}

/// Returns what a thread is asleep in: the kernel's function, or `the kernel` where it does not name it. `None` where
/// the thread runs, is ready to run, or is gone.
pub fn asleep_in(pid: u32, tid: u32) -> Option<String> {
    let state = Stat::of_thread(pid, tid)?.state;
    let channel = fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).ok();
    let channel = channel.filter(|channel| !channel.is_empty() && channel != "0");
    matches!(state, 'S' | 'D').then(|| channel.unwrap_or_else(|| "the kernel".to_owned()))
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
        drop(end);
        sleeper.join().unwrap();
        // It is there for a moment more: who joins is told before the kernel has put it away.
        while Stat::of_thread(pid, tid).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(asleep_in(pid, tid), None);
    }
}
