//! Growing a file without harm to the host: no signal of a limit kills it, and none that is pending cuts the call short.
//!
//! A write or a reservation beyond the limit on the size of files (RLIMIT_FSIZE, `ulimit -f`) fails with EFBIG, and the
//! kernel sends SIGXFSZ to the thread besides, which by default kills the process. And a reservation on a memory file
//! system is given up with EINTR where a signal is pending (Linux before 6.0 looks at every page), so that under a fast
//! timer a loop would never get its page.
//!
//! So signals wait while such a call runs: all of them are blocked on this thread, save those that its own instructions
//! raise. Of SIGXFSZ, the one that our call brought about is taken away; one that was pending before stays the host's.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// What a thread's own instructions raise. Blocked, they would kill the process past the host's handlers.
const OF_INSTRUCTIONS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// Reserved at once. An interrupted call gives back what it has reserved, so that a small one gets further.
const PIECE_BYTES: u64 = 64 << 10;

/// So often a reservation is tried again. With signals blocked only a stop and a debugger interrupt it.
const INTERRUPTIONS_MAX: u32 = 1_000;

/// Calls `call`, which makes or grows files, with signals blocked on this thread. What it does answers EFBIG where the limit
/// on the size of files is reached, and no signal comes of it. Keeps `errno` as `call` left it.
///
/// A thread that it starts has them blocked for its life. All threads of an agent are started so: one that takes a
/// signal which the host waits for (`sigwait`, a signalfd) and has blocked on its own threads later would end the
/// process.
///
/// Four system calls besides its own.
pub fn without_signals<R>(call: impl FnOnce() -> R) -> R {
    let _blocked = Blocked::new();
    call()
}

/// Reserves the first `bytes` of a file, which is made that long, so that no store to a mapping of them can fail.
///
/// # Errors
/// The file system is full, cannot reserve, or the limit on the size of files is lower.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    without_signals(|| {
        in_pieces(bytes, |offset, bytes| {
            // SAFETY: a plain call on an open descriptor.
            unsafe { libc::posix_fallocate(file.as_raw_fd(), offset as libc::off_t, bytes as libc::off_t) }
        })
    })
}

/// Calls `reserve` for each piece, again where it was interrupted. It returns an error's number, or 0.
fn in_pieces(bytes: u64, mut reserve: impl FnMut(u64, u64) -> i32) -> io::Result<()> {
    let (mut offset, mut interruptions) = (0, 0);
    while offset < bytes {
        let piece = PIECE_BYTES.min(bytes - offset);
        match reserve(offset, piece) {
            0 => offset += piece,
            libc::EINTR if interruptions < INTERRUPTIONS_MAX => interruptions += 1,
            libc::EFBIG => return Err(too_large(bytes)),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Ok(())
}

fn too_large(bytes: u64) -> io::Error {
    let kib = bytes.div_ceil(1024);
    let text = format!("the file size limit (ulimit -f) is below the required {kib} KiB");
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// Signals are blocked on the thread until this is dropped.
struct Blocked {
    /// The thread's mask before; `None` where it could not be changed.
    mask: Option<libc::sigset_t>,
    /// Whether SIGXFSZ was pending before, for the thread or the process.
    was_pending: bool,
    /// Neither `Send` nor `Sync`: a mask is a thread's.
    _of_thread: std::marker::PhantomData<*const ()>,
}

impl Blocked {
    fn new() -> Blocked {
        let mut mask = set_of(&[]);
        let all = all_but_own();
        // SAFETY: both point to sets that are initialized.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut mask) } != 0;
        // Asked after blocking: what comes from now on is not the host's alone.
        let was_pending = is_pending(libc::SIGXFSZ);
        Blocked { mask: (!failed).then_some(mask), was_pending, _of_thread: std::marker::PhantomData }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let Some(mask) = &self.mask else { return };
        // SAFETY: returns this thread's own place for it.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the place is valid as long as the thread.
        let errno = unsafe { *place };
        if !self.was_pending {
            take_pending(libc::SIGXFSZ);
        }
        // SAFETY: `mask` is the set that the same call has filled; the old one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { *place = errno };
    }
}

/// Returns a set of these signals.
pub fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: there is room for a set, which the call initializes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialized.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: initialized above.
    unsafe { set.assume_init() }
}

fn all_but_own() -> libc::sigset_t {
    let mut set = set_of(&[]);
    // SAFETY: the set is initialized.
    unsafe { libc::sigfillset(&mut set) };
    for signal in OF_INSTRUCTIONS {
        // SAFETY: the set is initialized.
        unsafe { libc::sigdelset(&mut set, signal) };
    }
    set
}

fn is_pending(signal: i32) -> bool {
    let mut pending = set_of(&[]);
    // SAFETY: there is room for the answer.
    unsafe { libc::sigpending(&mut pending) };
    // SAFETY: the set is initialized.
    unsafe { libc::sigismember(&pending, signal) == 1 }
}

/// Takes away a blocked signal where it is pending. The thread's own goes first, and the kernel sends SIGXFSZ to threads.
fn take_pending(signal: i32) {
    let (set, at_once) = (set_of(&[signal]), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    for _ in 0..INTERRUPTIONS_MAX {
        // SAFETY: set and time are initialized, and no facts about the signal are asked for.
        let taken = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &at_once) };
        if taken == signal || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

// Not under Miri, which knows no signals.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// Sends a signal to this thread.
    fn send(signal: i32) {
        // SAFETY: raises a signal that the test has blocked on this thread.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    fn mask() -> Vec<i32> {
        let mut mask = set_of(&[]);
        // SAFETY: only asks; there is room for the answer.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask) };
        // SAFETY: the set is initialized.
        (1..65).filter(|signal| unsafe { libc::sigismember(&mask, *signal) } == 1).collect()
    }

    #[test]
    fn every_signal_waits_but_those_of_the_threads_own_instructions() {
        let before = mask();
        let within = without_signals(mask);
        for signal in [libc::SIGXFSZ, libc::SIGALRM, libc::SIGTERM, libc::SIGPROF, libc::SIGRTMAX()] {
            assert!(within.contains(&signal), "{signal}: {within:?}");
        }
        assert!(OF_INSTRUCTIONS.iter().all(|signal| !within.contains(signal)), "{within:?}");
        assert_eq!(mask(), before);
    }

    #[test]
    fn a_thread_that_is_started_without_signals_has_them_blocked_for_its_life() {
        let (one, all) = (libc::SIGUSR1, without_signals(|| std::thread::spawn(mask)).join().unwrap());
        assert!(all.contains(&one) && all.contains(&libc::SIGXFSZ), "{all:?}");
    }

    #[test]
    fn a_limit_signal_is_taken_unless_the_host_had_it_before() {
        // SAFETY: blocks it on this test's thread.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set_of(&[libc::SIGXFSZ]), std::ptr::null_mut()) };
        without_signals(|| send(libc::SIGXFSZ));
        assert!(!is_pending(libc::SIGXFSZ), "ours is gone");
        send(libc::SIGXFSZ);
        without_signals(|| send(libc::SIGXFSZ));
        assert!(is_pending(libc::SIGXFSZ), "the host's is still there");
        take_pending(libc::SIGXFSZ);
    }

    #[test]
    fn errno_is_what_the_call_left() {
        let read_only = File::open("/proc/self/status").unwrap();
        without_signals(|| {
            // SAFETY: fails, for the descriptor is not for writing.
            unsafe { libc::write(read_only.as_raw_fd(), std::ptr::null(), 0) }
        });
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn an_interrupted_reservation_is_tried_again_where_it_was() {
        let (mut calls, mut interruptions) = (Vec::new(), [0, 1, 3].into_iter());
        let mut left = 0;
        let reserved = in_pieces(150_000, |offset, bytes| {
            left = if left == 0 { interruptions.next().map_or(0, |times| times + 1) } else { left };
            left -= 1;
            calls.push((offset, bytes));
            if left > 0 { libc::EINTR } else { 0 }
        });
        reserved.unwrap();
        let piece = PIECE_BYTES;
        let last = (2 * piece, 150_000 - 2 * piece);
        assert_eq!(calls, [(0, piece), (piece, piece), (piece, piece), last, last, last, last]);
    }

    #[test]
    fn a_reservation_that_fails_says_why() {
        let mut count = 0;
        let interrupted = in_pieces(1, |_, _| {
            count += 1;
            libc::EINTR
        });
        assert_eq!(interrupted.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(count, INTERRUPTIONS_MAX + 1);
        let refused = in_pieces(600 << 10, |_, _| libc::EFBIG).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert!(refused.to_string().contains("600 KiB"), "{refused}");
        assert_eq!(in_pieces(1, |_, _| libc::ENOSPC).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
