//! The process's sampler: a function of the program that the handler calls, so that another runtime's stack is read at the
//! very instant of the native one.
//!
//! An interpreter or a compiler at run time (V8, for example) knows functions that no symbol table has. Asked later, when
//! the thread has run on, it tells of another moment. So whoever knows its stack registers a function that reads it where
//! the native stack is copied: on the thread itself, while it stands in the handler. What it finds are words, which mean
//! nothing to this crate; they travel with the sample ([`Sample::foreign`](crate::Sample::foreign)).
//!
//! ```text
//!   handler, on the captured thread: registers, tag words, sampler(registers, room) -> words, stack bytes
//! ```
//!
//! A thread that sleeps in the kernel is read from outside: no handler runs there, so no sampler either.

use crate::registers::Registers;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The words that a sampler has room for.
pub const SAMPLER_WORDS: usize = 128;

/// The stack that a sampler may use, in bytes. On a thread whose alternate signal stack has not so much left it is not called.
pub const SAMPLER_STACK_BYTES: usize = 2048;

/// Where the captured thread was, for its sampler.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerRegisters {
    /// The instruction pointer (`pc` on aarch64).
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer (`rbp`, `x29`).
    pub fp: u64,
    /// The link register (`x30` on aarch64); 0 on x86_64.
    pub lr: u64,
}

/// A function that reads another runtime's stack: gets where the thread was, and room for so many words, and returns how many
/// of them it has written. See [`set_sampler`] for what it may do.
pub type Sampler =
    unsafe extern "C" fn(registers: *const SamplerRegisters, words: *mut u64, room: usize) -> usize;

/// The sampler, or null. Written by `set_sampler`, read by the handler: Release and Acquire, so that what the program wrote
/// before it registered a sampler is seen by it.
static SAMPLER: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Sets the process's sampler, in place of the one before; `None` takes it away. One that is running goes on to its end, on
/// its own thread.
///
/// It is called for every capture of every thread by a signal, also for threads that its runtime knows nothing of: it tells by
/// the thread whether there is anything to find, and returns 0 otherwise.
///
/// # Safety
/// The function, for as long as the process lives (a capture that is under way may still call it after it was replaced):
/// - is async-signal-safe: the thread may have been interrupted anywhere, in malloc, with locks held, while a panic unwinds.
///   So no allocation, no lock, no log, no thread-local that is made at its first use, and no unwinding out of it;
/// - writes no more than the words that it is given room for, and keeps neither pointer;
/// - uses at most [`SAMPLER_STACK_BYTES`] of stack, and returns soon: the thread stands still meanwhile.
///
/// It may change `errno`, which the handler keeps. Words that are the same for the same calls (places of code, and no times)
/// let captures of one stack be counted as one.
pub unsafe fn set_sampler(sampler: Option<Sampler>) {
    let pointer = sampler.map_or(std::ptr::null_mut(), |sampler| sampler as *mut ());
    SAMPLER.store(pointer, Ordering::Release);
}

/// Handler only. Lets the sampler write into `words`, which the caller alone uses; returns how many it wrote, `None` where
/// there is no sampler.
pub(crate) fn sample(registers: &Registers, words: &[AtomicU64; SAMPLER_WORDS]) -> Option<usize> {
    let pointer = SAMPLER.load(Ordering::Acquire);
    if pointer.is_null() {
        return None;
    }
    // SAFETY: only `set_sampler` stores here, and what it stores is null or such a function.
    let sampler = unsafe { std::mem::transmute::<*mut (), Sampler>(pointer) };
    let registers =
        SamplerRegisters { ip: registers.ip, sp: registers.sp, fp: registers.fp, lr: registers.lr };
    let room = words.as_ptr().cast_mut().cast::<u64>();
    // SAFETY: `set_sampler`'s caller vouches for the function in a handler; the registers live until it returns, and `words`
    // are as many plain words, inside of cells, that nobody else touches meanwhile.
    let written = unsafe { sampler(&raw const registers, room, SAMPLER_WORDS) };
    Some(written.min(SAMPLER_WORDS))
}
