//! A loop's thread as a target of captures: with the page's words that tell what runs, and the gate that waits for the
//! handler.

use loopscope_probe::raw::capture_gate::CaptureGate;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_stacks::{DoneWord, TagSource, Target};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Holds a page's memory and gate for as long as a handler may use them.
struct PageWords(LocalPage);

// SAFETY: The pointers are those of atomic words in the page's memory and in its gate, which `LocalPage` holds by counted
// references, and which this source keeps; atomics are aligned and may be used from any thread.
unsafe impl TagSource for PageWords {
    fn words(&self) -> Vec<*const AtomicU64> {
        self.0.page().tag_words().map(std::ptr::from_ref).to_vec()
    }

    fn done_word(&self) -> Option<DoneWord> {
        let word = std::ptr::from_ref(self.0.gate().word());
        Some(DoneWord { word, kept_bits: CaptureGate::HANDLED })
    }
}

/// Returns the thread of a page's loop as a target.
pub(crate) fn target(page: &LocalPage) -> Target {
    let thread = page.thread();
    Target {
        tid: thread.tid,
        stack: thread.stack.clone(),
        handle: thread.handle,
        alternate_stack_bytes: page.gate().alternate_stack_bytes(),
        tags: Some(Arc::new(PageWords(page.clone()))),
    }
}
