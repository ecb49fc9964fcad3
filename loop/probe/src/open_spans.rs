//! The spans that are open inside the running callback, with their fields: what it is doing, in the program's own words.
//!
//! A stack of entries on the page. It belongs to one frame, the one whose packed word ([`crate::now`]) it repeats: when
//! another callback runs, the stack is stale by itself, so beginning and ending a callback costs nothing for it. Between
//! callbacks it belongs to the word that says so: what a runtime runs without telling has spans, too.
//!
//! Changes of the stack are counted, at their begin in its last word and at their end in its first: a copy between
//! two equal counts is of one moment, and never has spans of two callbacks. That is true of a copy of the file, too,
//! which is made from the first word to the last. Orderings: the writer stores the begin (relaxed), issues a release
//! fence, stores, and publishes the end (release); a reader observes the end (acquire), copies, issues an acquire
//! fence and reads the begin. It tries so [`TRIES`] times.

use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};
use crate::site::{SiteId, load_text, store_text};
use crate::sync::{Ordering, fence};

/// How many nested spans are told; deeper ones are left out.
pub const OPEN_SPANS: usize = if cfg!(loom) { 2 } else { 16 };

const FIELD_WORDS: usize = 12;

/// Bytes of a span's fields that are kept.
pub const FIELD_BYTES: usize = FIELD_WORDS * 8;

/// How often a reader tries to copy the stack.
pub const TRIES: usize = if cfg!(loom) { 1 } else { 8 };

#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct OpenSpanWords {
    site: SharedU64<LoopOwned>,
    fields: [SharedU64<LoopOwned>; FIELD_WORDS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(OpenSpanWords, "open_span", site, fields);

/// The stack in shared memory.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct OpenWords {
    /// Changes of the stack that have ended.
    pub(crate) ended: SharedU64<LoopOwned>,
    /// The packed word of the frame that the stack belongs to.
    pub(crate) frame: SharedU64<LoopOwned>,
    /// Spans open now; may exceed [`OPEN_SPANS`].
    pub(crate) depth: SharedU64<LoopOwned>,
    entries: [OpenSpanWords; OPEN_SPANS],
    /// Changes of the stack that have begun: one more while it is written.
    pub(crate) begun: SharedU64<LoopOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(OpenWords, "open", ended, frame, depth, entries, begun);

/// A span that is open inside the running callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpan {
    /// Its site, of kind [`Kind::Span`](crate::Kind::Span).
    pub site: SiteId,
    /// Its fields as `key=value key=value`, cut after [`FIELD_BYTES`]; empty where it has none.
    pub fields: String,
}

impl OpenWords {
    /// Changes the stack as one.
    #[inline(always)]
    fn change(&self, pen: &WriteToken<LoopOwned>, change: impl FnOnce()) {
        let number = self.begun.get().wrapping_add(1);
        self.begun.set(pen, number);
        fence(Ordering::Release);
        change();
        self.ended.publish(pen, number);
    }

    /// The first span of a frame is about to be entered.
    pub fn start(&self, pen: &WriteToken<LoopOwned>, frame: u64) {
        self.hand_over(pen, frame, 0);
    }

    /// The outermost `depth` spans that are open belong to this frame from now on.
    pub(crate) fn hand_over(&self, pen: &WriteToken<LoopOwned>, frame: u64, depth: u32) {
        self.change(pen, || {
            self.depth.set(pen, u64::from(depth));
            self.frame.set(pen, frame);
        });
    }

    /// A span is entered, inside those that are open.
    pub fn push(&self, pen: &WriteToken<LoopOwned>, site: SiteId, fields: &str) {
        let depth = self.depth.get();
        self.change(pen, || {
            if let Some(entry) = self.entries.get(depth as usize) {
                entry.write(pen, site, fields);
            }
            self.depth.set(pen, depth.wrapping_add(1));
        });
    }

    /// Goes back to `depth` open spans.
    pub fn leave(&self, pen: &WriteToken<LoopOwned>, depth: u32) {
        self.change(pen, || self.depth.set(pen, u64::from(depth)));
    }

    /// Returns the word that holds the site of the entry at `depth`, which must be below [`OPEN_SPANS`].
    #[cfg(not(loom))]
    pub(crate) fn site_word(&self, depth: usize) -> &SharedU64<LoopOwned> {
        &self.entries[depth].site
    }

    /// Copies the stack where it belongs to the frame in `running`; empty where it is another's. `None` where it changed all
    /// the time.
    pub fn read(&self, running: &SharedU64<LoopOwned>) -> Option<Vec<OpenSpan>> {
        (0..TRIES).find_map(|_| self.read_once(running))
    }

    fn read_once(&self, running: &SharedU64<LoopOwned>) -> Option<Vec<OpenSpan>> {
        let ended = self.ended.observe();
        let frame = self.frame.get();
        if frame != running.get() || frame == 0 {
            return Some(Vec::new());
        }
        let depth = (self.depth.get() as usize).min(OPEN_SPANS);
        let spans: Vec<OpenSpan> = self.entries[..depth].iter().map(OpenSpanWords::read).collect();
        fence(Ordering::Acquire);
        // A callback that ended meanwhile took its spans with it.
        (self.begun.get() == ended && running.get() == frame).then_some(spans)
    }
}

impl OpenSpanWords {
    fn write(&self, pen: &WriteToken<LoopOwned>, site: SiteId, fields: &str) {
        self.site.set(pen, u64::from(site.0));
        if !fields.is_empty() || self.fields[0].get() != 0 {
            store_text(pen, &self.fields, fields, false);
        }
    }

    fn read(&self) -> OpenSpan {
        OpenSpan { site: SiteId(self.site.get() as u16), fields: load_text(&self.fields) }
    }
}
