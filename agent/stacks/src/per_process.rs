//! A value that each process has its own of: a forked child, which has its parent's memory, begins with a new one.
//!
//! So nothing that was found of the parent is believed in the child, and a lock that another thread held when the process
//! forked, and that nobody will let go of there, is not the child's. What the parent had is neither used nor dropped in the
//! child: some hundred bytes for each generation.

use std::sync::atomic::{AtomicPtr, Ordering};

/// The value of this process, made when it is first asked for.
pub(crate) struct PerProcess<T: 'static> {
    /// The value of the process that asked last, never freed; null before. Exchanged from one that is not this process's,
    /// acquire and release, so that whoever finds a value sees it whole.
    current: AtomicPtr<Owned<T>>,
    make: fn() -> T,
}

struct Owned<T> {
    pid: u32,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Nothing yet. `make` may be called by several threads at once; what all but one of them made is dropped.
    pub const fn new(make: fn() -> T) -> PerProcess<T> {
        PerProcess { current: AtomicPtr::new(std::ptr::null_mut()), make }
    }

    /// Returns this process's. One system call.
    pub fn get(&self) -> &'static T {
        let pid = std::process::id();
        let mut found = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: it is null, or comes from the box below, which is never freed once it is here.
            if let Some(owned) = unsafe { found.as_ref() }.filter(|owned| owned.pid == pid) {
                return &owned.value;
            }
            let made = Box::into_raw(Box::new(Owned { pid, value: (self.make)() }));
            match self.current.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => found = made,
                Err(other) => {
                    // SAFETY: made above, and nobody else has its address.
                    drop(unsafe { Box::from_raw(made) });
                    found = other;
                }
            }
        }
    }
}
