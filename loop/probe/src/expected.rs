//! Expected blocks: parts of a busy stretch that the program announced, and that nobody is to be warned of.
//!
//! Time under such a scope is time in which the loop does not poll, and lag says so; only the stall thresholds, and what
//! is counted by them, leave it out.

use crate::clock::Ticks;
use crate::kind::Kind;
use crate::site::{SiteId, site_at};
use crate::spans::Track;
use crate::word::{LoopOwned, Word};
use std::panic::Location;
use std::rc::Rc;

/// The words that tell of expected blocks.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct ExpectedWords {
    /// When the outermost open scope began, in ticks; 0 outside any.
    since: Word<LoopOwned>,
    /// Its site.
    site: Word<LoopOwned>,
    /// Time under scopes that have ended within the stretch named below, in ticks.
    ticks: Word<LoopOwned>,
    /// Start of the busy stretch that `ticks` is about: a new stretch has none without anybody resetting it.
    stretch: Word<LoopOwned>,
    /// Scopes open within each other.
    depth: Word<LoopOwned>,
}

impl ExpectedWords {
    /// Returns the expected part of the stretch that began at `stretch` and has lasted until `now`, in ticks.
    pub(crate) fn ticks(&self, stretch: Ticks, now: Ticks) -> u64 {
        let ended = if self.stretch.get() == stretch.0 { self.ticks.get() } else { 0 };
        let open = match self.since.get() {
            0 => 0,
            since => now.since(Ticks(since.max(stretch.0))),
        };
        ended.saturating_add(open).min(now.since(stretch))
    }

    /// Returns the site of the open scope.
    pub(crate) fn open_site(&self) -> Option<SiteId> {
        (self.since.get() != 0).then(|| SiteId(self.site.get() as u16))
    }
}

/// A stretch of code that may block the loop: a scope that ends when dropped.
#[derive(Debug)]
#[must_use = "the block is expected until this is dropped"]
pub struct ExpectedBlock {
    track: Option<Rc<Track>>,
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
        track.expect(name, Location::caller());
    }
    ExpectedBlock { track }
}

impl Drop for ExpectedBlock {
    fn drop(&mut self) {
        if let Some(track) = &self.track {
            track.no_longer_expect();
        }
    }
}

impl Track {
    fn expect(&self, name: &str, at: &'static Location<'static>) {
        let (words, pen) = (&self.page.expected, &self.pen);
        words.depth.add(pen, 1);
        if words.depth.get() == 1 {
            let site = self.sites.borrow_mut().intern(pen, &self.page.sites, site_at(at, Kind::Span, name));
            words.site.set(pen, u64::from(site.0));
            words.since.publish(pen, self.clock.now().0.max(1));
        }
    }

    fn no_longer_expect(&self) {
        let (words, pen) = (&self.page.expected, &self.pen);
        words.depth.set(pen, words.depth.get().saturating_sub(1));
        if words.depth.get() > 0 {
            return;
        }
        let stretch = Ticks(self.page.now.busy_since.get());
        if stretch != Ticks::NONE {
            let ticks = words.ticks(stretch, self.clock.now());
            words.ticks.set(pen, ticks);
            words.stretch.set(pen, stretch.0);
        }
        words.since.publish(pen, 0);
    }
}
