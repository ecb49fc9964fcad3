//! Whether a signal changes what a waiting system call answers, although its handler has `SA_RESTART`.
//!
//! Most calls that wait with a time-out return `EINTR` whatever the flag says, and those that have moved part of their
//! bytes return early with a short count. What is not known here counts as changed.
//!
//! # Source
//! signal(7), "Interruption of system calls and library functions by signal handlers" (man-pages 6.9); what it does not
//! say, from the kernel's source, Linux 6.12.

use crate::thread::{Activity, Syscall, ThreadState};
use std::fs;

/// When a call's answer stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    Never,
    Always,
    /// On files, but for those of a file system in user space (FUSE): its server is told of the signal, and may answer
    /// with `EINTR`.
    File,
    /// From a pipe or an `eventfd`, and from a socket as `Socket`.
    Read,
    /// Into a pipe, if all of it is written at once: a longer write ends with what went in so far.
    Write,
    /// Where the socket has no time-out in that direction. `flags` is the argument with which a caller may ask for more
    /// bytes than come at once.
    Socket {
        time_out: libc::c_int,
        flags: Option<usize>,
    },
    /// As `Socket`, if the message is sent as a whole: a stream may have taken part of it.
    Send,
    /// A wait without a time-out, or for a lock with priority inheritance.
    Futex,
    /// A wait for a lock on a file.
    Fcntl,
}

fn restart(number: i64) -> Restart {
    let received = |flags| Restart::Socket { time_out: libc::SO_RCVTIMEO, flags };
    match number {
        libc::SYS_read | libc::SYS_readv => Restart::Read,
        libc::SYS_write => Restart::Write,
        libc::SYS_openat | libc::SYS_flock => Restart::File,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => Restart::File,
        libc::SYS_fcntl => Restart::Fcntl,
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_getrandom => Restart::Always,
        // Their time-outs are moments, not durations.
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => Restart::Always,
        libc::SYS_futex => Restart::Futex,
        libc::SYS_accept | libc::SYS_accept4 => received(None),
        libc::SYS_recvfrom => received(Some(3)),
        libc::SYS_recvmsg => received(Some(2)),
        libc::SYS_connect => Restart::Socket { time_out: libc::SO_SNDTIMEO, flags: None },
        libc::SYS_sendto | libc::SYS_sendmsg => Restart::Send,
        _ => Restart::Never,
    }
}

impl ThreadState {
    /// Whether the thread waits in a system call that a signal, handled with `SA_RESTART`, leaves as it is: the call goes
    /// on, and answers what it would have answered. False for everything else, and where it is not known.
    ///
    /// It is true of the moment at which the thread was looked at. It looks at the call's descriptor, without using the
    /// file: up to three system calls.
    ///
    /// # Source
    /// signal(7), man-pages 6.9, for Linux 3.8 and later.
    pub fn restarts_after_signal(&self) -> bool {
        match &self.activity {
            Activity::Syscall(call) if self.letter == 'S' => restarts(call, self.wait_channel.as_deref()),
            _ => false,
        }
    }
}

fn restarts(call: &Syscall, wait_channel: Option<&str>) -> bool {
    // What a pipe takes at once, pipe(7).
    const PIPE_BYTES: u64 = libc::PIPE_BUF as u64;
    let descriptor = call.arguments[0] as i32;
    let is_file = || wait_channel.is_some_and(|channel| !is_of_fuse(channel));
    match restart(call.number) {
        Restart::Never => false,
        Restart::Always => true,
        Restart::File => is_file(),
        Restart::Read => match kind(descriptor).as_deref() {
            Some("pipe" | "anon_inode:[eventfd]") => true,
            Some("socket") => has_no_time_out(descriptor, libc::SO_RCVTIMEO),
            _ => false,
        },
        Restart::Write => call.arguments[2] <= PIPE_BYTES && kind(descriptor).as_deref() == Some("pipe"),
        Restart::Socket { time_out, flags } => {
            let waits_for_all =
                flags.is_some_and(|index| call.arguments[index] as i32 & libc::MSG_WAITALL != 0);
            !waits_for_all && has_no_time_out(descriptor, time_out)
        }
        Restart::Send => {
            let sends_whole = matches!(
                option::<libc::c_int>(descriptor, libc::SO_TYPE),
                Some(libc::SOCK_DGRAM | libc::SOCK_SEQPACKET)
            );
            sends_whole && has_no_time_out(descriptor, libc::SO_SNDTIMEO)
        }
        Restart::Futex => futex_restarts(&call.arguments),
        Restart::Fcntl => {
            is_file() && matches!(call.arguments[1] as i32, libc::F_SETLKW | libc::F_OFD_SETLKW)
        }
    }
}

/// The kernel's functions in which a request to such a file system waits.
fn is_of_fuse(channel: &str) -> bool {
    channel.starts_with("fuse_") || channel == "request_wait_answer"
}

/// A wait with a time-out returns `EINTR`, by futex(2); so does one that is to be moved to a lock (`EWOULDBLOCK`).
fn futex_restarts(arguments: &[u64; 6]) -> bool {
    let operation = arguments[1] as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => arguments[3] == 0,
        libc::FUTEX_LOCK_PI => true,
        _ => false,
    }
}

/// Returns what a descriptor is, by the name that the kernel gives it; a path where it has one. The file itself is not
/// asked: one of a network may not answer.
fn kind(descriptor: i32) -> Option<String> {
    let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    let target = target.to_str()?;
    let kind = target.split_once(":[").filter(|(kind, _)| matches!(*kind, "pipe" | "socket"));
    Some(kind.map_or(target, |(kind, _)| kind).to_owned())
}

fn has_no_time_out(descriptor: i32, name: libc::c_int) -> bool {
    let time = option::<libc::timeval>(descriptor, name);
    time.is_some_and(|time| (time.tv_sec, time.tv_usec) == (0, 0))
}

/// A value of an option of sockets, for which all bit patterns are valid.
trait Value: Copy {}

impl Value for libc::c_int {}

impl Value for libc::timeval {}

/// Returns an option of a socket; `None` where the descriptor is none.
fn option<T: Value>(descriptor: i32, name: libc::c_int) -> Option<T> {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    let to = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `length` bytes into `value`, which is as long.
    let answer = unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, name, to, &mut length) };
    // SAFETY: zeroed above, and every bit pattern is a valid `Value`.
    let value = unsafe { value.assume_init() };
    (answer == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::time::Duration;

    fn call(number: i64, arguments: [u64; 6]) -> Syscall {
        Syscall { number, name: String::new(), arguments, details: String::new() }
    }

    fn on(number: i64, descriptor: &impl AsRawFd, rest: [u64; 5]) -> bool {
        let [a, b, c, d, e] = rest;
        restarts(&call(number, [descriptor.as_raw_fd() as u64, a, b, c, d, e]), Some("pipe_read"))
    }

    #[test]
    fn calls_with_a_time_out_of_their_own_never_restart() {
        for number in [
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_epoll_pwait,
            libc::SYS_nanosleep,
            libc::SYS_clock_nanosleep,
            libc::SYS_io_uring_enter,
            libc::SYS_recvmmsg,
            libc::SYS_semtimedop,
            libc::SYS_rt_sigtimedwait,
            libc::SYS_msgrcv,
            9999,
        ] {
            assert!(!restarts(&call(number, [0; 6]), Some("f")), "{number}");
        }
        assert!(restarts(&call(libc::SYS_wait4, [0; 6]), None));
        assert!(restarts(&call(libc::SYS_waitid, [0; 6]), None));
    }

    #[test]
    fn a_futex_restarts_without_a_time_out() {
        let private = libc::FUTEX_PRIVATE_FLAG as u64;
        for (operation, time_out, expected) in [
            (libc::FUTEX_WAIT as u64 | private, 0, true),
            (libc::FUTEX_WAIT as u64, 0x7ffd, false),
            (libc::FUTEX_WAIT_BITSET as u64 | private, 0, true),
            (libc::FUTEX_WAIT_BITSET as u64 | private, 0x7ffd, false),
            (libc::FUTEX_LOCK_PI as u64, 0x7ffd, true),
            (libc::FUTEX_WAIT_REQUEUE_PI as u64, 0, false),
        ] {
            let arguments = [0x10, operation, 0, time_out, 0, 0];
            assert_eq!(restarts(&call(libc::SYS_futex, arguments), None), expected, "{arguments:?}");
        }
    }

    #[test]
    fn sockets_restart_until_they_have_a_time_out() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(on(libc::SYS_recvfrom, &one, [0; 5]));
        assert!(on(libc::SYS_read, &one, [0; 5]));
        assert!(on(libc::SYS_connect, &one, [0; 5]));
        let all = libc::MSG_WAITALL as u64;
        assert!(!on(libc::SYS_recvfrom, &one, [0, 0, all, 0, 0]));
        assert!(!on(libc::SYS_recvmsg, &one, [0, all, 0, 0, 0]));
        assert!(!on(libc::SYS_sendto, &one, [0; 5]), "a stream takes part of it");
        one.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(!on(libc::SYS_recvfrom, &one, [0; 5]));
        assert!(!on(libc::SYS_read, &one, [0; 5]));
        assert!(!on(libc::SYS_accept4, &one, [0; 5]));
        assert!(on(libc::SYS_connect, &one, [0; 5]));
        let datagrams = UnixDatagram::unbound().unwrap();
        assert!(on(libc::SYS_sendto, &datagrams, [0; 5]));
        datagrams.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(!on(libc::SYS_sendto, &datagrams, [0; 5]));
    }

    #[test]
    fn pipes_restart_and_files_as_far_as_they_are_known() {
        let (read, write) = std::io::pipe().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        assert!(on(libc::SYS_read, &read, [0; 5]));
        assert!(on(libc::SYS_write, &write, [0, 4096, 0, 0, 0]));
        assert!(!on(libc::SYS_write, &write, [0, 4097, 0, 0, 0]), "a short count");
        assert!(!on(libc::SYS_read, &file, [0; 5]));
        assert!(on(libc::SYS_flock, &file, [0; 5]));
        assert!(on(libc::SYS_fcntl, &file, [libc::F_SETLKW as u64, 0, 0, 0, 0]));
        assert!(!on(libc::SYS_fcntl, &file, [libc::F_GETFL as u64, 0, 0, 0, 0]));
        for (channel, expected) in [
            (Some("wait_for_partner"), true),
            (Some("request_wait_answer"), false),
            (Some("fuse_simple_request"), false),
            (None, false),
        ] {
            assert_eq!(restarts(&call(libc::SYS_openat, [0; 6]), channel), expected, "{channel:?}");
        }
        assert!(!restarts(&call(libc::SYS_read, [u64::MAX, 0, 0, 0, 0, 0]), None), "no descriptor");
    }
}
