//! Whom a capture is aimed at: a thread, the bounds of its stack, and words of the caller's that are copied with it.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The most words that a [`TagSource`] may have.
pub const TAG_WORDS: usize = 16;

/// Words that the handler copies at the instant of the sample, such as what the loop says it is running.
///
/// # Safety
/// Every pointer that `words` and `done_word` return is valid and aligned for use from any thread for as long as the source
/// lives.
pub unsafe trait TagSource: Send + Sync {
    /// Returns where the words are, at most [`TAG_WORDS`]. Asked once, when a capturer is attached.
    fn words(&self) -> Vec<*const AtomicU64>;

    /// Returns what the handler changes when it has copied all, for a thread that waits for it; `None` otherwise. Asked once,
    /// when a capturer is attached.
    fn done_word(&self) -> Option<DoneWord> {
        None
    }
}

/// A word of which the handler clears all bits but some when it has copied all. It means nothing to this crate.
#[derive(Clone, Copy, Debug)]
pub struct DoneWord {
    /// The word.
    pub word: *const AtomicU32,
    /// The bits that stay.
    pub kept_bits: u32,
}

/// A thread of this process.
#[derive(Clone)]
pub struct Target {
    /// The kernel's id of the thread.
    pub tid: u32,
    /// The addresses of its stack. The handler reads nothing outside them, so all from any stack pointer within them to
    /// their end must be mapped while the thread lives. Empty where unknown: a sample then holds registers only.
    pub stack: Range<usize>,
    /// What the C library calls it (`pthread_self`), as an address: a thread that has its number later is told from it. 0 where
    /// not known; then it gets no signal.
    pub handle: usize,
    /// The size of its alternate signal stack in bytes, `None` where it has none. On one that is too small for the kernel's
    /// own frame a signal would end the process, so such a thread is not signalled. Only the thread itself can ask the kernel
    /// for it: what it sets later, [`Capturer::set_alternate_stack`](crate::Capturer::set_alternate_stack) must be told.
    pub alternate_stack_bytes: Option<usize>,
    /// What else to copy.
    pub tags: Option<Arc<dyn TagSource>>,
}

/// Returns the kernel's number of the calling thread. In a signal handler, too. glibc has a function for it since 2.30 only.
pub(crate) fn own_tid() -> u32 {
    // SAFETY: the call takes nothing and returns a number.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

impl Target {
    /// Returns the calling thread as a target, without tags.
    pub fn this_thread() -> Target {
        Target {
            tid: own_tid(),
            stack: own_stack(),
            handle: own_handle(),
            alternate_stack_bytes: own_alternate_stack(),
            tags: None,
        }
    }
}

/// Returns what the C library calls the calling thread. A read of a register: a signal handler may call it.
pub(crate) fn own_handle() -> usize {
    // SAFETY: pthread_self takes nothing and cannot fail.
    unsafe { libc::pthread_self() as usize }
}

/// Returns the size of the calling thread's alternate signal stack.
fn own_alternate_stack() -> Option<usize> {
    let mut found = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: without a new stack the call only fills `found`, which is room for it.
    if unsafe { libc::sigaltstack(std::ptr::null(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, and has filled it.
    let found = unsafe { found.assume_init() };
    (found.ss_flags & libc::SS_DISABLE == 0).then_some(found.ss_size)
}

/// Returns the addresses of the calling thread's stack, empty where the C library does not know.
fn own_stack() -> Range<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_self takes nothing and cannot fail.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: the thread is the calling one, so it lives, and `attributes` is room for what the call writes.
    if unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) } != 0 {
        return 0..0;
    }
    let (mut begin, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the call above succeeded, so the attributes are initialized; the results are live locals.
    let asked = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut begin, &mut length) };
    // SAFETY: the attributes are initialized, and not used after this.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let begin = begin.addr();
    if asked == 0 { begin..begin.saturating_add(length) } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_its_own_stack() {
        let local = 0_u8;
        let target = Target::this_thread();
        assert!(target.stack.contains(&(&raw const local).addr()));
        assert!(std::path::Path::new(&format!("/proc/self/task/{}", target.tid)).exists());
    }
}
