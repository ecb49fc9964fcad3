//! The signal: which number, the handler's installation, sending, and noticing that somebody else took it.

use crate::error::CaptureError;
use crate::handler::{self, FOREIGN, PREVIOUS, PREVIOUS_FLAGS, PROCESS, Queued};
use crate::proc::Stat;
use crate::slot::Slot;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{io, ptr};

/// The signal that was chosen; 0 before. Written once in a process, by [`install`].
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Chooses a signal and installs the handler; the caller makes sure that this happens once. Returns the signal.
///
/// SIGURG where the program does not handle it, because one that is pending when the program replaces itself is ignored by
/// the next. Otherwise SIGWINCH, of which the same is true, where the program does not handle that either and has no
/// terminal: with a handler of ours, each change of a terminal's size would end a poll of the program. SIGCHLD and SIGCONT,
/// which are ignored by default, too, are none: each child that ends sends the one, and the other wakes a stopped process.
/// Otherwise the first real-time signal that nobody handles, which if pending ends the next program; where the program
/// handles all of them, the last one, whose other signals are then passed on. `SIGRTMIN` is what the C library leaves to
/// programs, and is itself left out: it is the one that programs reach for first.
///
/// A forked child has its parent's handler, and keeps it: from then on signals of the child's own are captures.
pub(crate) fn install() -> Result<i32, String> {
    if PROCESS.load(Ordering::Relaxed) != 0 && is_handler_ours() {
        PROCESS.store(own_pid(), Ordering::Relaxed);
        return Ok(number());
    }
    let is_free = |signal: &i32| matches!(action(*signal), Ok((libc::SIG_DFL, _)));
    let is_unused = |signal: i32| is_free(&signal) || matches!(action(signal), Ok((libc::SIG_IGN, _)));
    let candidates = libc::SIGRTMIN() + 1..=libc::SIGRTMAX();
    let signal = if is_unused(libc::SIGURG) {
        libc::SIGURG
    } else if is_unused(libc::SIGWINCH) && !may_have_terminal() {
        libc::SIGWINCH
    } else {
        candidates.clone().find(is_free).unwrap_or(*candidates.end())
    };
    let (previous, flags) =
        action(signal).map_err(|error| format!("cannot query signal {signal}: {error}"))?;
    PREVIOUS.store(previous, Ordering::Relaxed);
    PREVIOUS_FLAGS.store(flags, Ordering::Relaxed);
    PROCESS.store(own_pid(), Ordering::Relaxed);
    keep_loaded();
    // SAFETY: a sigaction is plain data, for which zeros are valid: no flags and an empty mask.
    let mut wanted: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    wanted.sa_sigaction = own_handler();
    wanted.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the action is initialized, and its handler keeps the rules that its module lists.
    if unsafe { libc::sigaction(signal, &wanted, ptr::null_mut()) } != 0 {
        return Err(format!("cannot install a handler for signal {signal}: {}", io::Error::last_os_error()));
    }
    SIGNAL.store(signal, Ordering::Release);
    Ok(signal)
}

/// Returns what handles a signal now, and with which flags.
fn action(signal: i32) -> io::Result<(usize, i32)> {
    let mut found = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action changes nothing, and `found` is room for the old one.
    if unsafe { libc::sigaction(signal, ptr::null(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call filled it; and zeros would be valid, too.
    let found = unsafe { found.assume_init() };
    Ok((found.sa_sigaction, found.sa_flags))
}

/// Whether this process has a controlling terminal, or the kernel does not tell: `tty_nr` of proc_pid_stat(5).
fn may_have_terminal() -> bool {
    let stat = std::fs::read("/proc/self/stat").ok();
    stat.and_then(|stat| Stat::parse(&stat)).is_none_or(|stat| stat.terminal != 0)
}

/// A program's headers are in its first page.
const HEADERS_BYTES: usize = 4096;

/// Keeps the library that the handler is in loaded for good, where it is in one: a plugin that is unloaded would leave a handler whose
/// code is gone, and the next signal would end the program. A program's own code stays anyway.
fn keep_loaded() {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is code of ours, and `found` is room for the answer.
    let is_found =
        unsafe { libc::dladdr(ptr::with_exposed_provenance(own_handler()), found.as_mut_ptr()) } != 0;
    // SAFETY: zeros are valid, and the call filled it where it found anything.
    let found = unsafe { found.assume_init() };
    // SAFETY: reads a word that the kernel gave the process at its start: where the program's own headers are.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // Of the program the name is what its caller called it, which may lead anywhere.
    let is_program = (found.dli_fbase.addr()..found.dli_fbase.addr() + HEADERS_BYTES).contains(&headers);
    let name = found.dli_fname;
    if is_found && !is_program && !name.is_null() {
        let flags = libc::RTLD_NOW | libc::RTLD_NODELETE | libc::RTLD_NOLOAD;
        // SAFETY: the name is the loader's own, of a file that is loaded: no code of it runs anew. A static program has no loader,
        // and gets an error.
        unsafe { libc::dlopen(name, flags) };
    }
}

fn own_handler() -> usize {
    (handler::handle as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as *const ())
        .expose_provenance()
}

/// Returns the number of this process, by a system call.
pub(crate) fn own_pid() -> i32 {
    std::process::id() as i32
}

/// Whether the handler is still ours. One system call.
pub(crate) fn is_handler_ours() -> bool {
    action(SIGNAL.load(Ordering::Relaxed)).is_ok_and(|(found, _)| found == own_handler())
}

/// Returns the signal; 0 before [`install`].
pub(crate) fn number() -> i32 {
    SIGNAL.load(Ordering::Acquire)
}

/// Queues the signal at a thread of this process, with a slot that the caller has set to asked.
pub(crate) fn send(tid: u32, slot: &'static Slot) -> Result<(), CaptureError> {
    let signal = number();
    let queued = Queued {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: own_pid(),
        uid: 0,
        value: (&raw const *slot).addr(),
        rest: [0; 12],
    };
    // SAFETY: the kernel reads the 128 bytes of `queued` during the call, and nothing else of ours.
    let sent = unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, own_pid(), tid as libc::pid_t, signal, &raw const queued)
    };
    if sent == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::ESRCH) => CaptureError::ThreadGone,
        Some(libc::EAGAIN) => CaptureError::QueueFull,
        _ => CaptureError::System(error),
    })
}

/// Returns how large an alternate signal stack must be for the kernel's frame and our handler, in bytes.
///
/// # Source
/// getauxval(3), `AT_MINSIGSTKSZ`: the most that the kernel itself saves on this processor, 3.5 KiB with AVX-512 and 11 KiB
/// with AMX. Kernels before 5.14 do not tell, and know no AMX. The standard library makes its stacks no larger than that
/// where it is more than 8 KiB. But AMX is saved only in processes that asked the kernel for its use:
/// `Documentation/arch/x86/xstate.rst`.
pub(crate) fn alternate_stack_bytes_needed() -> usize {
    // From linux/auxvec.h; libc does not name it.
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: getauxval only reads a table that the kernel made; it returns 0 for what is not in it.
    let told = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    bytes_needed(told, told > TILE_BYTES && are_tiles_unused())
}

/// What AMX's tiles take.
const TILE_BYTES: usize = 8192;

/// The same, where the kernel tells that its frame has at most so many bytes, 0 where it does not tell; with tiles that this
/// process does not use among them, or not.
fn bytes_needed(frame_bytes: usize, has_unused_tiles: bool) -> usize {
    /// The handler's own frames: below 1 KiB, and as much again.
    const HANDLER_BYTES: usize = 2048;
    const FRAME_BYTES_UNTOLD: usize = if cfg!(target_arch = "aarch64") { 5120 } else { 4096 };
    let frame_bytes = if frame_bytes == 0 { FRAME_BYTES_UNTOLD } else { frame_bytes };
    HANDLER_BYTES + frame_bytes - if has_unused_tiles { TILE_BYTES } else { 0 }
}

/// Whether the processor has tiles, and no thread of this process may use them yet.
#[cfg(target_arch = "x86_64")]
fn are_tiles_unused() -> bool {
    // From asm/prctl.h: what the kernel supports, and what this process was permitted.
    const ARCH_GET_XCOMP_SUPP: libc::c_int = 0x1021;
    const ARCH_GET_XCOMP_PERM: libc::c_int = 0x1022;
    const TILES: u64 = 1 << 18;
    let told = |question: libc::c_int| {
        let mut features = 0_u64;
        // SAFETY: both questions write one word, for which there is room.
        let answered = unsafe { libc::syscall(libc::SYS_arch_prctl, question, &raw mut features) } == 0;
        answered.then_some(features & TILES != 0)
    };
    (told(ARCH_GET_XCOMP_SUPP), told(ARCH_GET_XCOMP_PERM)) == (Some(true), Some(false))
}

#[cfg(not(target_arch = "x86_64"))]
fn are_tiles_unused() -> bool {
    false
}

/// Keeps the signal of captures from the calling thread, for good: for threads that are not captured themselves, so that
/// a stray one does not interrupt them. Does nothing before [`prepare`](crate::prepare) chose a signal.
pub fn block_signal() {
    mask(libc::SIG_BLOCK);
}

/// Lets the signal of captures reach the calling thread.
pub(crate) fn unblock_signal() {
    mask(libc::SIG_UNBLOCK);
}

fn mask(how: libc::c_int) {
    let signal = SIGNAL.load(Ordering::Acquire);
    if signal == 0 {
        return;
    }
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is room for what the call writes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialized above, and the signal is a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialized; only the calling thread's mask changes.
    unsafe { libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut()) };
}

/// Returns how many signals with our number came from others. They were passed on to the handler that was there before
/// ours, or dropped where there was none.
pub fn foreign_signals() -> u64 {
    FOREIGN.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternate_stack_has_room_for_what_the_processor_saves() {
        // Without vector state, with AVX-512, with AMX.
        for told in [1_376, 3_632, 11_952] {
            assert_eq!(bytes_needed(told, false), told + 2_048);
        }
        assert!(bytes_needed(0, false) > libc::MINSIGSTKSZ, "a kernel that does not tell");
    }

    #[test]
    fn the_standard_librarys_stack_will_do_on_every_processor_that_does_not_use_its_tiles() {
        for (told, has_tiles) in [(1_376, false), (3_632, false), (11_952, true)] {
            let of_standard_library = libc::SIGSTKSZ.max(told);
            assert!(bytes_needed(told, has_tiles) <= of_standard_library, "{told}");
        }
        assert!(bytes_needed(11_952, false) > 11_952, "where the tiles are used it will not");
    }

    #[test]
    fn a_thread_of_the_standard_library_may_be_captured_here() {
        let target = crate::Target::this_thread();
        let is_enough = |bytes: usize| bytes >= alternate_stack_bytes_needed();
        assert!(target.alternate_stack_bytes.is_none_or(is_enough), "{:?}", target.alternate_stack_bytes);
    }
}
