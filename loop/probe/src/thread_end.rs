//! Ending the loops of a thread with it: a writer that was leaked (`mem::forget`, a cycle of references) is never dropped.
//!
//! Its page would stay for as long as the process, as a loop that is idle or, worse, stalled for ever, and its thread's
//! number may be another thread's by then. So each thread that makes pages has a variable that closes, when the thread
//! ends, those that are still open. A writer that another variable holds may be dropped, and even used, after that: on the
//! same thread, and closing a page twice is closing it once.

use crate::capture_gate::CaptureGate;
use crate::clock::Clock;
use crate::memory::Memory;
use crate::poll_gate::PollGate;
use crate::shared_u64::WriteToken;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

thread_local! {
    static PAGES: PagesOfThread = const { PagesOfThread(RefCell::new(Vec::new())) };
}

/// The pages that a thread made, with the process in which it did.
struct PagesOfThread(RefCell<Vec<PageOfThread>>);

struct PageOfThread {
    maker: u32,
    memory: Weak<Memory>,
    gate: Arc<CaptureGate>,
}

/// Notes a page that the calling thread writes, and its gate.
pub(crate) fn close_with_thread(memory: &Arc<Memory>, gate: &Arc<CaptureGate>) {
    let own = PageOfThread { maker: std::process::id(), memory: Arc::downgrade(memory), gate: gate.clone() };
    // Where the thread ends already, nobody closes a page that is leaked now.
    let _ = PAGES.try_with(|pages| {
        if let Ok(mut pages) = pages.0.try_borrow_mut() {
            let is_open =
                |page: &PageOfThread| page.memory.upgrade().is_some_and(|memory| !memory.page().is_closed());
            pages.retain(is_open);
            pages.push(own);
        }
    });
}

impl Drop for PagesOfThread {
    fn drop(&mut self) {
        for PageOfThread { maker, memory, gate } in self.0.take() {
            // In a forked child the list of pages may be locked by a thread that is not there.
            let is_own = maker == std::process::id();
            let Some(memory) = memory.upgrade().filter(|memory| is_own && !memory.page().is_closed()) else {
                continue;
            };
            close(&memory);
            // Destructors that run after this one are the program's: a signal that is on its way is to arrive before.
            PollGate::new(gate).close();
        }
    }
}

/// Says on a page that its loop has ended, and takes it away from its readers. On the thread that writes it.
pub(crate) fn close(memory: &Arc<Memory>) {
    // A second pen, on the thread of the first: stores of both are in the order of the program.
    let (page, pen) = (memory.page(), WriteToken::mint());
    let was_busy = page.now.busy_since.get() != 0;
    if let Some(clock) = page.clock().and_then(|(source, scale)| Clock::of_own_page(source, scale)) {
        page.record_last_poll(&pen, &clock);
    }
    page.now.busy_since.publish(&pen, 0);
    page.header.is_closed.publish(&pen, 1);
    crate::registry::remove(memory, was_busy);
    memory.unlink();
}
