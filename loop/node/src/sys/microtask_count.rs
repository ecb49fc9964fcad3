//! How many microtasks have ended, where V8 counts them itself: also while a queue is drained.
//!
//! V8 tells the number of a drain at its end. Its queue counts them one by one, in a word that is the sixth of the queue since Node
//! 12. That it is so is checked by the caller: the word must have grown by what V8 said, drain after drain.

use super::sampler;
use super::symbols::{self, Missing, functions};
use super::v8::Isolate;
use libc::c_void;
use loopscope_stacks::Memory;

functions! {
    /// The queue of the context of this thread.
    Queues {
        of_context = c"_ZN2v87Context17GetMicrotaskQueueEv": fn(*mut c_void) -> *mut c_void;
    }
}

/// Before it are the table of its functions, its size, capacity and begin, and the jobs.
const WORD: usize = 5;

/// Where the number is, of this thread's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MicrotaskCount {
    word: *const i64,
}

impl MicrotaskCount {
    /// Looks for it. Within a call from JavaScript; `None` where V8 has another interface.
    pub(crate) fn find(isolate: &Isolate) -> Option<MicrotaskCount> {
        let queues = Queues::find().ok()?;
        let context = isolate.context()?;
        // SAFETY: it only reads where the context has its queue.
        let queue = unsafe { (queues.of_context)(context) };
        let word = queue.cast::<i64>().wrapping_add(WORD).cast_const();
        Memory::open().ok()?.read::<8>(word.addr() as u64)?;
        Some(MicrotaskCount { word })
    }

    /// Returns the number.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        // SAFETY: `find` has read it there; the queue is its isolate's, on whose thread this is called.
        unsafe { self.word.read_volatile() as u64 }
    }

    /// Has captures of this thread say it, too.
    pub(crate) fn publish(&self) {
        // SAFETY: the queue is there for as long as its isolate, with which the thread is listed no more.
        unsafe { sampler::set_finished(self.word) };
    }
}
