//! How a loop that becomes busy wakes an agent that went to sleep.
//!
//! While every loop is idle, the agent sleeps. The first `unpark` then has to wake it, and every other `unpark` should
//! cost nothing. The race to avoid is store-then-load on both sides: the loop stores "busy" and loads "is the agent
//! asleep?", the agent stores "asleep" and loads "is a loop busy?". Without a full barrier between store and load on
//! both sides each may miss the other, and the agent sleeps through a stall.
//!
//! The loop's barrier is on its hot path, the agent's is not. Where the kernel has `membarrier`, the agent issues one
//! that acts on all threads of the process, and the loop needs only to keep the compiler from reordering. Elsewhere
//! both use a sequentially consistent fence (2 ns).
//!
//! A loop that finds the flag raised takes it back by a swap and wakes the agent, so one sleep costs one wake, however
//! many loops there are.

use crate::barrier::Barrier;
use crate::sync::{AtomicU32, Ordering, fence};

/// The flag that the agent raises before it sleeps.
#[derive(Debug)]
pub struct SleepFlag {
    /// 1 while the agent is asleep or about to be. Written by the agent (store) and by the loop that wakes it (swap);
    /// ordered against the loop's `busy_since` word by the barriers described above.
    is_asleep: AtomicU32,
}

impl Default for SleepFlag {
    fn default() -> Self {
        SleepFlag::new()
    }
}

impl SleepFlag {
    /// Returns a flag that is not raised.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        SleepFlag { is_asleep: AtomicU32::new(0) }
    }

    /// Returns a flag that stays raised, because nobody lowers it.
    #[cfg(not(loom))]
    pub(crate) const fn of_sleeper() -> Self {
        SleepFlag { is_asleep: AtomicU32::new(1) }
    }

    /// Returns a flag that is not raised.
    #[cfg(loom)]
    pub fn new() -> Self {
        SleepFlag { is_asleep: AtomicU32::new(0) }
    }

    /// The loop's side: call after the store that says "busy". Returns true if the caller must wake the agent.
    #[inline(always)]
    pub fn must_wake(&self, barrier: Barrier) -> bool {
        match barrier {
            Barrier::Asymmetric => std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst),
            Barrier::Fence => fence(Ordering::SeqCst),
        }
        self.is_asleep.load(Ordering::Relaxed) != 0 && self.take()
    }

    /// The loop's side, with [`Barrier::Asymmetric`]: whether [`must_wake`](SleepFlag::must_wake) must be asked. One load.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn seems_asleep(&self) -> bool {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        self.is_asleep.load(Ordering::Relaxed) != 0
    }

    #[cold]
    fn take(&self) -> bool {
        self.is_asleep.swap(0, Ordering::AcqRel) != 0
    }

    /// The agent's side: raises the flag, then makes the barrier. The agent may sleep only if, after this returned,
    /// it still sees every loop idle; else it calls [`SleepFlag::stay_awake`].
    #[inline]
    pub fn about_to_sleep(&self, barrier: Barrier) {
        self.is_asleep.store(1, Ordering::Relaxed);
        match barrier {
            Barrier::Asymmetric => _ = crate::barrier::all_threads(),
            Barrier::Fence => fence(Ordering::SeqCst),
        }
    }

    /// The agent's side: lowers the flag, after waking or where it cannot sleep.
    #[inline]
    pub fn stay_awake(&self) {
        self.is_asleep.store(0, Ordering::Relaxed);
    }
}

/// Raised by the agent of this process while it sleeps; lowered in a process without an agent.
#[cfg(not(loom))]
pub(crate) static AGENT_SLEEP_FLAG: SleepFlag = SleepFlag::new();

/// In a forked child: its agent's thread is not there, and a wake would go to the parent's.
#[cfg(all(not(loom), target_os = "linux"))]
pub(crate) fn forget_agent() {
    AGENT_SLEEP_FLAG.stay_awake();
}
