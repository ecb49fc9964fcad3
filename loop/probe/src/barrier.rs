//! `membarrier`: one thread's call acts as a full barrier on every running thread of the process.
//!
//! The agent makes it, and the loops need none of their own. Registering the process for it takes 6 to 20 ms once there
//! are several threads, so only an agent's thread does it, never a loop's: a loop makes no fence until an agent has found
//! that the kernel refuses the call.

use crate::sync::Ordering;

/// How the barrier between one side's store and its load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The agent's `membarrier` covers both sides.
    Asymmetric,
    /// Both sides use a sequentially consistent fence.
    Fence,
}

#[cfg(all(target_os = "linux", not(miri), not(loom)))]
mod kernel {
    use std::sync::OnceLock;

    // From linux/membarrier.h; libc does not name them on every target.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes a command, flags and a cpu number, and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Registers the process once; false where the kernel has no such barrier (before 4.14, or a seccomp filter).
    pub fn register() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| call(REGISTER_PRIVATE_EXPEDITED) && call(PRIVATE_EXPEDITED))
    }

    /// Makes the barrier. It fails in a process that is not registered; a forked child is where its parent was.
    pub fn all_threads() -> bool {
        call(PRIVATE_EXPEDITED)
    }
}

#[cfg(not(all(target_os = "linux", not(miri), not(loom))))]
mod kernel {
    /// There is no such barrier here.
    pub fn register() -> bool {
        false
    }

    /// There is no such barrier here.
    pub fn all_threads() -> bool {
        false
    }
}

/// 1 once an agent has found that there is no such barrier. Written by agents, read by loops, relaxed: what an agent does
/// before it knows that every loop has read it is in `registry::all_fenced`.
#[cfg(not(loom))]
static IS_REFUSED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Returns which barrier the loop's side makes.
#[cfg(not(loom))]
#[inline(always)]
pub fn of_loop() -> Barrier {
    if IS_REFUSED.load(Ordering::Relaxed) == 0 { Barrier::Asymmetric } else { Barrier::Fence }
}

/// Returns which barrier the agent's side makes, the same every time. The first call may take 20 ms.
#[cfg(not(loom))]
pub fn of_agent() -> Barrier {
    if kernel::register() {
        return Barrier::Asymmetric;
    }
    IS_REFUSED.store(1, Ordering::Relaxed);
    Barrier::Fence
}

/// The agent's side: orders what it stored before against what it loads after, and the same on every loop's thread. After
/// [`of_agent`]. Returns [`Barrier::Fence`] where it acted on the calling thread alone, because the kernel refuses the call, or
/// does so now, as in a program that has put itself under a filter of system calls: then only loops that make fences are
/// ordered, and all are to be asked to (`registry::all_fenced`).
pub fn all_threads() -> Barrier {
    let has_acted = kernel::all_threads();
    crate::sync::fence(Ordering::SeqCst);
    match has_acted {
        true => Barrier::Asymmetric,
        false => {
            #[cfg(not(loom))]
            IS_REFUSED.store(1, Ordering::Relaxed);
            Barrier::Fence
        }
    }
}
