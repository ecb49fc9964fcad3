//! CPU time of a thread or a process, by its id, from outside or inside it.

/// Returns the CPU time that thread `tid` of this process has used, in nanoseconds; 0 for a thread that is gone.
///
/// # Source
/// The clock id of a thread is `~tid << 3 | 6` (`CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED`), see clock_getres(2) and
/// the kernel's `posix-timers_types.h`.
pub fn thread_cpu_ns(tid: i32) -> u64 {
    clock_ns((!tid) << 3 | 6)
}

/// Returns the CPU time that all threads of process `pid` have used, in nanoseconds; 0 for a process that is gone.
///
/// # Source
/// The clock id of a process is `~pid << 3 | 2` (`CPUCLOCK_SCHED`), as clock_getcpuclockid(3) makes it.
pub fn process_cpu_ns(pid: u32) -> u64 {
    clock_ns((!(pid as i32)) << 3 | 2)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec for the call to fill; an unknown clock makes it fail and fill nothing.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the calling thread's id.
pub fn this_thread() -> i32 {
    // SAFETY: gettid only returns a number.
    unsafe { libc::gettid() }
}

/// Returns the id of a thread of this process by its name (its first 15 bytes), `None` where there is none.
pub fn thread_named(name: &str) -> Option<i32> {
    let wanted = &name[..name.len().min(15)];
    let threads = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    threads
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == wanted)
        })
        .find_map(|entry| entry.file_name().to_str()?.parse().ok())
}
