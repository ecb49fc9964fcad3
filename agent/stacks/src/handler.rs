//! The handler: the only code of this crate that runs on the thread that is captured.
//!
//! It may run between any two instructions of the program: inside malloc, with a lock held, while a panic unwinds, in the
//! dynamic loader. The rules that make this safe, and where each is kept:
//!
//! 1. SIGURG, which nobody sends to a thread and whose default action is to be ignored: one that is still pending when the
//!    program replaces itself (`execve`) does no harm, where a real-time signal would end it. Where the program handles
//!    SIGURG itself, SIGWINCH where it has no terminal, else a free real-time signal; never SIGPROF, which other profilers
//!    own. Installed once and never uninstalled, because of a real-time signal's default action: `signal::install`, which
//!    nothing undoes.
//! 2. `SA_SIGINFO | SA_RESTART | SA_ONSTACK`, no `SA_NODEFER`: `signal::install`. Less than 1 KiB of stack: [`handle`],
//!    [`fill`] hold a handful of words, and a thread's alternate stack may be as small as 2 KiB.
//! 3. All slots that were asked of this very thread are filled. A signal that brings the address of none of our slots goes to
//!    the handler that was there before, unless it does not queue and met a slot that was asked: [`ours`], [`chain`].
//! 4. No `thread_local`, whose first touch in a loaded library may allocate: slots are found by the thread's id. The signal
//!    alone does not tell them, because SIGURG and SIGWINCH do not queue: of two that are pending one is delivered, and without its
//!    value where the user has no room left for queued signals: [`fill_all`].
//! 5. Errno is kept: [`handle`]. Only the clock (vDSO), atomics and one copy into touched memory: [`fill`]. No allocation,
//!    lock, log, panic, formatting, drop, unwinding. Arithmetic wraps, because an overflow check would panic.
//! 6. Reads stay between the stack pointer and the known end of the thread's own stack, which is mapped; a stack pointer
//!    outside (a coroutine, an alternate stack) means registers only: the bounds in [`fill`].
//! 7. No chain of frame pointers is followed here: unwinding is done on the copy, elsewhere: `unwind.rs`.
//! 8. A slot that was asked is never asked again until it was filled: `Slot::try_ask`, `slot::lend`.
//! 9. Tag words outlive the slot's being asked: `slot::Spare` keeps their owner.
//! 10. Modules are listed, and their tables copied, on the asking side: `loader_list.rs`, `modules.rs`.
//! 11. Whom to ask, and how often, is the caller's to decide.
//! 12. The program's sampler, where it registered one, is code of others: its author vouches for these rules (`set_sampler` is
//!     `unsafe`), and it is not called where the alternate stack has no room for it: `Slot::sample_foreign`, `sampler.rs`.
//! 13. A forked child has no asking side before it begins one of its own: `Capturer` remembers its process, and in the child
//!     no thread has the id that a slot was asked of. Threads that must not be interrupted call `block_signal`.

use crate::registers::Registers;
use crate::slot::{self, STACK_BYTES, Slot};
use crate::target::{own_handle, own_tid};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The process in which the handler was installed, or the forked child that has it. Written once in each, before that.
pub(crate) static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Signals that were not ours. Written by any thread that got one, so added to atomically.
pub(crate) static FOREIGN: AtomicU64 = AtomicU64::new(0);

/// The handler that was there before ours, or `SIG_DFL` or `SIG_IGN`. Written once, before ours is installed.
pub(crate) static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// The flags of that handler.
pub(crate) static PREVIOUS_FLAGS: AtomicI32 = AtomicI32::new(0);

/// The kernel's `siginfo_t` of a queued signal, on 64-bit machines.
///
/// # Source
/// `include/uapi/asm-generic/siginfo.h`, member `_rt`.
#[repr(C)]
pub(crate) struct Queued {
    pub signal: i32,
    pub errno: i32,
    pub code: i32,
    pub padding: i32,
    pub pid: i32,
    pub uid: u32,
    /// The address of a slot.
    pub value: usize,
    pub rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == 128 && size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// What the kernel calls.
pub(crate) extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the C library's errno of this thread always has an address; finding it touches no lock (rule 5).
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: that address is valid for this thread's whole life.
    let kept = unsafe { *errno };
    // SAFETY: with SA_SIGINFO the kernel passes 128 bytes of siginfo that live while the handler runs; the layout was
    // asserted above, and every bit pattern is a valid `Queued`.
    let queued = unsafe { &*info.cast::<Queued>() };
    let is_ours = ours(queued).is_some();
    // Real-time signals queue: each that comes is the one that its sender sent.
    let is_any_filled = (is_ours || coalesces(signal)) && fill_all(context);
    if !is_ours && !is_any_filled {
        chain(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
}

/// Returns the slot that a signal is about; `None` for signals of others (rules 3 and 4).
fn ours(queued: &Queued) -> Option<&'static Slot> {
    let is_ours = queued.code == libc::SI_QUEUE && queued.pid == PROCESS.load(Ordering::Relaxed);
    if is_ours { slot::find(queued.value) } else { None }
}

/// Fills the slots that were asked of this thread; false where there was none (rule 4).
fn fill_all(context: *const libc::c_void) -> bool {
    let (tid, handle, mut is_any) = (own_tid(), own_handle(), false);
    for slot in slot::all().filter(|slot| slot.try_fill(tid, handle)) {
        fill(slot, context);
        is_any = true;
    }
    is_any
}

/// Fills one slot, which the caller has set to filling.
fn fill(slot: &Slot, context: *const libc::c_void) {
    let begin_ns = now_ns();
    // SAFETY: `handle` was installed with SA_SIGINFO, passes its third argument, and is running.
    let registers = unsafe { Registers::of(context) };
    slot.copy_tags();
    slot.sample_foreign(&registers);
    let (bounds, sp) = (slot.stack_bounds(), registers.sp as usize);
    let is_off_stack = sp < bounds.start || sp >= bounds.end;
    let live = bounds.end.wrapping_sub(sp);
    if is_off_stack {
        slot.copy_no_stack();
    } else {
        // SAFETY: between the stack pointer and the end of the thread's own stack everything is mapped (rule 6), and the
        // thread whose stack it is runs this handler, so nothing changes.
        unsafe { slot.copy_stack(std::ptr::with_exposed_provenance(sp), live) };
    }
    let spent_ns = now_ns().wrapping_sub(begin_ns);
    slot.tell_done();
    slot.finish(registers, begin_ns, spent_ns, is_off_stack, !is_off_stack && live > STACK_BYTES);
}

/// Passes a signal of somebody else on. Where nobody handled it before us, it is counted and dropped: its default action
/// would end the process, and the program may rely on nobody being there to send it.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
    let previous = PREVIOUS.load(Ordering::Relaxed);
    if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
        return;
    }
    let previous = std::ptr::with_exposed_provenance::<()>(previous);
    if PREVIOUS_FLAGS.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0 {
        type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: the kernel told that this is the program's handler, with SA_SIGINFO, so it is such a function.
        let handler = unsafe { std::mem::transmute::<*const (), Informed>(previous) };
        handler(signal, info, context);
    } else {
        // SAFETY: the kernel told that this is the program's handler, without SA_SIGINFO, so it takes the number alone.
        let handler = unsafe { std::mem::transmute::<*const (), extern "C" fn(libc::c_int)>(previous) };
        handler(signal);
    }
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds; answered by the vDSO, without a system call.
#[inline]
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Whether of several such signals that are pending one is delivered: the numbers below the real-time ones, which queue.
pub(crate) fn coalesces(signal: i32) -> bool {
    signal < 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signals_below_the_real_time_ones_coalesce() {
        assert!(coalesces(libc::SIGURG) && coalesces(libc::SIGWINCH));
        assert!(!coalesces(libc::SIGRTMIN()) && !coalesces(libc::SIGRTMAX()));
    }
}
