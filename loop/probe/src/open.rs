//! The spans that are open inside the running callback, with their fields: what it is doing, in the program's own words.
//!
//! A stack of entries on the page. It belongs to one frame, the one whose packed word ([`crate::now`]) it repeats: when
//! another callback runs, the stack is stale by itself, so beginning and ending a callback costs nothing for it.
//!
//! An entry's version is odd while it is written. Orderings: the writer stores the version (relaxed), issues a release
//! fence, stores the entry and publishes the even version (release); a reader observes the version (acquire), copies,
//! issues an acquire fence and reads the version again.

use crate::site::{SiteId, load_text, store_text};
use crate::sync::{Ordering, fence};
use crate::word::{LoopOwned, Pen, Word};

/// How many nested spans are told; deeper ones are left out.
pub const OPEN_SPANS: usize = 16;

const FIELD_WORDS: usize = 12;

/// Bytes of a span's fields that are kept.
pub const FIELD_BYTES: usize = FIELD_WORDS * 8;

#[repr(C)]
#[derive(Debug, Default)]
struct OpenSpanWords {
    version: Word<LoopOwned>,
    pub(crate) site: Word<LoopOwned>,
    fields: [Word<LoopOwned>; FIELD_WORDS],
}

/// The stack in shared memory.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct OpenWords {
    /// The packed word of the frame that the stack belongs to.
    pub(crate) frame: Word<LoopOwned>,
    /// Spans open now; may exceed [`OPEN_SPANS`]. Published after the entry that it counts.
    pub(crate) depth: Word<LoopOwned>,
    entries: [OpenSpanWords; OPEN_SPANS],
}

/// A span that is open inside the running callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSpan {
    /// Its site, of kind [`Kind::Span`](crate::Kind::Span).
    pub site: SiteId,
    /// Its fields as `key=value key=value`, cut after [`FIELD_BYTES`]; empty where it has none.
    pub fields: String,
}

impl OpenWords {
    /// The first span of a frame is about to be entered.
    pub(crate) fn start(&self, pen: &Pen<LoopOwned>, frame: u64) {
        self.depth.publish(pen, 0);
        self.frame.set(pen, frame);
    }

    pub(crate) fn push(&self, pen: &Pen<LoopOwned>, site: SiteId, fields: &str) {
        let depth = self.depth.get();
        if let Some(entry) = self.entries.get(depth as usize) {
            entry.write(pen, site, fields);
        }
        self.depth.publish(pen, depth + 1);
    }

    /// Goes back to `depth` open spans.
    pub(crate) fn leave(&self, pen: &Pen<LoopOwned>, depth: u32) {
        self.depth.publish(pen, u64::from(depth));
    }

    /// Returns the word that holds the site of the entry at `depth`, which must be below [`OPEN_SPANS`].
    pub(crate) fn site_word(&self, depth: usize) -> &Word<LoopOwned> {
        &self.entries[depth].site
    }
}

impl OpenWords {
    /// Copies the stack where it belongs to the frame in `running`. None where it changed all the time.
    pub(crate) fn read(&self, running: &Word<LoopOwned>) -> Option<Vec<OpenSpan>> {
        (0..8).find_map(|_| self.read_once(running))
    }

    fn read_once(&self, running: &Word<LoopOwned>) -> Option<Vec<OpenSpan>> {
        let (depth, frame) = (self.depth.observe(), self.frame.get());
        if frame != running.get() || frame == 0 {
            return Some(Vec::new());
        }
        let depth = (depth as usize).min(OPEN_SPANS);
        let spans = self.entries[..depth].iter().map(OpenSpanWords::read).collect::<Option<Vec<_>>>()?;
        // A callback that ended meanwhile took its spans with it.
        (running.get() == frame).then_some(spans)
    }
}

impl OpenSpanWords {
    fn write(&self, pen: &Pen<LoopOwned>, site: SiteId, fields: &str) {
        let version = self.version.get();
        self.version.set(pen, version | 1);
        fence(Ordering::Release);
        self.site.set(pen, u64::from(site.0));
        if !fields.is_empty() || self.fields[0].get() != 0 {
            store_text(pen, &self.fields, fields, false);
        }
        self.version.publish(pen, (version | 1).wrapping_add(1));
    }

    /// Copies the entry; `None` while it is being written.
    fn read(&self) -> Option<OpenSpan> {
        let version = self.version.observe();
        let span = OpenSpan { site: SiteId(self.site.get() as u16), fields: load_text(&self.fields) };
        fence(Ordering::Acquire);
        (version.is_multiple_of(2) && self.version.get() == version).then_some(span)
    }
}
