//! Spans inside callbacks: sub-frames of the path that runs on this thread.
//!
//! A loop installs its `SpanContext` as the thread's current one while it runs. A `tracing` layer (or anybody) then enters
//! and leaves named frames; the time between goes to the frame's own node. Outside a running loop both do nothing.
//!
//! Between two callbacks spans are open on the page (`open_spans.rs`) and take no time: a task of Tokio that is not wrapped,
//! or the code around one that is. A callback that begins inside such spans ([`Writer::begin_at`](crate::Writer::begin_at)) has
//! them as its outermost ones. A poll or another phase takes them off the page, except where the loop says that they are open
//! still ([`Writer::keep_outer_spans`](crate::Writer::keep_outer_spans)).

use crate::clock::{Clock, Ticks};
use crate::memory::{Memory, PageRef};
use crate::paths::{PathId, PathIndex};
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::site::{Site, SiteAddress, SiteId, SiteIndex};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What runs on the loop's thread, and since when. Shared by the writer and by span layers, on one thread.
// In this order: what every callback needs is on one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SpanContext {
    /// Word 0 of the running frame's recorder entry; 0 between frames.
    pub(crate) frame: Cell<u64>,
    /// The last stamp: where one callback ended and the next begins. While a frame runs, when it began.
    pub(crate) last: Cell<Ticks>,
    pub(crate) page: PageRef,
    /// The node that time goes to; `None` outside frames, and until the frame's first span.
    pub(crate) path: Cell<Option<PathId>>,
    /// Spans that were entered between two frames and are open.
    pub(crate) outer: Cell<u32>,
    pub(crate) clock: Clock,
    pub(crate) pen: WriteToken<LoopOwned>,
    /// Up to where the frame's time is charged; meaningful once `path` is known.
    charged: Cell<Ticks>,
    depth: Cell<u32>,
    /// So many of those between two frames are the outermost of the frame that runs.
    carried: Cell<u32>,
    /// The number of the stack that they are on; 0 where there was none yet.
    stack: Cell<u64>,
    pub(crate) index: PathIndex,
    pub(crate) sites: RefCell<SiteIndex>,
    /// Never used twice in a process, unlike an address.
    identity: u64,
}

impl SpanContext {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock, pen: WriteToken<LoopOwned>) -> Rc<SpanContext> {
        let page = PageRef::new(memory);
        let index = PathIndex::new(&pen, &page.paths);
        let sites = RefCell::new(SiteIndex::new(&pen, &page.sites));
        let (frame, last, charged) = (Cell::new(0), Cell::new(Ticks::NONE), Cell::new(Ticks::NONE));
        let (path, depth, outer, carried) = (Cell::new(None), Cell::new(0), Cell::new(0), Cell::new(0));
        let stack = Cell::new(0);
        static IDENTITY: AtomicU64 = AtomicU64::new(1);
        let identity = IDENTITY.fetch_add(1, Ordering::Relaxed);
        Rc::new(SpanContext {
            identity,
            page,
            clock,
            pen,
            index,
            sites,
            frame,
            last,
            path,
            charged,
            depth,
            outer,
            carried,
            stack,
        })
    }

    /// Returns the node that runs now; finds it at the first span of a frame. `None` where no frame runs.
    fn current(&self) -> Option<PathId> {
        let frame = self.frame.get();
        if frame == 0 {
            return None;
        }
        Some(self.path.get().unwrap_or_else(|| {
            let path = self.index.path_of_frame(&self.pen, &self.page.paths, frame);
            self.path.set(Some(path));
            self.charged.set(self.last.get());
            let carried = self.carried.get();
            self.depth.set(carried);
            self.page.open.hand_over(&self.pen, self.page.now.running.get(), carried);
            path
        }))
    }

    /// Charges the time since the last move to the current node.
    fn charge(&self, path: PathId, at: Ticks) {
        self.page.paths.charge(&self.pen, path, at.since(self.charged.get()));
        self.charged.set(at);
    }

    /// The frame ends, in which spans were entered or which is inside some; what runs then is told by the word `between`.
    #[cold]
    pub(crate) fn end_spans(&self, at: Ticks, between: u64) {
        if let Some(path) = self.path.take() {
            self.charge(path, at);
        }
        self.restore_outer(between);
    }

    /// The frame that runs is no frame any more, what runs then is told by the word `between`. Returns false, and does nothing,
    /// where it had spans besides those around it.
    #[cold]
    pub(crate) fn end_carried(&self, between: u64) -> bool {
        let is_untouched = self.charged.get() == self.last.get() && self.depth.get() == self.carried.get();
        let is_so = is_untouched && self.carried.get() > 0;
        if is_so {
            self.path.set(None);
            self.restore_outer(between);
        }
        is_so
    }

    /// The spans around the frame that ends are open still.
    #[inline(always)]
    fn restore_outer(&self, between: u64) {
        if self.carried.take() > 0 {
            self.page.open.hand_over(&self.pen, between, self.outer.get());
        }
    }

    /// Tells whether spans are open that were entered since the last frame ended: a frame that begins now is inside them.
    pub(crate) fn has_outer(&self) -> bool {
        self.outer.get() != 0 && self.is_stack_current()
    }

    /// Returns the spans that are open between two callbacks.
    pub(crate) fn outer_spans(&self) -> OuterSpans {
        let is_open = self.has_outer() && self.frame.get() == 0;
        OuterSpans { stack: if is_open { self.stack.get() } else { 0 } }
    }

    /// What runs between two callbacks is told by another word than when these were asked for, and they are open still.
    pub(crate) fn keep_outer(&self, spans: OuterSpans) {
        let is_open = spans.stack != 0 && spans.stack == self.stack.get() && self.outer.get() != 0;
        if is_open && self.frame.get() == 0 {
            self.page.open.hand_over(&self.pen, self.page.now.running.get(), self.outer.get());
        }
    }

    /// Tells whether the stack on the page is of what runs now.
    fn is_stack_current(&self) -> bool {
        self.page.open.frame.get() == self.page.now.running.get()
    }

    /// The frame that has just begun is inside the outer spans.
    #[cold]
    pub(crate) fn carry_outer(&self) {
        self.carried.set(self.outer.get());
        let _ = self.current();
    }

    /// A span is entered between two frames.
    #[cold]
    #[inline(never)]
    fn enter_outer(&self, site: SiteId, fields: &str) -> Entered {
        if !self.is_stack_current() {
            self.outer.set(0);
            self.stack.set(self.stack.get() + 1);
            self.page.open.start(&self.pen, self.page.now.running.get());
        }
        let depth = self.outer.get();
        self.outer.set(depth + 1);
        self.page.open.push(&self.pen, site, fields);
        Entered { identity: self.identity, depth, place: EnteredIn::Between { stack: self.stack.get() } }
    }

    #[cold]
    #[inline(never)]
    fn leave_outer(&self, depth: u32, stack: u64) {
        // Else it went with one around it, or with the stack that it was on: what is at its depth now is another.
        if stack == self.stack.get() && depth < self.outer.get() {
            self.outer.set(depth);
            // The stack of a frame that runs stays as it is, until that ends.
            if self.frame.get() == 0 && self.is_stack_current() {
                self.page.open.leave(&self.pen, depth);
            }
        }
    }

    pub(crate) fn enter(&self, site: SiteId, fields: &str) -> Option<Entered> {
        let Some(parent) = self.current() else { return Some(self.enter_outer(site, fields)) };
        self.charge(parent, self.clock.now());
        let depth = self.depth.get();
        self.depth.set(depth + 1);
        self.page.open.push(&self.pen, site, fields);
        if self.depth.get() <= DEPTH_MAX {
            let path = self.index.child(&self.pen, &self.page.paths, parent, site);
            self.page.paths.enter(&self.pen, path);
            self.path.set(Some(path));
        }
        let place = EnteredIn::Callback { parent, start: self.last.get() };
        Some(Entered { identity: self.identity, depth, place })
    }

    pub(crate) fn leave(&self, entered: Entered) {
        if entered.identity != self.identity {
            return;
        }
        let (parent, start) = match entered.place {
            EnteredIn::Callback { parent, start } => (parent, start),
            EnteredIn::Between { stack } => return self.leave_outer(entered.depth, stack),
        };
        // A span may outlive its callback: then its frame is over, and its time was charged at the end of that.
        if self.last.get() != start || self.frame.get() == 0 {
            return;
        }
        if let Some(path) = self.path.get() {
            self.charge(path, self.clock.now());
            // Of one that is left out of order, those inside it are left, too.
            self.depth.set(entered.depth);
            self.page.open.leave(&self.pen, entered.depth);
            self.path.set(Some(parent));
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<SpanContext>>> = const { RefCell::new(None) };
}

/// Calls `f` with the thread's current track. `None` where there is none, also at the end of a thread: its variables are
/// dropped one after the other, and one of them that holds a loop or a span may outlive `CURRENT`.
fn with_current<R>(f: impl FnOnce(&Rc<SpanContext>) -> Option<R>) -> Option<R> {
    CURRENT.try_with(|current| f(current.try_borrow().ok()?.as_ref()?)).ok()?
}

/// Replaces the thread's current track and returns the one before; gives `next` back where the thread ends, or the current
/// one is in use.
fn replace_current(
    next: Option<Rc<SpanContext>>,
) -> Result<Option<Rc<SpanContext>>, Option<Rc<SpanContext>>> {
    let mut next = Some(next);
    let replaced = CURRENT.try_with(|current| {
        let mut current = current.try_borrow_mut().ok()?;
        Some(std::mem::replace(&mut *current, next.take()?))
    });
    replaced.ok().flatten().ok_or(next.flatten())
}

/// Returns the thread's current track.
pub(crate) fn current() -> Option<Rc<SpanContext>> {
    with_current(|track| Some(track.clone()))
}

/// Makes a track the thread's current one until dropped.
#[derive(Debug)]
pub struct SpanGuard {
    /// What was current before; `None` where nothing was installed: the thread was at its end, or loopscope is off.
    previous: Option<Option<Rc<SpanContext>>>,
}

pub(crate) fn install(track: &Rc<SpanContext>) -> SpanGuard {
    if crate::switch::is_off() {
        return SpanGuard { previous: None };
    }
    SpanGuard { previous: replace_current(Some(track.clone())).ok() }
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        if let Some(previous) = self.previous.take() {
            // Where the thread's variable is gone, there is nothing to put back.
            let _ = replace_current(previous);
        }
    }
}

/// What [`enter`] gives and [`leave`] takes: the frame to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// That of the loop on whose thread it was entered.
    identity: u64,
    /// Spans that were open before it.
    depth: u32,
    place: EnteredIn,
}

/// In what a span was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnteredIn {
    /// A callback that began at `start`; `parent` had its time before.
    Callback { parent: PathId, start: Ticks },
    /// Between two callbacks, on the stack with this number.
    Between { stack: u64 },
}

/// The spans that are open between two callbacks, if there are any: what [`Writer::outer_spans`](crate::Writer::outer_spans)
/// gives and [`Writer::keep_outer_spans`](crate::Writer::keep_outer_spans) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterSpans {
    /// The number of their stack; 0 is none.
    stack: u64,
}

/// Frames nested deeper than this are not told apart: a recursive span must not fill the tree.
const DEPTH_MAX: u32 = 64;

/// Finds or makes the site of a span, on the page of the loop that runs on this thread. `None` outside a loop.
/// The caller keeps the number: it is valid as long as that loop lives.
pub fn site(name: &str, file: &str, line: u32) -> Option<SiteId> {
    with_current(|track| {
        let site = Site {
            kind: crate::kind::Kind::Span,
            name: name.to_owned(),
            file: file.to_owned(),
            line,
            column: 0,
        };
        let mut sites = track.sites.try_borrow_mut().ok()?;
        Some(sites.intern(&track.pen, &track.page.sites, site))
    })
}

/// [`site`] of what an address stands for, found without a look at strings: as [`Writer::addressed_site`](crate::Writer).
pub fn addressed_site(address: usize, make: impl FnOnce() -> Site) -> Option<SiteId> {
    with_current(|track| {
        let mut sites = track.sites.try_borrow_mut().ok()?;
        Some(sites.addressed(
            &track.pen,
            &track.page.sites,
            SiteAddress::of(address, crate::kind::Kind::Span),
            make,
        ))
    })
}

/// Returns a number that tells the running loop from every other that this process has or had, for caching sites.
/// 0 outside one.
///
/// ```
/// assert_eq!(loopscope_probe::spans::loop_identity(), 0); // no loop runs on this thread
/// ```
pub fn loop_identity() -> u64 {
    with_current(|track| Some(track.identity)).unwrap_or(0)
}

/// Enters a frame: time from now on is its own. `fields` is told with it while it lasts, up to
/// [`FIELD_BYTES`](crate::open_spans::FIELD_BYTES). Between two callbacks it is open and takes no time. `None` outside a loop.
///
/// ```
/// use loopscope_probe::{Kind, SiteId, TaskTimes, Writer, spans};
///
/// let mut writer = Writer::builder("web").build();
/// let _spans = writer.install_spans(); // this thread runs the loop
/// writer.resume();
/// writer.begin(Kind::IoRead, SiteId::NONE, TaskTimes::UNKNOWN);
/// let site = spans::site("parse", file!(), line!()).expect("a loop runs on this thread");
/// if let Some(entered) = spans::enter(site, "bytes=512") {
///     // Time spent here is that of `parse`.
///     spans::leave(entered);
/// }
/// writer.end();
/// writer.drained();
/// writer.suspend();
/// ```
pub fn enter(site: SiteId, fields: &str) -> Option<Entered> {
    with_current(|track| track.enter(site, fields))
}

/// Leaves the frame that [`enter`] entered; time from now on is its parent's again.
pub fn leave(entered: Entered) {
    with_current(|track| {
        track.leave(entered);
        Some(())
    });
}
