//! What ran at the instant of a capture: a few words to copy inside a signal handler, and what they mean.
//!
//! A handler runs on the loop's own thread, between two of its instructions, so words copied there belong together as
//! they never do for another thread.

use crate::clock::Ticks;
use crate::now::{Running, unpack};
use crate::page::Page;
use crate::site::SiteId;
use std::sync::atomic::AtomicU64;

/// Spans told by tags, outermost first.
const SPANS: usize = 8;

/// How many words tell what runs.
pub const TAG_WORDS: usize = 7 + SPANS;

/// What ran when the tags were copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The phase and callback.
    pub running: Running,
    /// For a drain, also between two of its jobs: the site of the callback after which it is; else [`SiteId::NONE`].
    pub drained_after: SiteId,
    /// Start of the busy period, or when the loop last polled in it.
    pub busy_since: Ticks,
    /// The spans open inside the callback, outermost first; at most 8.
    pub spans: Vec<SiteId>,
}

impl Page {
    /// Returns the words to copy, each with one relaxed load, in this order. They stay where they are as long as the
    /// page's memory is held.
    pub fn tag_words(&self) -> [&AtomicU64; TAG_WORDS] {
        let (now, open) = (&self.now, &self.open);
        std::array::from_fn(|index| match index {
            0 => now.running.cell(),
            1 => {
                if self.is_observed() {
                    self.control.observed_busy_word().cell()
                } else {
                    now.busy_since.cell()
                }
            }
            2 => open.frame.cell(),
            3 => open.depth.cell(),
            4 => open.begun.cell(),
            5 => open.ended.cell(),
            6 => now.drained_after.cell(),
            index => open.site_word(index - 7).cell(),
        })
    }
}

impl Tags {
    /// Decodes copied words of this page; `None` where the loop was in its poll, or no loop wrote them.
    pub fn decode(page: &Page, words: &[u64; TAG_WORDS]) -> Option<Tags> {
        let [running, busy_since, frame, depth, begun, ended, drained_after, sites @ ..] = *words;
        let busy_since = Some(Ticks(busy_since)).filter(|since| *since != Ticks::NONE)?;
        let shift = (page.header.clock_shift.get() as u32).min(6);
        // The handler may have come between two stores of the stack's.
        let is_whole = frame == running && begun == ended;
        let depth = if is_whole { (depth as usize).min(SPANS) } else { 0 };
        let running = unpack(running, busy_since, shift)?;
        Some(Tags {
            drained_after: running.queue.map_or(SiteId::NONE, |_| SiteId(drained_after as u16)),
            running,
            busy_since: page.control.since_turn(busy_since),
            spans: sites[..depth].iter().map(|site| SiteId(*site as u16)).collect(),
        })
    }
}
