//! `membarrier`: one thread's call acts as a full barrier on every running thread of the process.

/// How the barrier between the loop's store and its load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The agent's `membarrier` covers both sides.
    Asymmetric,
    /// Both sides use a sequentially consistent fence.
    Fence,
}

#[cfg(all(target_os = "linux", not(miri)))]
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

    /// Makes the barrier.
    pub fn process_wide() {
        // A registered process cannot fail this call; if it did, the fence below still orders our own side.
        call(PRIVATE_EXPEDITED);
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod kernel {
    /// There is no such barrier here.
    pub fn register() -> bool {
        false
    }

    /// Orders the calling thread only; [`super::available`] says that this is not enough alone.
    pub fn process_wide() {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

pub(crate) use kernel::process_wide;

/// Returns which barrier both sides must use in this process. The same answer every time.
pub fn available() -> Barrier {
    if kernel::register() { Barrier::Asymmetric } else { Barrier::Fence }
}
