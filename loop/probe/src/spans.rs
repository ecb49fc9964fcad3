//! Spans inside callbacks: sub-frames of the path that runs on this thread.
//!
//! A loop installs its [`Track`] as the thread's current one while it runs. A `tracing` layer (or anybody) then enters
//! and leaves named frames; the time between goes to the frame's own node. Outside a running loop both do nothing.

use crate::clock::{Clock, Ticks};
use crate::memory::Memory;
use crate::paths::{PathId, PathIndex};
use crate::phase::Phase;
use crate::site::{Site, SiteId, SiteIndex};
use crate::word::{LoopOwned, Pen};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Where the loop's thread is in the tree of paths, and since when. Shared by the writer and by span layers, on one
/// thread.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) memory: Arc<Memory>,
    pub(crate) clock: Clock,
    pub(crate) pen: Pen<LoopOwned>,
    pub(crate) index: PathIndex,
    pub(crate) sites: RefCell<SiteIndex>,
    pub(crate) path: Cell<PathId>,
    pub(crate) stamp: Cell<Ticks>,
    depth: Cell<u32>,
}

impl Track {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock, pen: Pen<LoopOwned>) -> Rc<Track> {
        let index = PathIndex::new(&pen, &memory.page().paths);
        let sites = RefCell::new(SiteIndex::new(&pen, &memory.page().sites));
        let (path, stamp) = (Cell::new(PathId::of_phase(Phase::Main)), Cell::new(clock.now()));
        Rc::new(Track { memory, clock, pen, index, sites, path, stamp, depth: Cell::new(0) })
    }

    /// Enters the node of `site` below `parent`; the time since the last move was `parent`'s or the loop's.
    #[inline(always)]
    pub(crate) fn enter(&self, parent: PathId, site: SiteId, at: Ticks) -> PathId {
        let paths = &self.memory.page().paths;
        let path = self.index.child(&self.pen, paths, parent, site);
        paths.enter(&self.pen, path);
        self.path.set(path);
        self.stamp.set(at);
        path
    }

    /// Charges the time since the last move to the current node.
    #[inline(always)]
    pub(crate) fn charge(&self, at: Ticks) {
        let ticks = at.since(self.stamp.get());
        self.memory.page().paths.charge(&self.pen, self.path.get(), ticks);
        self.stamp.set(at);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Track>>> = const { RefCell::new(None) };
}

/// Makes a track the thread's current one until dropped.
#[derive(Debug)]
pub struct Installed {
    previous: Option<Rc<Track>>,
}

pub(crate) fn install(track: &Rc<Track>) -> Installed {
    Installed { previous: CURRENT.replace(Some(track.clone())) }
}

impl Drop for Installed {
    fn drop(&mut self) {
        CURRENT.set(self.previous.take());
    }
}

/// What [`enter`] gives and [`leave`] takes: the frame to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    parent: PathId,
}

/// Frames nested deeper than this are not told apart: a recursive span must not fill the tree.
const DEPTH_MAX: u32 = 64;

/// Finds or makes the site of a span, on the page of the loop that runs on this thread. `None` outside a loop.
/// The caller keeps the number: it is valid as long as that loop lives.
pub fn site(name: &str, file: &str, line: u32) -> Option<SiteId> {
    CURRENT.with_borrow(|current| {
        let track = current.as_ref()?;
        let site = Site {
            kind: crate::kind::Kind::Span,
            name: name.to_owned(),
            file: file.to_owned(),
            line,
            column: 0,
        };
        let mut sites = track.sites.try_borrow_mut().ok()?;
        Some(sites.intern(&track.pen, &track.memory.page().sites, site))
    })
}

/// Returns a number that tells the loops of a thread apart, for caching sites: the address of its page. 0 outside one.
pub fn loop_identity() -> usize {
    CURRENT.with_borrow(|current| {
        current.as_ref().map_or(0, |track| std::ptr::from_ref(track.memory.page()) as usize)
    })
}

/// Enters a frame: time from now on is its own. `None` outside a running loop.
pub fn enter(site: SiteId) -> Option<Entered> {
    CURRENT.with_borrow(|current| {
        let track = current.as_ref()?;
        let (parent, at) = (track.path.get(), track.clock.now());
        track.charge(at);
        track.depth.set(track.depth.get() + 1);
        if track.depth.get() <= DEPTH_MAX {
            track.enter(parent, site, at);
        }
        Some(Entered { parent })
    })
}

/// Leaves the frame that [`enter`] entered; time from now on is its parent's again.
pub fn leave(entered: Entered) {
    CURRENT.with_borrow(|current| {
        if let Some(track) = current {
            track.charge(track.clock.now());
            track.depth.set(track.depth.get().saturating_sub(1));
            track.path.set(entered.parent);
        }
    });
}

impl Track {
    /// A new callback begins: spans that a previous one left open do not count against its depth.
    #[inline(always)]
    pub(crate) fn reset_depth(&self) {
        self.depth.set(0);
    }
}
