//! A loop's thread as a target of captures, with the page's words that tell what runs.

use loopscope_probe::registry::LocalPage;
use loopscope_stacks::{TagSource, Target};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Holds a page's memory for as long as a handler may read it.
struct PageWords(LocalPage);

// SAFETY: The pointers are those of atomic words in the page's memory, which `LocalPage` holds by a counted reference,
// and which this source keeps; atomics are aligned and may be read from any thread.
unsafe impl TagSource for PageWords {
    fn words(&self) -> Vec<*const AtomicU64> {
        self.0.page().tag_words().map(std::ptr::from_ref).to_vec()
    }
}

/// Returns the thread of a page's loop as a target.
pub(crate) fn target(page: &LocalPage) -> Target {
    let thread = page.thread();
    Target { tid: thread.tid, stack: thread.stack.clone(), tags: Some(Arc::new(PageWords(page.clone()))) }
}
