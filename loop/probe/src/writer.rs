//! The verbs: what a loop says while it runs. One writer per page, on the loop's own thread.
//!
//! The rules all verbs keep: no allocation, no lock, no log, and no system call but those of `unpark` (see `busy_period`). One clock read per callback: the end of
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
//! | `begin` | 0 | 3 | |
//! | `end` | 1 | 10 | every 256th aggregates a batch |
//! | `phase` | 0 | 5 to 8 | |
//! | `park` + `unpark` | 2, or 1 | about 25 | the loads of the gate and of the sleep flag |
//!
//! A loop that reads the page's clock itself, and ran one callback since its last poll, needs no reading to park: see
//! [`Writer::only_callback_end`]. The verbs that begin and end a busy period are in `busy_period`, those of queues in `drains`, those
//! that find sites in `site_registration`, and those that only count in `work_counters`.

use crate::aggregator::{Aggregator, BATCH};
use crate::clock::{Clock, ClockSource, Scale, Ticks};
use crate::drain_batch::DrainBatch;
use crate::kind::{Kind, Queue};
use crate::lag::Arrivals;
use crate::now::{MANY as RUNNING_MANY, NO_KIND, place, stamp, what};
use crate::page::Page;
use crate::paths::Epoch;
use crate::phase::Phase;
use crate::poll_deadlines::PollDeadlines;
use crate::poll_gate::PollGate;
use crate::record::{MANY, SPANS, frame, frame_base, frame_kind};
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::site::SiteId;
use crate::sleep_flag::SleepFlag;
use crate::spans::{OuterSpans, SpanContext};
use std::rc::Rc;

/// When a task was submitted and when it became ready. [`Ticks::NONE`] where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskTimes {
    /// When it was asked for: a timer armed, a job handed to the pool.
    pub submitted: Ticks,
    /// When the loop could have run it at the earliest: a timer's due time, the moment the poll returned.
    pub ready: Ticks,
}

impl TaskTimes {
    /// A callback whose earlier stages are not known.
    pub const UNKNOWN: TaskTimes = TaskTimes { submitted: Ticks::NONE, ready: Ticks::NONE };

    /// A callback that became ready at `ready`.
    pub const fn ready_at(ready: Ticks) -> TaskTimes {
        TaskTimes { submitted: Ticks::NONE, ready }
    }
}

/// The one writer of a page. Neither `Clone` nor `Send`: a second writing thread does not compile.
///
/// ```compile_fail
/// let writer = loopscope_probe::Writer::builder("main").private().build();
/// std::thread::spawn(move || drop(writer));
/// ```
// In this order: what every callback needs is together, because between two of them the program's own work drives it out of the
// nearest cache, and each line costs as much as ten instructions.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Writer {
    pub(crate) track: Rc<SpanContext>,
    /// Phase and queue as the packed word of `now` holds them.
    pub(crate) place: u64,
    /// What the running frame's recorder entry will hold besides the site and kind.
    pub(crate) frame_base: u64,
    ready: Ticks,
    /// Recorder entries that are in the tallies.
    aggregated: u64,
    /// Callbacks after which nothing was drained, not counted yet.
    pub(crate) completed_at_once: u64,
    shift: u32,
    /// The site of the callback after which the queues are drained: their jobs hang below it.
    pub(crate) drained_site: SiteId,
    pub(crate) phase: Phase,
    /// What has happened since the last callback was completed: [`ENDED`], [`DRAINED`], or both.
    pub(crate) after: u8,
    /// For whom the recorder has entries that are new: [`TO_AGGREGATE`], [`OF_PHASE`] and [`OF_PERIOD`]. The page's own count tells
    /// that as well, on a line of the cache that nothing else needs where nothing ran.
    pub(crate) new_records: u8,
    pub(crate) queue: Option<Queue>,
    pub(crate) has_pool: bool,
    pub(crate) has_gauges: bool,
    // A line ends here, as on most processors. Next what each poll needs, whether or not something ran.
    pub(crate) scale: Scale,
    pub(crate) phase_since: Ticks,
    pub(crate) period_since: Ticks,
    /// Events of the poll before the busy period.
    pub(crate) period_events: u64,
    pub(crate) poll_since: Ticks,
    /// The agent's flag, or, if this loop must make a fence first, one that is always raised.
    pub(crate) sleep_flag: &'static SleepFlag,
    pub(crate) gate: PollGate,
    // And another one, at the latest.
    pub(crate) due: PollDeadlines,
    pub(crate) epoch: Epoch,
    /// Drains that are not in the tallies yet.
    pub(crate) drain_batch: DrainBatch,
    /// When the callback after which the queues are drained returned.
    pub(crate) drained_since: Ticks,
    pub(crate) queue_since: Ticks,
    /// When the loop last polled without telling, as far as its own thread knows.
    pub(crate) polled_untold: Ticks,
    pub(crate) origin: Ticks,
    pub(crate) arrivals: Arrivals,
}

/// A callback has ended and is not completed: what `after` has then.
pub(crate) const ENDED: u8 = 1;
/// Queues were drained since.
pub(crate) const DRAINED: u8 = 2;

/// The recorder has entries that are not in the tallies.
const TO_AGGREGATE: u8 = 1;
/// It has some of this phase.
const OF_PHASE: u8 = 2;
/// It has some of this busy period.
pub(crate) const OF_PERIOD: u8 = 4;

impl Writer {
    pub(crate) fn new(track: Rc<SpanContext>, gate: PollGate) -> Self {
        let (page, clock): (&Page, _) = (&track.page, &track.clock);
        let (origin, scale) = (page.created(), clock.scale());
        // In virtual time the same program counts the same.
        let process = if clock.source() == ClockSource::Virtual { 0 } else { u64::from(std::process::id()) };
        let arrivals = Arrivals::new(origin.0 ^ process << 32);
        let due = PollDeadlines::from(origin, scale, &arrivals, page.control.warning_ns());
        let shift = page.header.clock_shift.get() as u32;
        let writer = Writer {
            has_pool: false,
            has_gauges: false,
            scale,
            shift,
            sleep_flag: gate.sleep_flag(),
            gate,
            phase: Phase::MAIN,
            place: place(Phase::MAIN, None),
            phase_since: origin,
            frame_base: frame_base(Phase::MAIN, SiteId::NONE),
            ready: Ticks::NONE,
            aggregated: 0,
            after: 0,
            new_records: 0,
            drained_site: SiteId::NONE,
            drained_since: Ticks::NONE,
            completed_at_once: 0,
            drain_batch: DrainBatch::new(),
            queue: None,
            queue_since: Ticks::NONE,
            period_since: origin,
            polled_untold: Ticks::NONE,
            period_events: 0,
            poll_since: origin,
            origin,
            arrivals,
            epoch: Epoch::number(0),
            due,
            track,
        };
        writer.track.last.set(origin);
        let (page, pen) = writer.parts();
        page.now.parked_since.set(pen, origin.0);
        page.now.running.set(pen, writer.between(origin));
        writer
    }

    #[inline(always)]
    pub(crate) fn parts(&self) -> (&Page, &WriteToken<LoopOwned>) {
        (&self.track.page, &self.track.pen)
    }

    /// Returns the packed word that tells that nothing runs since `at`.
    #[inline(always)]
    pub(crate) fn between(&self, at: Ticks) -> u64 {
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
        self.track.last.get()
    }

    /// Enters a phase; the one before ends at the last stamp.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, Phase, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.phase(Phase::TIMERS);
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    /// time.advance_ns(3_000);
    /// writer.end();
    /// writer.drained();
    /// writer.phase(Phase::CHECK); // so the timers' phase took 3 µs
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.phase[Phase::TIMERS.index()].sum_ns, 3_000);
    /// ```
    #[inline(always)]
    pub fn phase(&mut self, phase: Phase) {
        let last = self.last();
        if self.new_records & OF_PHASE != 0 {
            self.phase_ends(last);
        }
        self.enter_phase(phase);
        let (page, pen) = self.parts();
        page.now.running.set(pen, self.between(last));
        self.phase_since = last;
    }

    /// The phase that had work ends.
    #[inline(always)]
    fn phase_ends(&mut self, at: Ticks) {
        self.new_records &= !OF_PHASE;
        let (page, pen) = self.parts();
        let ns = self.scale.ns(at.since(self.phase_since));
        page.tallies.phase[self.phase.index()].record(pen, ns);
    }

    /// A poll returns into another phase: the one around it, where it had work before the poll, takes no more time.
    #[inline(always)]
    pub(crate) fn phase_of_poll_ends(&mut self, now: Ticks) {
        if self.new_records & OF_PHASE != 0 {
            self.phase_since = now;
            self.phase_ends(now);
        }
    }

    /// What is told from now on is of this phase.
    #[inline(always)]
    pub(crate) fn enter_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.place = place(phase, None);
        self.frame_base = frame_base(phase, SiteId::NONE);
    }

    /// [`Writer::phase`] at `at`, and not at the last stamp: what lies between is of neither phase. `at` is a moment
    /// on the page's clock, not before [`Writer::last`].
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Phase, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.phase(Phase::TIMERS);
    /// time.advance_ns(500); // the runtime's own work, of neither phase
    /// let now = writer.clock().now();
    /// writer.phase_at(now, Phase::POLL);
    /// assert_eq!(writer.last(), now);
    /// ```
    #[inline(always)]
    pub fn phase_at(&mut self, at: Ticks, phase: Phase) {
        self.phase(phase);
        let at = Ticks(at.0.max(self.last().0));
        let SpanContext { page, pen, last, .. } = &*self.track;
        last.set(at);
        self.phase_since = at;
        page.now.running.set(pen, self.between(at));
    }

    /// A callback or a drained job begins. It began at the last stamp.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// let due = writer.last();
    /// time.advance_ns(2_000);
    /// writer.end(); // the loop was busy until now, so the timer starts 2 µs late
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::ready_at(due));
    /// time.advance_ns(700);
    /// writer.end();
    /// writer.drained();
    /// writer.suspend();
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.wait[Kind::Timer.index()].sum_ns, 2_000);
    /// assert_eq!(snapshot.run[Kind::Timer.index()].sum_ns, 700);
    /// ```
    #[inline(always)]
    pub fn begin(&mut self, kind: Kind, site: SiteId, life: TaskTimes) {
        self.begin_frame(kind, site, 0, 0);
        self.ready = life.ready;
        // Most callers give a constant.
        if life.submitted != Ticks::NONE {
            self.record_operation(life);
        }
    }

    /// A frame begins, with these further bits in its recorder entry and in the word that tells what runs.
    #[inline(always)]
    fn begin_frame(&self, kind: Kind, site: SiteId, in_record: u64, in_running: u64) {
        let SpanContext { page, pen, frame: running, last, .. } = &*self.track;
        running.set(frame(self.frame_base | in_record, kind, site));
        let what = what(kind as u64, site) | in_running;
        page.now.running.set(pen, self.place | what | stamp(last.get(), self.shift));
    }

    /// [`Writer::begin`] for a callback that begins at `at`, and not at the last stamp: where the runtime did
    /// something else in between that is not told. `at` is a moment on the page's clock, not before [`Writer::last`].
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// time.advance_ns(700); // the runtime's own work, which is not the callback's
    /// let now = writer.clock().now();
    /// writer.begin_at(now, Kind::IoRead, SiteId::NONE, TaskTimes::UNKNOWN);
    /// time.advance_ns(300);
    /// assert_eq!(writer.end().since(now), 300);
    /// writer.drained();
    /// ```
    #[inline(always)]
    pub fn begin_at(&mut self, at: Ticks, kind: Kind, site: SiteId, life: TaskTimes) {
        if self.track.outer.get() != 0 {
            return self.begin_in_spans(at, kind, site, life);
        }
        self.track.last.set(Ticks(at.0.max(self.last().0)));
        self.begin(kind, site, life);
    }

    /// [`Writer::begin_at`], perhaps inside spans.
    #[cold]
    #[inline(never)]
    fn begin_in_spans(&mut self, at: Ticks, kind: Kind, site: SiteId, life: TaskTimes) {
        let has_outer = self.track.has_outer();
        self.track.last.set(Ticks(at.0.max(self.last().0)));
        self.begin(kind, site, life);
        if has_outer {
            self.track.carry_outer();
        }
    }

    /// Returns the spans that are open between two callbacks, for [`Writer::keep_outer_spans`].
    #[inline]
    pub fn outer_spans(&self) -> OuterSpans {
        self.track.outer_spans()
    }

    /// Says that these spans are still open around what comes next: the loop parked, unparked, or entered a phase since, only
    /// because it tells of that later than it was. Does nothing where they were left meanwhile, or others were entered.
    ///
    /// ```
    /// # use loopscope_probe::{Kind, SiteId, TaskTimes, Writer, spans};
    /// # let mut writer = Writer::builder("web").build();
    /// # let _spans = writer.install_spans();
    /// let site = spans::site("request", file!(), line!()).expect("a loop runs on this thread");
    /// let request = spans::enter(site, "").expect("a loop runs on this thread");
    /// // A callback begins, and only now the loop knows that it is not parked any more.
    /// let now = writer.clock().now();
    /// let outer = writer.outer_spans();
    /// writer.unpark_untold(now);
    /// writer.keep_outer_spans(outer);
    /// writer.begin_at(now, Kind::Task, SiteId::NONE, TaskTimes::UNKNOWN);
    /// assert_eq!(writer.page().open_spans().len(), 1);
    /// writer.end();
    /// spans::leave(request);
    /// ```
    #[inline]
    pub fn keep_outer_spans(&mut self, spans: OuterSpans) {
        self.track.keep_outer(spans);
    }

    /// Something begins that stands for many: all callbacks of a batch, or all jobs of a drain whose jobs the runtime
    /// does not tell one by one. Ended by [`Writer::end_many`]; where [`Writer::end`] ends it, their number is not
    /// known.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.begin_many(Kind::Immediate, SiteId::NONE);
    /// time.advance_ns(5_000); // 200 immediates run, and the runtime tells only their number
    /// writer.end_many(200);
    /// writer.drained();
    /// writer.suspend();
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.run[Kind::Immediate.index()].sum_ns, 5_000);
    /// ```
    #[inline]
    pub fn begin_many(&mut self, kind: Kind, site: SiteId) {
        self.begin_frame(kind, site, MANY, RUNNING_MANY);
        self.ready = Ticks::NONE;
    }

    /// What [`Writer::begin_many`] began has ended, and was so many; 0 where that is not known. Returns the stamp of the end.
    #[inline]
    pub fn end_many(&mut self, jobs: u64) -> Ticks {
        self.ready = Ticks(jobs);
        self.end()
    }

    /// [`Writer::end_many`] of what ended at `at`, as [`Writer::end_at`].
    #[inline]
    pub fn end_many_at(&mut self, jobs: u64, at: Ticks) -> Ticks {
        self.ready = Ticks(jobs);
        self.end_at(at)
    }

    /// Tells whether a callback or job is running: begun and not ended.
    #[inline(always)]
    pub fn is_running(&self) -> bool {
        self.track.frame.get() != 0
    }

    #[inline(never)]
    fn record_operation(&self, TaskTimes { submitted, ready }: TaskTimes) {
        let (page, pen) = self.parts();
        if self.queue.is_none() {
            page.tallies.operation.record(pen, self.scale.ns(ready.since(submitted)));
        }
    }

    /// The callback or job that began last returns. Returns the stamp of the end.
    ///
    /// Without a matching [`Writer::begin`] it only takes a stamp.
    #[inline(always)]
    pub fn end(&mut self) -> Ticks {
        let now = self.track.clock.now();
        self.end_at(now)
    }

    /// [`Writer::end`] of what ended at `now`, which may be a moment ago: where it is known only later that it was
    /// the end. Not before what ended began.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.begin(Kind::IoRead, SiteId::NONE, TaskTimes::UNKNOWN);
    /// time.advance_ns(300);
    /// let ended = writer.clock().now();
    /// time.advance_ns(50); // only now the runtime knows that this was the end
    /// writer.end_at(ended);
    /// assert_eq!(writer.last(), ended);
    /// ```
    #[inline(always)]
    pub fn end_at(&mut self, now: Ticks) -> Ticks {
        let SpanContext { frame, last, path, .. } = &*self.track;
        match (frame.get(), path.get()) {
            (0, _) => last.set(now),
            (frame, None) => self.record(frame, now),
            (frame, Some(_)) => self.record_with_spans(frame, now),
        }
        now
    }

    /// Writes the recorder entry of a frame that ends.
    #[inline(always)]
    fn record(&mut self, frame: u64, now: Ticks) {
        let SpanContext { page, pen, frame: running, last, .. } = &*self.track;
        let page: &Page = page;
        running.set(0);
        let count = page.recorder().push(pen, [frame, self.ready.0, last.get().0, now.0]);
        last.set(now);
        page.now.running.set(pen, self.between(now));
        self.new_records = TO_AGGREGATE | OF_PHASE | OF_PERIOD;
        if self.queue.is_none() {
            self.after |= ENDED;
        }
        if count.wrapping_sub(self.aggregated) >= BATCH {
            self.aggregate();
        }
    }

    // Apart, so that nothing is kept at hand for it where no spans were entered.
    #[cold]
    #[inline(never)]
    fn record_with_spans(&mut self, frame: u64, now: Ticks) {
        self.track.frame.set(0);
        self.track.end_spans(now, self.between(now));
        self.record(frame | SPANS, now);
    }

    /// Aggregates what ended since the last call.
    #[inline(never)]
    fn aggregate(&mut self) {
        let SpanContext { page, pen, index, .. } = &*self.track;
        let page: &Page = page;
        let count = page.record_count.get();
        // In a forked child the page begins anew, and its count is below ours: all of its entries are the child's.
        let from = if count < self.aggregated { 0 } else { self.aggregated };
        if count > from {
            let aggregator = Aggregator { page, pen, index, scale: self.scale, epoch: self.epoch };
            let first = page.recorder().own_entry(from);
            match count - from {
                1 if first[0] & MANY == 0 => aggregator.only(first),
                _ => aggregator.entries(from, count),
            }
        }
        // Each is a line of the cache, and most loops have neither.
        if self.completed_at_once != 0 {
            page.tallies.completed.count_shortest(pen, self.completed_at_once);
            self.completed_at_once = 0;
        }
        if !self.drain_batch.is_empty() {
            self.drain_batch.add_up(pen, &page.tallies, self.scale);
        }
        self.aggregated = count;
        self.new_records &= !TO_AGGREGATE;
    }

    /// The running callback panicked. Before [`Writer::end`].
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    /// let result = std::panic::catch_unwind(|| ()); // runs the callback
    /// if result.is_err() {
    ///     writer.panicked();
    /// }
    /// writer.end();
    /// writer.drained();
    /// ```
    #[cold]
    pub fn panicked(&mut self) {
        let SpanContext { page, pen, frame, .. } = &*self.track;
        if frame.get() != 0 {
            page.tallies.errors[frame_kind(frame.get()).min(Kind::CALLBACKS - 1)].add(pen, 1);
        }
    }

    /// The callback that began last goes on in the one that begins next, where that takes up its stamp ([`Writer::last`]): it
    /// is not told by itself. Returns false, and does nothing, where spans were entered in it.
    #[inline(always)]
    pub fn end_untold(&mut self) -> bool {
        let SpanContext { page, pen, frame, last, path, .. } = &*self.track;
        let between = self.between(last.get());
        if path.get().is_some() && !self.track.end_carried(between) {
            return false;
        }
        frame.set(0);
        page.now.running.set(pen, between);
        true
    }

    /// Aggregates what has ended, so that the page is complete while the loop waits. Right before [`Writer::park_at`].
    #[inline]
    pub fn settle(&mut self) {
        let has_ended = self.new_records & TO_AGGREGATE != 0;
        if has_ended || self.completed_at_once != 0 || !self.drain_batch.is_empty() {
            self.aggregate();
        }
    }
}

#[cfg(test)]
impl Writer {
    pub(crate) fn gate(&self) -> &crate::capture_gate::CaptureGate {
        self.gate.gate()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.add_up_drains();
        let (page, pen) = self.parts();
        let was_busy = page.now.busy_since.get() != 0;
        page.record_last_poll(pen, self.clock());
        page.now.busy_since.publish(pen, 0);
        page.header.is_closed.publish(pen, 1);
        self.gate.close();
        crate::registry::remove(&self.track.page.memory, was_busy);
        self.track.page.memory.unlink();
    }
}
