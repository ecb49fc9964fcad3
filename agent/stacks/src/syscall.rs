//! System calls that a thread can block in: their names, and which of their arguments say on what.

/// How a call's arguments are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Not at all.
    Plain,
    /// A descriptor, first.
    Descriptor,
    /// A descriptor and the address of a socket, as `connect` has.
    Address,
    /// A path, as which argument.
    Path(usize),
    /// A time to wait, behind a pointer, as which argument.
    Duration(usize),
    /// An array of `pollfd` and its length; then milliseconds, or a pointer to a time.
    Poll {
        /// Whether the third argument is milliseconds.
        is_ms: bool,
    },
    /// A descriptor, and milliseconds as the fourth argument, -1 for ever.
    Epoll,
    /// An address and an operation.
    Futex,
    /// A process id, first.
    Process,
}

/// A call on both processors.
const CALLS: &[(libc::c_long, &str, Shape)] = &[
    (libc::SYS_read, "read", Shape::Descriptor),
    (libc::SYS_write, "write", Shape::Descriptor),
    (libc::SYS_readv, "readv", Shape::Descriptor),
    (libc::SYS_writev, "writev", Shape::Descriptor),
    (libc::SYS_pread64, "pread64", Shape::Descriptor),
    (libc::SYS_pwrite64, "pwrite64", Shape::Descriptor),
    (libc::SYS_preadv, "preadv", Shape::Descriptor),
    (libc::SYS_pwritev, "pwritev", Shape::Descriptor),
    (libc::SYS_preadv2, "preadv2", Shape::Descriptor),
    (libc::SYS_pwritev2, "pwritev2", Shape::Descriptor),
    (libc::SYS_close, "close", Shape::Descriptor),
    (libc::SYS_fsync, "fsync", Shape::Descriptor),
    (libc::SYS_fdatasync, "fdatasync", Shape::Descriptor),
    (libc::SYS_sync_file_range, "sync_file_range", Shape::Descriptor),
    (libc::SYS_fallocate, "fallocate", Shape::Descriptor),
    (libc::SYS_ftruncate, "ftruncate", Shape::Descriptor),
    (libc::SYS_flock, "flock", Shape::Descriptor),
    (libc::SYS_fcntl, "fcntl", Shape::Descriptor),
    (libc::SYS_ioctl, "ioctl", Shape::Descriptor),
    (libc::SYS_fstat, "fstat", Shape::Descriptor),
    (libc::SYS_lseek, "lseek", Shape::Descriptor),
    (libc::SYS_getdents64, "getdents64", Shape::Descriptor),
    (libc::SYS_sendfile, "sendfile", Shape::Descriptor),
    (libc::SYS_splice, "splice", Shape::Descriptor),
    (libc::SYS_tee, "tee", Shape::Descriptor),
    (libc::SYS_vmsplice, "vmsplice", Shape::Descriptor),
    (libc::SYS_copy_file_range, "copy_file_range", Shape::Descriptor),
    (libc::SYS_accept, "accept", Shape::Descriptor),
    (libc::SYS_accept4, "accept4", Shape::Descriptor),
    (libc::SYS_connect, "connect", Shape::Address),
    (libc::SYS_recvfrom, "recvfrom", Shape::Descriptor),
    (libc::SYS_recvmsg, "recvmsg", Shape::Descriptor),
    (libc::SYS_recvmmsg, "recvmmsg", Shape::Descriptor),
    (libc::SYS_sendto, "sendto", Shape::Descriptor),
    (libc::SYS_sendmsg, "sendmsg", Shape::Descriptor),
    (libc::SYS_sendmmsg, "sendmmsg", Shape::Descriptor),
    (libc::SYS_shutdown, "shutdown", Shape::Descriptor),
    (libc::SYS_io_uring_enter, "io_uring_enter", Shape::Descriptor),
    (libc::SYS_epoll_pwait, "epoll_pwait", Shape::Epoll),
    (libc::SYS_ppoll, "ppoll", Shape::Poll { is_ms: false }),
    (libc::SYS_pselect6, "pselect6", Shape::Plain),
    (libc::SYS_nanosleep, "nanosleep", Shape::Duration(0)),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", Shape::Duration(2)),
    (libc::SYS_futex, "futex", Shape::Futex),
    (libc::SYS_futex_waitv, "futex_waitv", Shape::Plain),
    (libc::SYS_wait4, "wait4", Shape::Process),
    (libc::SYS_waitid, "waitid", Shape::Plain),
    (libc::SYS_openat, "openat", Shape::Path(1)),
    (libc::SYS_openat2, "openat2", Shape::Path(1)),
    (libc::SYS_newfstatat, "newfstatat", Shape::Path(1)),
    (libc::SYS_statx, "statx", Shape::Path(1)),
    (libc::SYS_statfs, "statfs", Shape::Path(0)),
    (libc::SYS_unlinkat, "unlinkat", Shape::Path(1)),
    (libc::SYS_mkdirat, "mkdirat", Shape::Path(1)),
    (libc::SYS_renameat2, "renameat2", Shape::Path(1)),
    (libc::SYS_faccessat, "faccessat", Shape::Path(1)),
    (libc::SYS_readlinkat, "readlinkat", Shape::Path(1)),
    (libc::SYS_truncate, "truncate", Shape::Path(0)),
    (libc::SYS_execve, "execve", Shape::Path(0)),
    (libc::SYS_sync, "sync", Shape::Plain),
    (libc::SYS_msync, "msync", Shape::Plain),
    (libc::SYS_mmap, "mmap", Shape::Plain),
    (libc::SYS_munmap, "munmap", Shape::Plain),
    (libc::SYS_mremap, "mremap", Shape::Plain),
    (libc::SYS_mprotect, "mprotect", Shape::Plain),
    (libc::SYS_madvise, "madvise", Shape::Plain),
    (libc::SYS_mlock, "mlock", Shape::Plain),
    (libc::SYS_brk, "brk", Shape::Plain),
    (libc::SYS_clone, "clone", Shape::Plain),
    (libc::SYS_clone3, "clone3", Shape::Plain),
    (libc::SYS_getrandom, "getrandom", Shape::Plain),
    (libc::SYS_membarrier, "membarrier", Shape::Plain),
    (libc::SYS_sched_yield, "sched_yield", Shape::Plain),
    (libc::SYS_rt_sigsuspend, "rt_sigsuspend", Shape::Plain),
    (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait", Shape::Plain),
    (libc::SYS_semtimedop, "semtimedop", Shape::Plain),
    (libc::SYS_msgrcv, "msgrcv", Shape::Plain),
    (libc::SYS_msgsnd, "msgsnd", Shape::Plain),
    (libc::SYS_mq_timedreceive, "mq_timedreceive", Shape::Descriptor),
    (libc::SYS_mq_timedsend, "mq_timedsend", Shape::Descriptor),
    (libc::SYS_restart_syscall, "restart_syscall", Shape::Plain),
];

/// Older calls, which aarch64 never had.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[(libc::c_long, &str, Shape)] = &[
    (libc::SYS_poll, "poll", Shape::Poll { is_ms: true }),
    (libc::SYS_select, "select", Shape::Plain),
    (libc::SYS_epoll_wait, "epoll_wait", Shape::Epoll),
    (libc::SYS_pause, "pause", Shape::Plain),
    (libc::SYS_open, "open", Shape::Path(0)),
    (libc::SYS_stat, "stat", Shape::Path(0)),
    (libc::SYS_lstat, "lstat", Shape::Path(0)),
    (libc::SYS_access, "access", Shape::Path(0)),
    (libc::SYS_unlink, "unlink", Shape::Path(0)),
    (libc::SYS_rename, "rename", Shape::Path(0)),
    (libc::SYS_mkdir, "mkdir", Shape::Path(0)),
    (libc::SYS_rmdir, "rmdir", Shape::Path(0)),
    (libc::SYS_readlink, "readlink", Shape::Path(0)),
    (libc::SYS_fork, "fork", Shape::Plain),
    (libc::SYS_vfork, "vfork", Shape::Plain),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[(libc::c_long, &str, Shape)] = &[];

/// Returns a call's name and shape, `None` for one that is not in the table.
pub(crate) fn find(number: i64) -> Option<(&'static str, Shape)> {
    let known = CALLS.iter().chain(OLD_CALLS).find(|(known, _, _)| *known == number);
    known.map(|(_, name, shape)| (*name, *shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_in_the_table_once() {
        for (number, name, shape) in CALLS.iter().chain(OLD_CALLS) {
            assert_eq!(find(*number), Some((*name, *shape)), "{name}");
        }
        assert_eq!(find(-1), None);
    }
}
