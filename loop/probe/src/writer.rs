//! The verbs: what a loop says while it runs. One writer per page, on the loop's own thread.
//!
//! The rules all verbs keep: no allocation, no lock, no system call, no log. One clock read per callback: the end of
//! one is the start of the next, so the loop's own few instructions between two callbacks are counted to the second.
//!
//! ```text
//! resume                                       the loop starts to run
//!   phase(Timers)  begin..end  (drain)...      callbacks of a phase, each followed by a drain
//!   iteration                                  right before the poll
//!   phase(Poll)  park ... unpark(events)       the wait
//!   begin..end  drain_begin(queue) begin..end drain_end(queue)  drained
//! suspend                                      the loop returns to its caller
//! ```
//!
//! | verb | clock reads | stores | other |
//! |---|---|---|---|
//! | `begin` | 0 | 6 | |
//! | `end` | 1 | about 10 | every 256th books a batch |
//! | `phase` | 0 | 1 to 3 | |
//! | `park` + `unpark` | 2 | about 14 | the bell's load |

use crate::bell::Bell;
use crate::booking::{BATCH, Book};
use crate::clock::{Clock, Scale, Ticks};
use crate::histogram::Histogram;
use crate::kind::{Kind, Queue};
use crate::lag::{Arrivals, WaitBook};
use crate::now::{NO_KIND, place, stamp, what};
use crate::page::Page;
use crate::paths::Epoch;
use crate::phase::Phase;
use crate::poll_gate::PollGate;
use crate::record::{SPANS, frame, frame_base, frame_kind, frame_site};
use crate::site::{SiteId, site_at};
use crate::spans::{Installed, Track};
use crate::tallies::Severity;
use crate::word::{LoopOwned, Pen};
use std::panic::Location;
use std::rc::Rc;

/// How long a "recent maximum" is remembered: two epochs of this many nanoseconds.
pub const EPOCH_NS: u64 = 30_000_000_000;

/// When a task was submitted and when it became ready. [`Ticks::NONE`] where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When it was asked for: a timer armed, a job handed to the pool.
    pub submitted: Ticks,
    /// When the loop could have run it at the earliest: a timer's due time, the moment the poll returned.
    pub ready: Ticks,
}

impl Life {
    /// A callback whose earlier stages are not known.
    pub const UNKNOWN: Life = Life { submitted: Ticks::NONE, ready: Ticks::NONE };

    /// A callback that became ready at `ready`.
    pub const fn ready_at(ready: Ticks) -> Life {
        Life { submitted: Ticks::NONE, ready }
    }
}

/// The one writer of a page. Neither `Clone` nor `Send`: a second writing thread does not compile.
///
/// ```compile_fail
/// let writer = loopscope_probe::Writer::builder("main").private().build();
/// std::thread::spawn(move || drop(writer));
/// ```
#[derive(Debug)]
pub struct Writer {
    pub(crate) track: Rc<Track>,
    pub(crate) has_pool: bool,
    pub(crate) scale: Scale,
    shift: u32,
    bell: &'static Bell,
    gate: PollGate,
    /// The last clock read: where one callback ended and the next begins.
    pub(crate) last: Ticks,
    phase: Phase,
    /// Phase and queue as the packed word of `now` holds them.
    place: u64,
    phase_since: Ticks,
    /// The recorder's count when the phase began: whether it had work.
    phase_first: u64,
    /// What the running frame's recorder entry will hold besides the site and kind.
    frame_base: u64,
    life: Life,
    /// Recorder entries that are booked in the tallies.
    booked: u64,
    /// The site of the last callback, below which the jobs drained after it hang, and when it returned.
    callback_site: SiteId,
    callback_end: Ticks,
    has_drained: bool,
    /// Callbacks after which nothing was drained, not booked yet.
    completed_at_once: u64,
    queue: Option<Queue>,
    queue_since: Ticks,
    stretch_since: Ticks,
    /// Events of the poll before the stretch.
    stretch_events: u64,
    poll_since: Ticks,
    origin: Ticks,
    arrivals: Arrivals,
    arrival_next: Ticks,
    epoch: Epoch,
    epoch_ends: Ticks,
}

impl Writer {
    pub(crate) fn new(track: Rc<Track>, gate: PollGate) -> Self {
        let (page, clock): (&Page, _) = (&track.page, &track.clock);
        let (origin, scale) = (page.created(), clock.scale());
        let arrivals = Arrivals::new(origin.0 ^ u64::from(std::process::id()) << 32);
        let arrival_next = Ticks(origin.0 + scale.ticks(arrivals.next_ns()));
        let shift = page.header.clock_shift.get() as u32;
        let writer = Writer {
            has_pool: false,
            scale,
            shift,
            bell: crate::registry::loop_bell(),
            gate,
            last: origin,
            phase: Phase::Main,
            place: place(Phase::Main, None),
            phase_since: origin,
            phase_first: 0,
            frame_base: frame_base(Phase::Main, SiteId::NONE),
            life: Life::UNKNOWN,
            booked: 0,
            callback_site: SiteId::NONE,
            callback_end: Ticks::NONE,
            has_drained: false,
            completed_at_once: 0,
            queue: None,
            queue_since: Ticks::NONE,
            stretch_since: origin,
            stretch_events: 0,
            poll_since: origin,
            origin,
            arrivals,
            arrival_next,
            epoch: Epoch::number(0),
            epoch_ends: Ticks(origin.0 + scale.ticks(EPOCH_NS)),
            track,
        };
        let (page, pen) = writer.parts();
        page.now.parked_since.set(pen, origin.0);
        page.now.running.set(pen, writer.between(origin));
        writer
    }

    #[inline(always)]
    pub(crate) fn parts(&self) -> (&Page, &Pen<LoopOwned>) {
        (&self.track.page, &self.track.pen)
    }

    /// Returns the packed word that tells that nothing runs since `at`.
    #[inline(always)]
    fn between(&self, at: Ticks) -> u64 {
        self.place | what(NO_KIND, SiteId::NONE) | stamp(at, self.shift)
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.track.clock
    }

    /// Returns the page, for reading.
    pub fn page(&self) -> &Page {
        &self.track.page
    }

    /// Returns the last stamp: the end of the last callback, or the return of the last poll. Costs no clock read.
    #[inline(always)]
    pub fn last(&self) -> Ticks {
        self.last
    }

    /// Finds the site of a source location; 1 to 5 ns. For registration time, not for each call.
    #[inline]
    pub fn site(&mut self, at: &'static Location<'static>, kind: Kind) -> SiteId {
        let Track { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().at(pen, &page.sites, at, kind)
    }

    /// Finds the site of a source location under a name that the user gave.
    pub fn named_site(&mut self, at: &'static Location<'static>, kind: Kind, name: &str) -> SiteId {
        let Track { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().intern(pen, &page.sites, site_at(at, kind, name))
    }

    /// Finds the site with these values: for runtimes whose places are not Rust source locations.
    pub fn foreign_site(&mut self, site: crate::site::Site) -> SiteId {
        let Track { page, pen, .. } = &*self.track;
        self.track.sites.borrow_mut().intern(pen, &page.sites, site)
    }

    /// Makes this loop the one that spans on this thread belong to, until the result is dropped.
    pub fn install_spans(&self) -> Installed {
        crate::spans::install(&self.track)
    }

    /// The loop begins to run: a busy stretch starts. The time since the last [`Writer::suspend`] counts as idle.
    pub fn resume(&mut self) {
        self.gate.after_poll();
        let now = self.track.clock.now();
        self.start_stretch(now);
        self.stretch_events = 0;
        self.book_idle(now);
        self.wake_agent();
        self.phase(Phase::Main);
    }

    /// The loop returns to its caller: the busy stretch ends.
    pub fn suspend(&mut self) {
        self.phase(Phase::Main);
        self.park();
    }

    /// Counts an iteration. Right before its poll.
    #[inline]
    pub fn iteration(&mut self) {
        let (page, pen) = self.parts();
        page.now.iterations.add(pen, 1);
    }

    /// Enters a phase; the one before ends at the last stamp.
    #[inline(always)]
    pub fn phase(&mut self, phase: Phase) {
        let (page, pen) = self.parts();
        let count = page.record_count.get();
        if count != self.phase_first {
            let ns = self.scale.ns(self.last.since(self.phase_since));
            page.tallies.phase[self.phase.index()].record(pen, ns);
        }
        self.phase_first = count;
        self.phase = phase;
        self.place = place(phase, None);
        self.frame_base = frame_base(phase, SiteId::NONE);
        let (page, pen) = self.parts();
        page.now.running.set(pen, self.between(self.last));
        self.phase_since = self.last;
    }

    /// A callback or a drained job begins. It began at the last stamp.
    #[inline(always)]
    pub fn begin(&mut self, kind: Kind, site: SiteId, life: Life) {
        let Track { page, pen, frame: running, start, path, .. } = &*self.track;
        running.set(frame(self.frame_base, kind, site));
        start.set(self.last);
        path.set(None);
        page.now.running.set(pen, self.place | what(kind as u64, site) | stamp(self.last, self.shift));
        self.life = life;
    }

    /// The callback or job that began last returns. Returns the stamp of the end.
    ///
    /// Without a matching [`Writer::begin`] it only takes a stamp.
    #[inline(always)]
    pub fn end(&mut self) -> Ticks {
        let Track { page, pen, frame: running, start, path, clock, .. } = &*self.track;
        let now = clock.now();
        let mut frame = running.get();
        if frame != 0 {
            running.set(0);
            if let Some(path) = path.get() {
                self.track.charge(path, now);
                frame |= SPANS;
            }
            let count = page.recorder().push(pen, [frame, self.life.ready.0, start.get().0, now.0]);
            page.now.running.set(pen, self.between(now));
            if self.queue.is_none() {
                self.callback_site = frame_site(frame);
                self.callback_end = now;
                if self.life.submitted != Ticks::NONE {
                    let ns = self.scale.ns(self.life.ready.since(self.life.submitted));
                    page.tallies.operation.record(pen, ns);
                }
            }
            if count.wrapping_sub(self.booked) >= BATCH {
                self.book();
            }
        }
        self.last = now;
        now
    }

    /// Books what ended since the last booking.
    fn book(&mut self) {
        let Track { page, pen, index, .. } = &*self.track;
        let count = page.record_count.get();
        // In a forked child the page begins anew, and its count is below ours.
        if count > self.booked {
            let book = Book { page, pen, index, scale: self.scale, epoch: self.epoch };
            match count - self.booked {
                1 => book.only(page.recorder().own_entry(self.booked)),
                _ => book.entries(self.booked, count),
            }
        }
        page.tallies.completed.record_many(pen, 0, self.completed_at_once, 0);
        self.completed_at_once = 0;
        self.booked = count;
    }

    /// The running callback panicked. Before [`Writer::end`].
    #[cold]
    pub fn panicked(&mut self) {
        let Track { page, pen, frame, .. } = &*self.track;
        if frame.get() != 0 {
            page.tallies.errors[frame_kind(frame.get()).min(Kind::CALLBACKS - 1)].add(pen, 1);
        }
    }

    /// The loop begins to drain a queue of `depth` jobs, after the callback that ended last.
    #[inline]
    pub fn drain_begin(&mut self, queue: Queue, depth: usize) {
        self.queue = Some(queue);
        self.place = place(self.phase, Some(queue));
        self.frame_base = frame_base(self.phase, self.callback_site);
        self.queue_since = self.last;
        self.has_drained = true;
        let (page, pen) = self.parts();
        if page.now.drain_since.get() == 0 {
            page.now.drain_first.set(pen, page.record_count.get());
            page.now.drain_since.set(pen, self.last.0.max(1));
        }
        self.queue_depth(queue, depth);
    }

    /// Notes that a queue holds `depth` jobs, for its high-water mark.
    #[inline]
    pub fn queue_depth(&mut self, queue: Queue, depth: usize) {
        let (page, pen) = self.parts();
        self.epoch.raise(pen, &page.tallies.queue_depth_max[queue.index()], depth as u64);
    }

    /// The queue is empty after `jobs` jobs.
    #[inline]
    pub fn drain_end(&mut self, queue: Queue, jobs: u64) {
        let (page, pen) = self.parts();
        let ns = self.scale.ns(self.last.since(self.queue_since));
        page.tallies.drain[queue.index()].record(pen, ns);
        page.tallies.drain_jobs[queue.index()].record(pen, jobs);
        self.queue = None;
        self.place = place(self.phase, None);
        self.frame_base = frame_base(self.phase, SiteId::NONE);
    }

    /// Both queues are empty: the last callback is completed. After every callback, also where nothing was drained.
    #[inline(always)]
    pub fn drained(&mut self) {
        if self.has_drained {
            self.book_drained();
        } else if self.callback_end != Ticks::NONE {
            self.callback_end = Ticks::NONE;
            self.completed_at_once += 1;
        }
        self.callback_site = SiteId::NONE;
    }

    fn book_drained(&mut self) {
        let (page, pen) = self.parts();
        if self.callback_end != Ticks::NONE {
            page.tallies.completed.record(pen, self.scale.ns(self.last.since(self.callback_end)));
        }
        page.now.drain_since.set(pen, 0);
        page.now.running.set(pen, self.between(self.last));
        self.callback_end = Ticks::NONE;
        self.has_drained = false;
    }

    /// The loop is about to poll, whether or not it will block: the busy stretch ends.
    #[inline]
    pub fn park(&mut self) {
        self.settle();
        self.park_at(self.track.clock.now());
    }

    /// Books what has ended, so that the page is complete while the loop waits. Right before [`Writer::park_at`].
    #[inline]
    pub fn settle(&mut self) {
        self.book();
    }

    /// [`Writer::park`] for a loop that has itself just read the page's clock, and settled before.
    #[inline]
    pub fn park_at(&mut self, now: Ticks) {
        let (page, pen) = self.parts();
        let stretch = now.since(self.stretch_since);
        let stretch_ns = self.scale.ns(stretch);
        page.now.parked_since.set(pen, now.0);
        self.change_stretch(0);
        page.tallies.active_ticks.add(pen, stretch);
        page.tallies.iteration.record(pen, stretch_ns);
        let first_record = page.now.stretch_first.get();
        let entry = [self.stretch_since.0, now.0, self.stretch_events, first_record];
        page.iterations.ring().push(pen, entry);
        if stretch_ns > page.control.warning_ns() {
            self.book_stall(now);
        }
        if now >= self.arrival_next {
            self.book_arrivals(now, true);
        }
        self.last = now;
        self.poll_since = now;
        // Last, so that a signal that is on its way has had the most time.
        self.gate.before_poll();
    }

    /// The poll returned with `events` events: a busy stretch starts.
    #[inline]
    pub fn unpark(&mut self, events: usize) {
        self.unpark_at(self.track.clock.now(), events);
    }

    /// [`Writer::unpark`] for a loop that has itself just read the page's clock.
    #[inline]
    pub fn unpark_at(&mut self, now: Ticks, events: usize) {
        self.gate.after_poll();
        self.start_stretch(now);
        self.stretch_events = events as u64;
        let (page, pen) = self.parts();
        page.tallies.poll_wait.record(pen, self.scale.ns(now.since(self.poll_since)));
        page.tallies.poll_events.record(pen, events as u64);
        self.book_idle(now);
        self.wake_agent();
    }

    #[inline(always)]
    fn book_idle(&mut self, now: Ticks) {
        let (page, pen) = self.parts();
        page.tallies.idle_ticks.add(pen, now.since(self.poll_since));
        if now >= self.arrival_next {
            self.book_arrivals(now, false);
        }
    }

    #[inline(always)]
    fn start_stretch(&mut self, now: Ticks) {
        if now >= self.epoch_ends {
            self.next_epoch(now);
        }
        let (page, pen) = self.parts();
        page.now.stretch_first.set(pen, page.record_count.get());
        page.now.running.set(pen, self.between(now));
        self.change_stretch(now.0.max(1));
        self.last = now;
        self.stretch_since = now;
        self.phase_since = now;
    }

    /// Tells readers that a stretch begins or ends. What was stored before is seen by those who see the change; what
    /// is stored after, such as the time of the stretch that ended, is seen only by those who see the change: so
    /// nobody counts a stretch twice (`Page::vitals_at` is the other side).
    #[inline(always)]
    fn change_stretch(&self, since: u64) {
        let (page, pen) = self.parts();
        page.now.busy_since.publish(pen, since);
        crate::sync::fence(crate::sync::Ordering::Release);
    }

    #[inline(always)]
    fn wake_agent(&self) {
        if self.bell.must_ring(crate::barrier::of_loop()) {
            crate::registry::ring();
        }
    }

    #[cold]
    fn next_epoch(&mut self, now: Ticks) {
        let number = self.scale.ns(now.since(self.origin)) / EPOCH_NS;
        self.epoch = Epoch::number(number);
        let end_ns = (number + 1).saturating_mul(EPOCH_NS);
        self.epoch_ends = Ticks(self.origin.0.saturating_add(self.scale.ticks(end_ns)));
    }

    #[cold]
    fn book_stall(&mut self, now: Ticks) {
        let (page, pen) = self.parts();
        let expected = page.expected.ticks(self.stretch_since, now);
        let stretch_ns = self.scale.ns(now.since(self.stretch_since).saturating_sub(expected));
        if stretch_ns <= page.control.warning_ns() {
            return;
        }
        page.tallies.blocked[Severity::Warning as usize].add(pen, 1);
        if stretch_ns > page.control.critical_ns() {
            page.tallies.blocked[Severity::Critical as usize].add(pen, 1);
        }
        page.tallies.blocked_duration.record(pen, stretch_ns);
    }

    #[cold]
    fn book_arrivals(&mut self, now: Ticks, is_stretch: bool) {
        let page = &self.track.page;
        let mut book = LagBook { lag: &page.tallies.lag, pen: &self.track.pen };
        let end_ns = self.scale.ns(now.since(self.origin));
        match is_stretch {
            true => self.arrivals.stretch_ends(end_ns, &mut book),
            false => self.arrivals.poll_ends(end_ns, &mut book),
        }
        self.arrival_next = Ticks(self.origin.0 + self.scale.ticks(self.arrivals.next_ns()));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (page, pen) = self.parts();
        page.now.busy_since.publish(pen, 0);
        page.header.is_closed.publish(pen, 1);
        self.gate.close();
        crate::registry::remove(&self.track.page.memory);
        self.track.page.memory.unlink();
    }
}

struct LagBook<'a> {
    lag: &'a Histogram<LoopOwned>,
    pen: &'a Pen<LoopOwned>,
}

impl WaitBook for LagBook<'_> {
    fn book(&mut self, slot: usize, count: u64, sum_ns: u64) {
        self.lag.record_many(self.pen, slot, count, sum_ns);
    }
}
