//! Announcing an expected block: a scope of the program's, and what it writes.

use crate::clock::Ticks;
use crate::kind::Kind;
use crate::site::{SiteId, site_at};
use crate::spans::SpanContext;
use crate::writer::Writer;
use std::panic::Location;
use std::rc::Rc;

/// Code that may block the loop: a scope that ends when dropped.
#[derive(Debug)]
#[must_use = "the block is expected until this is dropped"]
pub struct ExpectedBlock {
    track: Option<Rc<SpanContext>>,
}

/// Says that the code from here until the result is dropped may block the loop: its time does not count towards the
/// stall thresholds. `name` is told by `loopscope ls`. Two clock reads; nothing on a thread that runs no loop.
///
/// ```
/// let _expected = loopscope_probe::expect_block("migration");
/// ```
#[track_caller]
pub fn expect_block(name: &'static str) -> ExpectedBlock {
    let track = crate::spans::current();
    if let Some(track) = &track {
        let at = Location::caller();
        track.expect(track.clock.now(), |track| {
            let site = site_at(at, Kind::Span, name);
            track.sites.borrow_mut().intern(&track.pen, &track.page.sites, site)
        });
    }
    ExpectedBlock { track }
}

impl Writer {
    /// Says, of this loop, what [`expect_block`] says: for a runtime that knows such a busy period itself, under a
    /// site of its own.
    pub fn expect_block(&mut self, site: SiteId) -> ExpectedBlock {
        self.expect_block_since(site, self.track.clock.now())
    }

    /// [`Writer::expect_block`] of one that has begun at `at`, a moment of the busy period: what the thread waited for before it
    /// could say so is a part of it.
    pub fn expect_block_since(&mut self, site: SiteId, at: Ticks) -> ExpectedBlock {
        self.track.expect(at, |_| site);
        ExpectedBlock { track: Some(self.track.clone()) }
    }
}

impl Drop for ExpectedBlock {
    fn drop(&mut self) {
        if let Some(track) = &self.track {
            track.no_longer_expect();
        }
    }
}

impl SpanContext {
    fn expect(&self, at: Ticks, site: impl FnOnce(&SpanContext) -> SiteId) {
        let (words, pen) = (&self.page.expected, &self.pen);
        words.depth.add(pen, 1);
        if words.depth.get() == 1 {
            words.site.set(pen, u64::from(site(self).0));
            words.since.publish(pen, at.0.max(1));
        }
    }

    fn no_longer_expect(&self) {
        let (words, pen) = (&self.page.expected, &self.pen);
        words.depth.set(pen, words.depth.get().saturating_sub(1));
        if words.depth.get() > 0 {
            return;
        }
        let busy_since = Ticks(self.page.now.busy_since.get());
        if busy_since != Ticks::NONE {
            let ticks = words.ticks(busy_since, self.clock.now());
            words.ticks.set(pen, ticks);
            words.busy_since.publish(pen, busy_since.0);
        }
        words.since.publish(pen, 0);
    }
}
