//! What a capture of a thread gives.

use crate::registers::Registers;

/// How a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleSource {
    /// By the signal handler, on the thread itself: all registers are known.
    Handler,
    /// From memory, while the thread slept: the frame pointer and the link register are not known, and are 0.
    Memory,
}

/// What a thread was in at one instant.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The words of the target's [`TagSource`](crate::TagSource), in its order.
    pub tags: Vec<u64>,
    /// What the process's sampler found at the same instant ([`set_sampler`](crate::set_sampler)), at most
    /// [`SAMPLER_WORDS`](crate::SAMPLER_WORDS) words. `None` where it was not called: there is none, the thread slept and was
    /// read without a signal, or its alternate signal stack has no room for it.
    pub foreign: Option<Vec<u64>>,
    /// Where the thread was.
    pub registers: Registers,
    /// The bytes of its stack from the stack pointer on; at most 128 KiB.
    pub stack: Vec<u8>,
    /// The stack pointer was outside the target's stack (a coroutine, an alternate signal stack), so no bytes were copied.
    pub is_off_stack: bool,
    /// The stack was larger than what is copied: its root is missing.
    pub is_cut: bool,
    /// Time from the handler's first to its last reading of the clock, nanoseconds; 0 where no handler ran.
    pub handler_ns: u64,
    /// How it was taken.
    pub source: SampleSource,
}
