//! The loop's thread, as an agent of the same process needs to know it: its number and where its stack lies.

use std::ops::Range;

/// The thread that writes a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopThread {
    /// The kernel's number of the thread; 0 where not known.
    pub tid: u32,
    /// The addresses of its stack, lowest first; empty where not known.
    pub stack: Range<usize>,
    /// What the C library calls it (`pthread_self`), as an address; 0 where not known. A thread that has its number later has
    /// another one, or the same stack.
    pub handle: usize,
}

/// Returns the kernel's number of the calling thread, by a system call; 0 where not known. In a signal handler, too.
pub fn current_tid() -> u32 {
    #[cfg(all(target_os = "linux", not(miri)))]
    // glibc has a function for it since 2.30 only.
    // SAFETY: the call takes nothing and returns a number.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let tid = 0;
    tid
}

impl LoopThread {
    /// Returns the calling thread.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn current() -> LoopThread {
        LoopThread {
            tid: current_tid(),
            stack: stack_of_this_thread().unwrap_or_default(),
            // SAFETY: pthread_self has no requirements.
            handle: unsafe { libc::pthread_self() } as usize,
        }
    }

    /// Returns what is known elsewhere: nothing.
    #[cfg(not(all(target_os = "linux", not(miri))))]
    pub(crate) fn current() -> LoopThread {
        LoopThread::default()
    }
}

/// Asks the C library, which reads `/proc/self/maps` for the first thread and knows the others. `None` where it fails.
#[cfg(all(target_os = "linux", not(miri)))]
fn stack_of_this_thread() -> Option<Range<usize>> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_self has no requirements.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: `this` is a live thread, and `attributes` is room for what the call initializes.
    if unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: the call above succeeded and initialized `attributes`; the other two are live places for the results.
    let failed = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut bytes) } != 0;
    // SAFETY: initialized above, and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let range = low.addr()..low.addr().saturating_add(bytes);
    (!failed).then_some(range)
}

/// Returns the size of the calling thread's alternate signal stack, by a system call; `None` where it has none, or it is not
/// known.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn alternate_stack_of_this_thread() -> Option<usize> {
    let mut found = std::mem::MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: without a new stack the call only fills `found`, which is room for it.
    if unsafe { libc::sigaltstack(std::ptr::null(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, and has filled it.
    let found = unsafe { found.assume_init() };
    (found.ss_flags & libc::SS_DISABLE == 0).then_some(found.ss_size)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn alternate_stack_of_this_thread() -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux", not(miri), not(loom)))]
mod tests {
    use super::*;
    use crate::{Clock, VirtualClock, Writer};

    /// Sets the calling thread's alternate stack, of a size that every kernel takes; none where it is 0.
    fn set_alternate_stack(bytes: usize) {
        let room = Box::leak(vec![0_u8; bytes].into_boxed_slice());
        let ss_flags = if bytes == 0 { libc::SS_DISABLE } else { 0 };
        let stack = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags, ss_size: bytes };
        // SAFETY: the memory was leaked, so it outlives the thread.
        assert_eq!(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) }, 0);
    }

    #[test]
    fn an_alternate_stack_that_is_set_later_is_noticed_within_a_second_of_polls() {
        let check = || {
            set_alternate_stack(1 << 16);
            let time = VirtualClock::starting_at(1_000);
            let mut writer = Writer::builder("stacked").clock(Clock::simulated(time.clone())).build();
            writer.resume();
            let noted = |writer: &Writer| writer.gate().alternate_stack_bytes();
            assert_eq!(noted(&writer), Some(1 << 16), "when the page is made");
            let turn = |writer: &mut Writer| {
                writer.park();
                writer.unpark(0);
            };
            for bytes in [1 << 17, 0, 1 << 18] {
                let before = noted(&writer);
                set_alternate_stack(bytes);
                time.advance_ns(900_000_000);
                turn(&mut writer);
                assert_eq!(noted(&writer), before, "one call in a second");
                time.advance_ns(200_000_000);
                turn(&mut writer);
                assert_eq!(noted(&writer), Some(bytes).filter(|bytes| *bytes > 0));
            }
        };
        std::thread::spawn(check).join().unwrap();
    }

    #[test]
    fn the_stack_of_a_thread_holds_its_variables() {
        let check = || {
            let variable = 7;
            let thread = LoopThread::current();
            assert!(thread.stack.contains(&std::ptr::from_ref(&variable).addr()), "{thread:?}");
            assert!(thread.tid > 0);
        };
        check();
        std::thread::spawn(check).join().unwrap();
    }
}
